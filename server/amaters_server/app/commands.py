"""The commands of `amaters-server` that read its configuration."""

import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn

import click
from amaters.command_tree import example

from amaters_server.app.cli import common_options
from amaters_server.app.files.pidfile import PidFile
from amaters_server.config.addresses import EVERYWHERE, HostPort, host_port
from amaters_server.config.load import DEFAULT_PATH, Sources, as_toml, load, locate
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError, DatabaseError, StorageCorruptedError

COMMON = {
    "config": None,
    "bind": "server.bind_address",
    "data_dir": "server.data_dir",
    "log_level": "logging.level",
    "name": "cluster.name",
    "advertise": "cluster.advertise_address",
    "client_advertise": "cluster.client_advertise_address",
}
"""Options that may be given before or after the subcommand, and the keys they set."""

STATUS_LABELS = {
    "pid_file": "PID file",
    "data_dir": "Data directory",
    "bind_address": "Bind address",
}

POLL_SECONDS = 0.05
FLUSH_SECONDS = 10
"""Seconds a server may need to close its disk, after the calls in progress have ended."""
KILL_WAIT_SECONDS = 5.0


def with_sources(command: Callable[..., None]) -> Callable[..., None]:
    """Pass the command its `Sources`, built from the options before and after its name."""

    @common_options
    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, **options: object) -> None:
        given = dict(context.obj)
        for name in COMMON:
            value = options.pop(name, None)
            if value is not None:
                given[name] = value
        try:
            command(sources=_sources(given), **options)
        except ConfigurationError as wrong:
            fail(str(wrong))

    return run


def _sources(given: dict[str, object]) -> Sources:
    flags = {key: given[name] for name, key in COMMON.items() if key and name in given}
    path = given.get("config")
    return Sources(
        path=path if isinstance(path, Path) else _default_path(),
        environment=dict(os.environ),
        flags=flags,
    )


def _default_path() -> Path:
    """Return the file that the environment names, as an image does."""
    return Path(os.environ.get("AMATERS_CONFIG") or DEFAULT_PATH)


DAMAGED_EXIT_CODE = 65
"""What is stored is damaged or incomplete: starting again does not help. As in sysexits.h."""


def fail(message: str, code: int = 1) -> NoReturn:
    """Print the error and end the program."""
    for line in message.splitlines():
        click.echo(f"Error: {line}", err=True)
    sys.exit(code)


@click.command(epilog=example("amaters-server start --config /etc/amaters/config.toml"))
@click.option(
    "-f", "--foreground", is_flag=True, help="Accepted for compatibility; the server never forks."
)
@click.option("--generate-config", is_flag=True, help="Write the default file if it is missing.")
@click.option("--name", help="This node's name; in Kubernetes the pod's.")
@click.option(
    "--advertise", metavar="HOST:PORT", help="Address at which other members reach this node."
)
@click.option(
    "--client-advertise", metavar="HOST:PORT", help="Address at which clients reach this node."
)
@with_sources
def start(sources: Sources, *, foreground: bool, generate_config: bool) -> None:
    """Run the server until SIGTERM or SIGINT (Ctrl-C); the exit code is 0.

    It is 65 when what is stored is damaged or incomplete, so that another start does not help, and 1
    after any other failure.

    Calls in progress, streams included, have server.shutdown_timeout_secs to end. A second signal
    aborts them and still closes everything in order. A third one exits at once with exit code 1:
    the next start recovers as from a crash. SIGHUP reloads.
    """
    del foreground
    if generate_config and not sources.path.exists():
        _write_default(sources.path)
    # Only here: the other commands do not need the server, and answer at once without it.
    from amaters_server.app import lifecycle  # noqa: PLC0415

    try:
        lifecycle.run(sources, load(sources))
    except StorageCorruptedError as damaged:
        fail(str(damaged), DAMAGED_EXIT_CODE)
    except DatabaseError as wrong:
        fail(str(wrong))


