"""What a removed member has stored is set aside on the same disk, and a new member starts beside it.

The request is a file. The next start carries it out before anything is opened: each part is renamed
into a folder of the member's own, and the request goes last. A crash at any moment repeats that.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from amaters_server.storage import small_file
from amaters_server.storage.swap import sync_folder

FOLDER = "set-aside"
REQUEST = "set-aside.json"
_PREFIX = "member-"


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a member that was removed has left on this disk."""

    member: int
    size_bytes: int


def request(data_dir: Path, member: int) -> None:
    """Have the next start set aside what that member has stored; durable, OSError otherwise."""
    small_file.write(data_dir / REQUEST, json.dumps({"member": member}).encode() + b"\n")


def carry_out(data_dir: Path, parts: Iterable[Path]) -> int:
    """Move these files and folders, if that was requested; return the member, or 0.

    OSError when the disk does not allow it; ValueError when the request cannot be read.
    """
    try:
        content = (data_dir / REQUEST).read_bytes()
    except FileNotFoundError:
        return 0
    member = _requested(data_dir, content)
    target = _folder(data_dir, member)
    target.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if part.exists():
            part.rename(target / part.name)
    for changed in (target, target.parent, data_dir):
        sync_folder(changed)
    (data_dir / REQUEST).unlink()
    sync_folder(data_dir)
    return member


def found(data_dir: Path) -> tuple[SetAside, ...]:
    """Return what is set aside on this disk, by member; blocks, for it reads every size."""
    folders = (data_dir / FOLDER).glob(f"{_PREFIX}*")
    numbers = {one: one.name.removeprefix(_PREFIX) for one in folders if one.is_dir()}
    kept = [SetAside(int(text), size(one)) for one, text in numbers.items() if text.isdecimal()]
    return tuple(sorted(kept, key=lambda one: one.member))


def discard(data_dir: Path, member: int) -> bool:
    """Delete for good what was set aside of that member; return whether there was anything."""
    folder = _folder(data_dir, member)
    if not folder.is_dir():
        return False
    shutil.rmtree(folder)
    sync_folder(folder.parent)
    return True


def size(path: Path) -> int:
    """Return the bytes in a file, or in all files below a folder; files may go meanwhile."""
    total = 0
    for one in (path, *path.rglob("*")):
        try:
            found_there = one.lstat()
        except FileNotFoundError:
            continue
        total += 0 if one.is_dir() else found_there.st_size
    return total


def _folder(data_dir: Path, member: int) -> Path:
    return data_dir / FOLDER / f"{_PREFIX}{member}"


def _requested(data_dir: Path, content: bytes) -> int:
    try:
        member = json.loads(content)["member"]
    except (ValueError, KeyError, TypeError, RecursionError):
        member = None
    if type(member) is not int or member < 1:
        raise ValueError(
            f"{data_dir / REQUEST} is damaged: delete it, and ask again to set aside the data"
        )
    return member
