"""The form of a data folder as a whole, in a file of its own, so that no version misreads another's.

Data without the file is of an earlier version, in format 1 and revision 0. A version that changes
the layout adds a migration; one that earlier versions cannot read afterwards raises FORMAT.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from amaters_server.model.errors import StorageError
from amaters_server.storage import small_file

FORMAT = 1
"""The latest format that this version reads."""
FILE = "format.json"
_LONGEST_VERSION = 64
_HIGHEST_REVISION = 1 << 31


@dataclass(frozen=True, slots=True)
class DataForm:
    """What the file says."""

    format: int = 1
    """What a version must know to read the data."""
    written_by: str = ""
    revision: int = 0
    """The last migration that was carried out as a whole."""
    migrating_to: int | None = None
    """The one that was begun."""


def found(folder: Path) -> DataForm:
    """Return the form of the data in a folder; StorageError when its file is damaged."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return DataForm()
    return _understood(folder, content)


def require_readable(folder: Path, version: str) -> None:
    """Raise StorageError when a data folder is of a later format than this `version` reads."""
    form = found(folder)
    if form.format > FORMAT:
        raise StorageError(
            f"the data in {folder} has format {form.format}, written by version {form.written_by}, "
            f"and version {version} reads formats up to {FORMAT}: start version {form.written_by} "
            "or later, or set server.data_dir to an empty folder and restore a backup there"
        )


def write(folder: Path, form: DataForm) -> None:
    """Record the form durably; OSError when that is impossible."""
    content = {"format": form.format, "written_by": form.written_by, "revision": form.revision}
    if form.migrating_to is not None:
        content["migrating_to"] = form.migrating_to
    small_file.write(folder / FILE, json.dumps(content).encode() + b"\n")


def _understood(folder: Path, content: bytes) -> DataForm:
    try:
        facts = json.loads(content)
        number, writer = facts["format"], facts["written_by"]
        # Versions before revisions wrote the file for data of the first one.
        revision, begun = facts.get("revision", 1), facts.get("migrating_to")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        number, writer, revision, begun = None, "", 0, None
    named = isinstance(writer, str) and writer.isprintable()
    counted = _is_number(revision, 0) and (begun is None or _is_number(begun, 1))
    if type(number) is not int or number < 1 or not named or not counted:
        raise StorageError(
            f"{folder / FILE} is damaged: write the content of another member's file into it, or "
            f'{{"format": {FORMAT}, "written_by": "VERSION"}} with the version that ran here last'
        )
    return DataForm(number, writer[:_LONGEST_VERSION], revision, begun)


def _is_number(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= _HIGHEST_REVISION