def _write_default(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_toml(Settings()))
    except OSError as wrong:
        if wrong.errno in {errno.ENOSPC, errno.EDQUOT}:
            # It did not exist before, and half of it would be read as the whole configuration.
            path.unlink(missing_ok=True)
        fail(
            f"{path} cannot be written ({wrong.strerror}): name another file with --config, or "
            "leave out --generate-config: every setting has a default"
        )
    click.echo(f"Default configuration written to {path}", err=True)


@click.command(epilog=example("amaters-server stop --timeout 60"))
@click.option("-f", "--force", is_flag=True, help="Send SIGKILL at once: nothing is flushed.")
@click.option("-t", "--timeout", type=click.IntRange(min=0), help="Seconds until SIGKILL.")
@click.option(
    "--addr", metavar="HOST:PORT", help="Stop the server only if it listens at this address."
)
@with_sources
def stop(sources: Sources, *, force: bool, timeout: int | None, addr: str | None) -> None:
    """Stop the running server and wait until it is gone.

    A process of this host is sent a signal. A server on another host is stopped there: with --addr
    of such a one nothing is done, and the exit code is 1.
    """
    server = locate(sources).server
    if addr is not None:
        _require_own(_address(addr), host_port(server.bind_address))
    file = PidFile(server.pid_file)
    pid = file.running()
    if pid is None:
        click.echo("Server is not running", err=True)
        return
    if not force:
        grace = server.shutdown_timeout_secs + FLUSH_SECONDS if timeout is None else timeout
        _signal(pid, signal.SIGTERM)
        if _gone(file, grace):
            click.echo("Server stopped", err=True)
            return
        click.echo(f"Server did not stop within {grace} s: killing it", err=True)
    _signal(pid, signal.SIGKILL)
    if not _gone(file, KILL_WAIT_SECONDS):
        fail(f"process {pid} does not end even when killed: its disk may hang")
    file.path.unlink(missing_ok=True)
    click.echo("Server killed", err=True)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        fail(f"process {pid} belongs to another user: run this as that user")


def _gone(file: PidFile, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while file.running() is not None:
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_SECONDS)
    return True


@click.command(epilog=example("amaters-server status --addr 127.0.0.1:7878"))
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["human", "json"], case_sensitive=False),
    default="human",
)
@click.option(
    "--addr", metavar="HOST:PORT", help="Query the server at this address instead of the pid file."
)
@with_sources
def status(sources: Sources, *, form: str, addr: str | None) -> None:
    """Show whether the server runs."""
    # Only here: the other commands do not need gRPC.
    from amaters_server.rpc.aql.probe import Found, State, probe  # noqa: PLC0415

    settings = locate(sources)
    if addr is None:
        running = PidFile(settings.server.pid_file).running() is not None
        found = Found(State.RUNNING if running else State.STOPPED)
    else:
        _address(addr)
        network = settings.network
        found = probe(addr, ca=network.tls_ca, tls=network.tls_enabled)
    facts = {"status": found.state.value, "bind_address": addr or settings.server.bind_address}
    if addr is None:
        # Files of this host say nothing about a server elsewhere.
        facts["pid_file"] = str(settings.server.pid_file)
        facts["data_dir"] = str(settings.server.data_dir)
    elif found.detail:
        facts["detail"] = found.detail
    if form.lower() == "json":
        click.echo(json.dumps(facts, indent=2, sort_keys=True))
        return
    click.echo(f"AmateRS Server Status\n=====================\nStatus: {found}")
    for name, label in STATUS_LABELS.items():
        if name in facts:
            click.echo(f"{label}: {facts[name]}")


def _address(text: str) -> HostPort:
    try:
        return host_port(text)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--addr") from None


