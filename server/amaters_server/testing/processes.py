"""Real servers for tests: `amaters-server start` as a child process, with a folder of its own."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from amaters_server.testing.ports import free_ports

START_SECONDS = 30.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05


class NotUpError(AssertionError):
    """A server did not do in time what a test waits for; the message ends with its log."""


@dataclass(slots=True)
class ServerProcess:
    """One server: its configuration, its process, and what it logged."""

    folder: Path
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    client_port: int = 0
    internal_port: int = 0
    http_port: int = 0
    flags: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    """Where it listens, and is reached."""
    launcher: tuple[str, ...] = ()
    """What the command is handed to instead of being run: it must become the process itself."""
    program: tuple[str, ...] = (sys.executable, "-m", "amaters_server.app.entry")
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.client_port:
            self.client_port, self.internal_port, self.http_port = free_ports(3)
        self.configure(self.settings)

    @property
    def client(self) -> str:
        """Return where clients connect."""
        return f"{self.host}:{self.client_port}"

    @property
    def internal(self) -> str:
        """Return where administrators and peers connect."""
        return f"{self.host}:{self.internal_port}"

    @property
    def config(self) -> Path:
        """Return the configuration file."""
        return self.folder / "config.toml"

    @property
    def log(self) -> str:
        """Return everything logged so far, by all its processes."""
        path = self.folder / "stderr.log"
        return path.read_text() if path.exists() else ""

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._running().pid

    def configure(self, settings: dict[str, dict[str, object]]) -> None:
        """Write the configuration file: what every test needs, and these settings over it."""
        every: dict[str, dict[str, object]] = {
            "server": {
                "bind_address": self.client,
                "data_dir": str(self.folder / "data"),
                "pid_file": str(self.folder / "pid"),
            },
            "metrics": {"bind_address": f"{self.host}:{self.http_port}"},
            "logging": {"format": "json"},
            "cluster": {"enabled": False, "bind_address": self.internal},
        }
        self.settings = settings
        for name, section in settings.items():
            every[name] = {**every.get(name, {}), **section}
        self.config.write_text(tomli_w.dumps(every))

    def start(self) -> None:
        """Start the process; `ready` waits until it serves."""
        command = [*self.launcher, *self.program, "start"]
        with (self.folder / "stderr.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 Our own program.
                [*command, "--config", str(self.config), *self.flags],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another `amaters-server` command on the same configuration."""
        command = [*self.program, *arguments]
        return subprocess.run(  # noqa: S603 Our own program.
            [*command, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def page(self, path: str) -> tuple[int, str]:
        """Fetch a page of its HTTP listener; (0, reason) when there is no answer."""
        url = f"http://{self.host}:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    async def ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it is ready; NotUpError when it ends or stays unready."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        answer = ""
        while loop.time() < until:
            if self._running().poll() is not None:
                raise NotUpError(f"{self.folder.name} ended by itself\n{self.log}")
            code, answer = await asyncio.to_thread(self.page, "/readyz")
            if code == 200:  # noqa: PLR2004
                return
            await asyncio.sleep(POLL_SECONDS)
        raise NotUpError(f"{self.folder.name} is not ready after {seconds} s: {answer}\n{self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    def kill(self) -> None:
        """End the process at once, as a power cut would end it."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to stop and return its exit code; NotUpError when it takes too long."""
        process = self._running()
        process.terminate()
        try:
            return await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NotUpError(f"{self.folder.name} did not stop\n{self.log}") from None

    def is_up(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the log lines with that event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise NotUpError(f"{self.folder.name} was not started")
        return self._process


def cluster_of(
    folder: Path,
    count: int = 3,
    settings: dict[str, dict[str, object]] | None = None,
    *,
    host: str = "127.0.0.1",
) -> list[ServerProcess]:
    """Return servers that form one cluster once they are started; an IPv6 host in brackets."""
    ports = free_ports(3 * count)
    servers = []
    peers = [f"{n + 1}:{host}:{ports[3 * n + 1]}" for n in range(count)]
    for n in range(count):
        own: dict[str, dict[str, object]] = {
            name: dict(section) for name, section in (settings or {}).items()
        }
        own["cluster"] = {
            "enabled": True,
            "node_id": n + 1,
            "peers": peers,
            "bind_address": "",  # Each listens where `peers` says that it is reached.
            **own.get("cluster", {}),
        }
        client, internal, http = ports[3 * n : 3 * n + 3]
        made = ServerProcess(folder / f"node-{n + 1}", own, client, internal, http, host=host)
        servers.append(made)
    return servers


async def start_all(servers: list[ServerProcess]) -> None:
    """Start the servers and wait until all are ready."""
    for server in servers:
        server.start()
    await asyncio.gather(*(server.ready() for server in servers))


def kill_all(servers: list[ServerProcess]) -> None:
    """End whatever still runs."""
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.kill()


CPU_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CPU_TICKS
