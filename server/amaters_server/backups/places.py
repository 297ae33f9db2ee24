"""Where backups are kept: `s3://bucket/prefix`, or a folder; and which places callers may name.

Pure: text to places and back. A place is always a configured one or below a configured one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import override

from amaters_server.backups.names import id_of_any, is_cluster_id, remote_name
from amaters_server.model.errors import ConfigurationError, SnapshotError

S3 = "s3://"
LOCAL = "local://"
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder below a trusted one."""

    root: Path
    parts: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        """Return its URI."""
        return f"{LOCAL}{self.root.joinpath(*self.parts)}"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket and the folder-like prefix inside it."""

    bucket: str
    prefix: str = ""

    @property
    def start(self) -> str:
        """Return what the keys of everything here begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    def uri(self, key: str) -> str:
        """Return the URI of what is stored under the key."""
        return f"{S3}{self.bucket}/{key}"

    @override
    def __str__(self) -> str:
        """Return its URI."""
        return self.uri(self.prefix).rstrip("/")


Place = FolderPlace | S3Place


@dataclass(frozen=True, slots=True)
class Places:
    """The configured places; callers may name these and what is below them."""

    configured: tuple[Place, ...] = ()

    def named(self, text: str) -> Place:
        """Return the place of that name; SnapshotError when it is not configured."""
        asked = _parsed(text)
        if asked is None or _escapes(text):
            raise SnapshotError(
                f"{_shown(text)} is no place for backups: name one as {S3}BUCKET/PREFIX or "
                "/FOLDER, without . and .. in it"
            )
        found = self._find(asked)
        if found is not None:
            return found
        known = ", ".join(str(one).removeprefix(LOCAL) for one in self.configured) or "none"
        raise SnapshotError(
            f"{_shown(text)} is not among the configured places for backups ({known}): use one "
            "of them, or add it to `snapshots.allowed_destinations`"
        )

    def of_backup(self, text: str) -> tuple[Place, str]:
        """Return the place that a backup is in, and its URI; SnapshotError as above.

        The place is the one that clusters share, when the backup is in the folder of one.
        """
        folder, _, name = text.rpartition("/")
        above, _, cluster = folder.rpartition("/")
        shared = _parsed(above) if is_cluster_id(cluster) and not _escapes(text) else None
        place = None if shared is None else self._find(shared)
        if place is not None:
            return place, f"{place}/{cluster}/{name}"
        place = self.named(folder)
        return place, f"{place}/{name}"

    def _find(self, asked: Place) -> Place | None:
        below = (_within(one, asked) for one in self.configured)
        return next((one for one in below if one is not None), None)


def places(texts: Sequence[str]) -> Places:
    """Return the places of these texts; ConfigurationError when one is none."""
    return Places(tuple(place_of(one) for one in texts))


def place_of(destination: str) -> Place:
    """Parse a configured destination; ConfigurationError when it is neither kind."""
    found = _parsed(destination)
    if found is None or _escapes(destination):
        raise ConfigurationError(
            f"snapshots.destination is {destination!r}: use {S3}BUCKET/PREFIX or /FOLDER"
        )
    return found


def names_a_backup(text: str) -> bool:
    """Whether the text ends in the name of a backup, rather than of a place."""
    return id_of_any(text.rpartition("/")[2]) is not None


def named_in(place: Place, uri: str) -> tuple[str, ...]:
    """Return the names that lead from the place to the backup: `[CLUSTER,] NAME`.

    SnapshotError when the URI is that of something else.
    """
    start = f"{place}/"
    names = tuple(uri.removeprefix(start).split("/"))
    known = id_of_any(names[-1]) is not None
    if not uri.startswith(start) or not known or not all(map(is_cluster_id, names[:-1])):
        raise SnapshotError(
            f"{_shown(uri)} names no backup in {place}: it must be {start}CLUSTER/{remote_name(1)}"
        )
    return names


def _parsed(text: str) -> Place | None:
    if text.startswith(S3):
        bucket, _, prefix = text.removeprefix(S3).partition("/")
        return S3Place(bucket, prefix.strip("/")) if bucket else None
    folder = PurePosixPath(text.removeprefix(LOCAL))
    return FolderPlace(Path(folder)) if folder.is_absolute() else None


def _escapes(text: str) -> bool:
    return "\0" in text or not {".", ".."}.isdisjoint(text.split("/"))


def _within(one: Place, asked: Place) -> Place | None:
    """Return the asked place as one below the configured one, None when it is not."""
    if isinstance(one, FolderPlace) and isinstance(asked, FolderPlace):
        below = one.root.joinpath(*one.parts)
        if not asked.root.is_relative_to(below):
            return None
        return FolderPlace(one.root, (*one.parts, *asked.root.relative_to(below).parts))
    if isinstance(one, S3Place) and isinstance(asked, S3Place):
        inside = one.bucket == asked.bucket and f"{asked.start}".startswith(one.start)
        return asked if inside else None
    return None


def _shown(text: str) -> str:
    cut = text[:_LONGEST_SHOWN]
    return repr(cut) if cut == text else f"{cut!r}…"