def _require_own(named: HostPort, own: HostPort) -> None:
    """Refuse an address at which the server of this configuration does not listen."""
    # Only here: the other commands do not look at the addresses of this host.
    from amaters_server.app.from_settings import is_here  # noqa: PLC0415

    try:
        found = socket.getaddrinfo(named.host, named.port, type=socket.SOCK_STREAM)
    except OSError as wrong:
        fail(f"{named.host} cannot be resolved ({wrong.strerror}): nothing was stopped")
    addresses = {str(one[4][0]) for one in found}
    listens = own.host in EVERYWHERE or own.host in addresses
    if named.port != own.port or not listens or not all(map(is_here, addresses)):
        fail(
            f"{named} is not where the server of this configuration listens, which is {own}: "
            "nothing was stopped. Run `amaters-server stop` on that server's host, with its "
            "configuration"
        )


@click.command("validate-config", epilog=example("amaters-server validate-config --show"))
@click.option("-s", "--show", is_flag=True, help="Print the configuration in force.")
@with_sources
def validate_config(sources: Sources, *, show: bool) -> None:
    """Validate the configuration, naming every invalid key."""
    loaded = load(sources)
    # As for `start`: only here.
    from amaters_server.app import from_settings, lifecycle  # noqa: PLC0415

    for notice in filter(None, (*loaded.notices, lifecycle.exposed_to(loaded.settings))):
        click.echo(f"Notice: {notice}", err=True)
    try:
        lifecycle.require_files(loaded.settings)
    except ConfigurationError as wrong:
        # Not a fault of the configuration: it may be checked elsewhere than it is used.
        click.echo(f"Notice: a server would not start here: {wrong}", err=True)
    click.echo("Configuration is valid")
    if show:
        shown = as_toml(from_settings.in_force(loaded.settings))
        click.echo(f"\nConfiguration:\n{shown}", nl=False)


@click.command(epilog=example("amaters-server reload"))
@with_sources
def reload(sources: Sources) -> None:
    """Reload the configuration and certificates of the running server."""
    file = locate(sources).server.pid_file
    pid = PidFile(file).running()
    if pid is None:
        fail(
            f"Server is not running: no process holds {file}. If it runs with another "
            "configuration file, name that one with --config"
        )
    _signal(pid, signal.SIGHUP)
    click.echo(f"Reload requested of process {pid}; its log has the report", err=True)


@click.command(epilog=example("amaters-server repair --drop-entry 1234"))
@click.option(
    "--drop-entry",
    "drop",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="INDEX",
    help="Turn this entry into a no-op. Name the same entries on every member.",
)
@click.option("--reset-term", is_flag=True, help="Replace a term that is beyond reason.")
@click.option(
    "--accept-loss", is_flag=True, help="Continue without acknowledged writes that are lost."
)
@with_sources
def repair(sources: Sources, *, drop: tuple[int, ...], reset_term: bool, accept_loss: bool) -> None:
    """Examine the log of a stopped member, and repair the named entries.

    Without options nothing is changed: the report names what is wrong and the command that repairs
    it. Stop all members first, and repair every one of them before you start the first again.
    --accept-loss is for a single node without a backup whose disk lost acknowledged writes.
    """
    # As for `start`: only here.
    from amaters_server.app import repair as repairs  # noqa: PLC0415
    from amaters_server.app.files.private import private_files  # noqa: PLC0415

    private_files()

    settings = load(sources).settings
    try:
        if accept_loss:
            repairs.accept_loss(settings)
            click.echo("Accepted. The node starts with what its disk holds.")
        if drop or reset_term:
            repairs.mend_folder(settings, drop, reset_term=reset_term)
            click.echo("Repaired. Repair the other members in the same way, then start them all.")
        found = repairs.examine_folder(settings)
    except DatabaseError as wrong:
        fail(str(wrong))
    click.echo(f"Member {found.node_id}, log up to entry {found.last_index}, term {found.term}")
    for index, why in found.entries:
        click.echo(f"  entry {index}: {why}")
    if found.term != found.reset_term:
        click.echo(f"  term {found.term} is beyond reason: it would become {found.reset_term}")
    if found.sound:
        click.echo("Nothing to repair")
        return
    options = [f"--drop-entry {index}" for index, _ in found.entries]
    options += ["--reset-term"] if found.term != found.reset_term else []
    click.echo(f"To repair it on every member: amaters-server repair {' '.join(options)}")
