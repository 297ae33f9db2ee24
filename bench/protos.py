"""Message descriptions in the dialect that ghz's parser reads: proto3 without `optional`."""

import re
import shutil
from pathlib import Path

from bench.places import ROOT

OURS = ROOT / "client" / "amaters" / "wire"
ETCD = ROOT / "bench" / "wire" / "etcd.proto"
PUBLISHED = ("types", "query", "errors", "aql")


def copy_readable_by_ghz(target: Path) -> Path:
    """Write copies of all protos below the target and return the folder to import them from.

    Dropping the word changes nothing on the wire for a client that sets those fields, or that
    leaves them out: presence is the reader's business.
    """
    folder = target / "protos"
    wire = folder / "amaters" / "wire"
    wire.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        text = (OURS / f"{name}.proto").read_text()
        (wire / f"{name}.proto").write_text(re.sub(r"\boptional\s+", "", text))
    shutil.copyfile(ETCD, folder / "etcd.proto")
    return folder
