"""`amaters-cli admin download`: a backup file from a node, whole or not at all."""

import os
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from amaters.admin.client import AdminClient
from amaters.admin.observations import SnapshotChunk
from amaters.cli import formatting, tables
from amaters.cli.formatting import JsonValue
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.errors import ConfigurationError

NEWEST = "newest"
PARTIAL = ".partial"


@click.command("download", epilog=example("amaters-cli admin download newest backup.bin"))
@click.argument("snapshot_id", metavar="ID|newest")
@click.argument("target", metavar="[FILE]", type=click.Path(path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@pass_terminal
def download(terminal: Terminal, snapshot_id: str, target: Path, force: bool) -> None:
    """Download a backup from the node into FILE, or into a folder under its own name.

    The file appears under its name once all of it has arrived and matches its checksums.
    """
    if snapshot_id.lower() != NEWEST and not snapshot_id.isdecimal():
        raise click.UsageError(f"{snapshot_id!r} is not the id of a backup: see `admin snapshots`")
    wanted = 0 if snapshot_id.lower() == NEWEST else int(snapshot_id)

    async def fetch(node: AdminClient) -> tuple[Path, SnapshotChunk]:
        return await _fetch(terminal, node, wanted, _Place(target, force))

    path, last = terminal.with_admin(fetch)
    facts: dict[str, JsonValue] = {
        "status": "success",
        "operation": "download",
        "id": last.snapshot_id,
        "path": str(path),
        "size_bytes": last.total_bytes,
        "sha256": last.sha256,
    }
    size = formatting.size(last.total_bytes)
    terminal.out.done(
        facts, f"Downloaded backup {last.snapshot_id}, {size}: {tables.safe(str(path))}"
    )


async def _fetch(
    terminal: Terminal, node: AdminClient, wanted: int, place: "_Place"
) -> tuple[Path, SnapshotChunk]:
    bar = Progress(
        TextColumn("Downloading"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=terminal.out.notes,
        transient=True,
        disable=not terminal.out.notes.is_terminal,
    )
    last: SnapshotChunk | None = None
    with bar, place:
        task = bar.add_task("download", total=None)
        async for last in node.download_snapshot(wanted):
            place.write(last)
            bar.update(task, total=last.total_bytes, completed=last.offset + len(last.data))
        if last is None:
            raise AssertionError("a download that ends without a chunk raises")
        return place.commit(), last


class _Place:
    """The target file: under a temporary name until it is committed."""

    def __init__(self, target: Path, force: bool) -> None:
        self._target = target
        self._force = force
        self._file: BinaryIO | None = None
        self._partial = target

    def __enter__(self) -> None:
        """Begin; the file is made with the first chunk."""

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind of what was not committed."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, chunk: SnapshotChunk) -> None:
        """Add a chunk; ConfigurationError when the disk does not take it."""
        try:
            if self._file is None:
                self._open(chunk.snapshot_id)
            if self._file is not None:
                self._file.write(chunk.data)
        except OSError as error:
            raise _cannot_write(self._target, error) from error

    def commit(self) -> Path:
        """Make it durable and give it its name."""
        file = self._file
        if file is None:
            raise AssertionError("nothing was written")
        try:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._partial.replace(self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            raise _cannot_write(self._target, error) from error
        self._file = None
        return self._target

    def _open(self, snapshot_id: int) -> None:
        if self._target.is_dir():
            self._target /= f"snapshot-{snapshot_id:020}.bin"
        if self._target.exists() and not self._force:
            raise ConfigurationError(
                f"{self._target} exists already: name another file, or use --force"
            )
        self._partial = self._target.with_name(self._target.name + PARTIAL)
        self._partial.unlink(missing_ok=True)
        # All data of a cluster: private to its owner, and never written through a link.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._partial, flags, 0o600), "wb")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file")
