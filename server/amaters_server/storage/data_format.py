"""The form of a data folder as a whole, in a file of its own, so that no version misreads another's.

Data without the file is of an earlier version, in form 1. A version that changes the layout raises
FORMAT, converts what it finds, and writes the file last.
"""

import json
from pathlib import Path

from amaters_server.model.errors import StorageError
from amaters_server.storage import small_file

FORMAT = 1
"""The only form that this version reads and writes."""
FILE = "format.json"
_LONGEST_VERSION = 64


def require_readable(folder: Path, version: str) -> None:
    """Raise StorageError when a data folder is of a later form than this `version` reads."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return
    found, writer = _understood(folder, content)
    if found > FORMAT:
        raise StorageError(
            f"the data in {folder} has format {found}, written by version {writer}, and version "
            f"{version} reads formats up to {FORMAT}: start version {writer} or later, or set "
            "server.data_dir to an empty folder and restore a backup there"
        )


def adopt(folder: Path, version: str) -> None:
    """Mark a data folder as of this form, when it has no mark; OSError when that is impossible."""
    if not (folder / FILE).exists():
        content = {"format": FORMAT, "written_by": version}
        small_file.write(folder / FILE, json.dumps(content).encode() + b"\n")


def _understood(folder: Path, content: bytes) -> tuple[int, str]:
    """Return the form, and the version that wrote it."""
    try:
        facts = json.loads(content)
        found, writer = facts["format"], facts["written_by"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found, writer = None, ""
    named = isinstance(writer, str) and writer.isprintable()
    if type(found) is not int or found < 1 or not named:
        raise StorageError(
            f"{folder / FILE} is damaged: write the content of another member's file into it, or "
            f'{{"format": {FORMAT}, "written_by": "VERSION"}} with the version that ran here last'
        )
    return found, writer[:_LONGEST_VERSION]
