"""A copy of a database that is down: opening one changes it, and what is missing is forgotten then."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaters_server.storage.rocks.log_folder import LogFolder


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """Give a copy beside the folder, removed at the end; OSError without room for its logs.

    Its tables are links to the same files, which never change.
    """
    copy = folder.with_name(f"{folder.name}.copy")
    shutil.rmtree(copy, ignore_errors=True)
    try:
        copy.mkdir(mode=0o700)
        for path in [path for path in folder.iterdir() if path.is_file()]:
            if path.suffix == ".sst":
                os.link(path, copy / path.name)
            else:
                shutil.copyfile(path, copy / path.name)
        for path in LogFolder(folder, None).files():
            shutil.copyfile(path, copy / path.name)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)
