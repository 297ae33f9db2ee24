"""What can happen to the disks of members: slow, failing, full, torn, and losing what was not synced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.shell import run

from faultbed.lab import mount_name
from faultbed.members import Member

# From the kernel's include/uapi/linux/ext4.h.
SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = struct.pack("I", 2)
ATTACH_SECONDS = 10.0
SYNCS = "fdatasync,fsync"


@dataclass(frozen=True, slots=True)
class Disk:
    """A filesystem in a file, with a journal: it fills up, and loses power, like a real one."""

    file: Path
    folder: Path

    def mount(self) -> None:
        """Mount it; the journal is replayed if it was cut off.

        The device is always a new one: some container that is just being made may hold a copy of
        all mounts, and with it a filesystem that was shut down.
        """
        device = run("losetup", "--find", "--show", self.file)
        try:
            run("mount", "-t", "ext4", "-o", "noatime", device, self.folder)
        finally:
            run("losetup", "--detach", device)  # once it is unmounted

    def unmount(self) -> None:
        """Unmount it; nobody may use it any more."""
        run("umount", self.folder)

    def cut_power(self) -> None:
        """Lose at once whatever has not been synced; every later call fails."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, WITHOUT_FLUSHING)
        finally:
            os.close(handle)


@contextlib.contextmanager
def disk(folder: Path, name: str, mebibytes: int) -> Iterator[Disk]:
    """Make and mount a filesystem of that size below the folder."""
    made = Disk(folder / f"{name}.ext4", folder / mount_name(name))
    made.folder.mkdir(parents=True)
    run("truncate", "-s", f"{mebibytes}M", made.file)
    run("mkfs.ext4", "-q", "-F", "-m", "0", made.file)
    made.mount()
    try:
        yield made
    finally:
        run("umount", "--lazy", made.folder)
        made.file.unlink()


@contextlib.contextmanager
def slow_syncs(member: Member, seconds: float) -> Iterator[float]:
    """Make every sync of a running member take that much longer."""
    with _injected(member, f"delay_enter={round(seconds * 1e6)}") as since:
        yield since


@contextlib.contextmanager
def failing_syncs(member: Member, after: int) -> Iterator[float]:
    """Have each thread's syncs fail with EIO once it has made so many."""
    with _injected(member, f"error=EIO:when={after + 1}+") as since:
        yield since


@contextlib.contextmanager
def _injected(member: Member, what: str) -> Iterator[float]:
    """Hold a fault in the calls that make data durable. Yields once it is in force."""
    command = ["strace", "--follow-forks", "--quiet=none", "--output=/dev/null"]
    command += [f"--trace={SYNCS}", f"--inject={SYNCS}:{what}", f"--attach={member.pid}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        try:
            _wait_for_attachment(tracer)
            yield time.monotonic()
        finally:
            # It lets go of the server when it is told to end, and waits for no call of it.
            tracer.terminate()


def _wait_for_attachment(tracer: subprocess.Popen[bytes]) -> None:
    assert tracer.stderr is not None
    said = b""
    until = time.monotonic() + ATTACH_SECONDS
    while b"attached" not in said:
        readable, _, _ = select.select([tracer.stderr], [], [], max(until - time.monotonic(), 0))
        more = os.read(tracer.stderr.fileno(), 4096) if readable else b""
        assert more, f"strace did not attach: {said.decode()}"
        said += more


def tear_log(data: Path, lost_bytes: int) -> Path:
    """Cut the last bytes off the newest write-ahead log of a member that is down."""
    logs = [path for path in (data / "db").glob("*.log") if path.stat().st_size > lost_bytes]
    newest = max(logs, key=lambda path: path.stat().st_mtime_ns)
    os.truncate(newest, newest.stat().st_size - lost_bytes)
    return newest
