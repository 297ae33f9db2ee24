"""Real gRPC servers in this process, on ports of their own, and terminals, for the client's tests."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from amaters.admin.client import AdminClient
from amaters.cli.main import cli as program
from amaters.data.client import AmatersClient
from amaters.testing.admin import FakeAdmin, serve_admin
from amaters.testing.aql import FakeAql, FakeCluster, serve_aql
from amaters.testing.threads import serve_in_threads
from click.testing import CliRunner, Result


@pytest.fixture
async def fake_admin() -> AsyncIterator[FakeAdmin]:
    """A scripted admin service on loopback; `.address` says where."""
    async with serve_admin() as fake:
        yield fake


@pytest.fixture
async def admin(fake_admin: FakeAdmin) -> AsyncIterator[AdminClient]:
    """An admin client connected to the scripted service."""
    async with AdminClient.connect(fake_admin.address) as client:
        yield client


@pytest.fixture
async def fake() -> AsyncIterator[FakeAql]:
    """One server of the query service."""
    async with serve_aql() as server:
        yield server


@pytest.fixture
async def client(fake: FakeAql) -> AsyncIterator[AmatersClient]:
    """A client of that one server."""
    async with await AmatersClient.connect(fake.address) as connected:
        yield connected


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """Two servers that hold the same data."""
    made = FakeCluster()
    await made.start()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def served() -> Iterator[FakeAql]:
    """A server of the query service on threads, for programs that own the event loop."""
    fake = FakeAql()
    with serve_in_threads(fake):
        yield fake


@pytest.fixture
def served_admin() -> Iterator[FakeAdmin]:
    """An admin service on threads."""
    fake = FakeAdmin()
    with serve_in_threads(fake):
        yield fake


Cli = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and an environment that says nothing about AmateRS."""
    for name in ("SERVER_URL", "ADMIN_ADDRESS", "COLLECTION", "OUTPUT_FORMAT", "COLOR"):
        monkeypatch.delenv(f"AMATERS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def bare(home: Path) -> Cli:
    """Runs amaters-cli with nothing but the arguments given."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(program, list(arguments), input=stdin)

    return run


@pytest.fixture
def cli(bare: Cli, served: FakeAql) -> Cli:
    """Runs amaters-cli against the query service."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return bare("--server", served.address, *arguments, stdin=stdin)

    return run


@pytest.fixture
def ops(bare: Cli, served_admin: FakeAdmin) -> Cli:
    """Runs amaters-cli against the admin service."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return bare("--admin", served_admin.address, *arguments, stdin=stdin)

    return run


class Screen:
    """A terminal of so many columns and lines, and what a person would see on it."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        import pyte  # noqa: PLC0415 Only these tests need it.

        self._seen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._seen)
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], **environment: str) -> None:
        """Run a program on it."""
        self._child = subprocess.Popen(
            # Ctrl-C is a signal only in a program whose controlling terminal this is.
            ["setsid", "--ctty", *command],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8", **environment},
        )

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self.master, text.encode())

    def read(self, seconds: float = 0.05) -> None:
        """Take in what was written until nothing more comes for that long."""
        while select.select([self.master], [], [], seconds)[0]:
            data = os.read(self.master, 65_536)
            # prompt_toolkit asks where the cursor is.
            for _ in range(data.count(b"\x1b[6n")):
                self.type(f"\x1b[{self._seen.cursor.y + 1};{self._seen.cursor.x + 1}R")
            self._stream.feed(data)

    def until(self, pattern: str, seconds: float = 30.0) -> str:
        """Wait until the screen shows it; returns the screen."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.MULTILINE):
            assert time.monotonic() < end, f"no {pattern!r} on the screen:\n{self.text}"
            self.read()
        return self.text

    @property
    def text(self) -> str:
        """The screen, without blanks at the ends."""
        return "\n".join(line.rstrip() for line in self._seen.display).rstrip("\n") + "\n"

    def ended(self) -> int:
        """Wait for the program to end; returns its exit code."""
        assert self._child is not None
        return self._child.wait(30)

    def close(self) -> None:
        """End what still runs, and close both sides."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A terminal of 80 columns."""
    made = Screen()
    yield made
    made.close()


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a screen with the file of that name; AMATERS_REWRITE_GOLDEN=1 replaces the file."""

    def compare(name: str, seen: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("AMATERS_REWRITE_GOLDEN"):
            path.write_text(seen)
        assert path.read_text() == seen

    return compare
