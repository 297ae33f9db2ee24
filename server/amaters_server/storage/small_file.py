"""Small files that are replaced as a whole: after a crash there is the old content or the new."""

import os
from pathlib import Path

from amaters_server.storage.swap import sync, sync_folder

_PRIVATE = 0o600


def write(path: Path, content: bytes) -> None:
    """Replace the content durably; only the owner may read the file."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # What a crash left may have other rights.
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        sync(file)
    new.replace(path)
    sync_folder(path.parent)
