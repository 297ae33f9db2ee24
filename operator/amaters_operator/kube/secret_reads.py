"""Which Secrets a pass has read, and in which version: a later look compares the versions only.

The doors to the API note it themselves, so that no Secret which a new feature reads is forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from amaters_operator.kube import kinds
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest

_reads: ContextVar[dict[str, str] | None] = ContextVar("secret reads", default=None)


@contextmanager
def noted() -> Iterator[dict[str, str]]:
    """Note the reads of this task and those it starts: name to version, empty for an absent one."""
    reads: dict[str, str] = {}
    token = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(token)


def note(kind: Kind, name: str, found: Manifest | None) -> None:
    """Note a read, if it was of a Secret."""
    reads = _reads.get()
    if reads is not None and kind == kinds.SECRET:
        reads[name] = version_of(found)


def version_of(found: Manifest | None) -> str:
    """Return the resource version; empty for an absent object."""
    return str(((found or {}).get("metadata") or {}).get("resourceVersion", ""))
