"""The command line `amaters-server`: run, inspect, stop and repair a server.

Requested output goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed,
2 wrong usage.
"""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click
from amaters.command_tree import LazyGroup, example

from amaters_server import __version__

P = ParamSpec("P")

COMMANDS = {
    "api-key": "amaters_server.app.api_key_commands:api_key",
    "reload": "amaters_server.app.commands:reload",
    "repair": "amaters_server.app.commands:repair",
    "start": "amaters_server.app.commands:start",
    "status": "amaters_server.app.commands:status",
    "stop": "amaters_server.app.commands:stop",
    "validate-config": "amaters_server.app.commands:validate_config",
}
"""The module of each command: they import the configuration, and `version` needs none."""


def common_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add the options that every command takes."""
    for option in (
        click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration file."),
        click.option("-b", "--bind", metavar="ADDR", help="Client address to listen on."),
        click.option("-d", "--data-dir", metavar="PATH", help="Data folder."),
        click.option("--log-level", metavar="LEVEL", help="trace, debug, info, warn or error."),
    ):
        command = option(command)
    return command


@click.group(
    cls=LazyGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("amaters-server start --config /etc/amaters/config.toml"),
)
@click.version_option(__version__, "-V", "--version", message="amaters-server %(version)s")
@common_options
@click.pass_context
def main(context: click.Context, /, **options: object) -> None:
    """Run and manage an AmateRS database server."""
    context.obj = {name: value for name, value in options.items() if value is not None}


@main.command("version", epilog=example("amaters-server version --verbose"))
@click.option("-v", "--verbose", is_flag=True, help="Show components and build, too.")
def show_version(*, verbose: bool) -> None:
    """Print the version."""
    click.echo(f"AmateRS Server {__version__}\nCopyright The AmateRS on Kubernetes authors")
    if not verbose:
        return
    click.echo("\nComponent Versions:")
    for name in ("amaters-native", "rocksdict", "grpcio", "protobuf"):
        click.echo(f"  {name}: {_component(name)}")
    click.echo("\nBuild Information:")
    click.echo(f"  Python version: {platform.python_version()}")
    click.echo(f"  Target: {platform.machine()}-{platform.system().lower()}")


def _component(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 It takes 60 ms.

    try:
        return f"v{version(name)}"
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
