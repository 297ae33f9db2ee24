"""`amaters-cli`: entry point, global options, and exit codes.

Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from typing_extensions import override

from amaters.cli import streams
from amaters.cli.flags import Flags, Format, checked_timeout, parse_format
from amaters.command_tree import LazyGroup, example
from amaters.errors import AmatersError, ConfigurationError, UnauthenticatedError
from amaters.transport.addresses import distinct_addresses
from amaters.version import __version__

COMMANDS = {
    "admin": "amaters.cli.commands.admin:admin",
    "batch": "amaters.cli.commands.data:batch",
    "cluster": "amaters.cli.commands.cluster:cluster",
    "completions": "amaters.cli.commands.completions:completions",
    "config": "amaters.cli.commands.config:config",
    "delete": "amaters.cli.commands.data:delete_value",
    "diff": "amaters.cli.commands.tables.differing:diff",
    "export": "amaters.cli.commands.tables.exporting:export",
    "get": "amaters.cli.commands.data:get_value",
    "import": "amaters.cli.commands.tables.importing:import_records",
    "interactive": "amaters.cli.commands.shell.interactive:interactive",
    "key": "amaters.cli.commands.keys.command:key",
    "query": "amaters.cli.commands.tables.queries:query",
    "range": "amaters.cli.commands.data:range_of_keys",
    "scan": "amaters.cli.commands.data:scan_prefix",
    "server": "amaters.cli.commands.server:server",
    "set": "amaters.cli.commands.data:set_value",
    "watch": "amaters.cli.commands.shell.watching:watch",
}
"""The module of each command: only the one that runs is imported."""
WITHOUT_SETTINGS = ("config", "completions")
"""Commands that must work when the configuration file does not."""


class Program(LazyGroup):
    """The root of all commands: the one place where an error becomes text and an exit code."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error in the format of the results, and exit with 1."""
        try:
            return super().invoke(ctx)
        except (AmatersError, OSError) as error:
            _fail(ctx, error)


_Given = TypeVar("_Given", str, float)


def _must_pass(
    check: Callable[[_Given], object],
) -> Callable[[click.Context, click.Parameter, _Given | None], _Given | None]:
    """Make a flag's callback of a check; a value that fails it is wrong usage."""

    def checked(_: click.Context, __: click.Parameter, value: _Given | None) -> _Given | None:
        try:
            if value is not None:
                check(value)
        except ConfigurationError as error:
            raise click.BadParameter(str(error)) from error
        return value

    return checked


@click.group(
    "amaters-cli",
    cls=Program,
    places=COMMANDS,
    epilog=example(
        "amaters-cli set greeting hello",
        "amaters-cli -s demo:7878 -f json get greeting",
        "amaters-cli cluster status",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-s",
    "--server",
    metavar="URL",
    callback=_must_pass(distinct_addresses),
    help="HOST:PORT of a server, or several with commas.",
)
@click.option("-c", "--collection", metavar="NAME", help="The collection to work on.")
@click.option(
    "-f",
    "--format",
    "format",
    metavar="FMT",
    callback=_must_pass(parse_format),
    help="table, json, yaml, ndjson or nul.",
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    callback=_must_pass(distinct_addresses),
    help="The internal listener, for cluster and admin.",
)
@click.option("--ca-cert", type=click.Path(path_type=Path), help="Use TLS, trusting this CA.")
@click.option("--client-cert", type=click.Path(path_type=Path), help="Certificate to show.")
@click.option("--client-key", type=click.Path(path_type=Path), help="Its key.")
@click.option("--server-name", help="Name to expect in the server's certificate.")
@click.option(
    "--token", metavar="JWT", help="Token to send. Others on this host can see it: prefer a file."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File of the token, such as a projected ServiceAccount token.",
)
@click.option("--api-key", metavar="KEY", help="API key to send. Prefer a file, as for --token.")
@click.option("--api-key-file", type=click.Path(path_type=Path), help="File of the API key.")
@click.option(
    "--plaintext-login",
    is_flag=True,
    help="Send token or API key without TLS, too, where others can read it.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=_must_pass(checked_timeout),
    help="Seconds a call may take.",
)
@click.version_option(__version__, "-V", "--version", message="amaters-cli %(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    *,
    server: str | None,
    collection: str | None,
    format: str | None,  # noqa: A002
    admin: str | None,
    ca_cert: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    server_name: str | None,
    token: str | None,
    token_file: Path | None,
    api_key: str | None,
    api_key_file: Path | None,
    plaintext_login: bool,
    timeout: float | None,
) -> None:
    """Work with an AmateRS cluster: its data, its members, its backups.

    Options come before the command. Each is also a setting in ~/.amaters/config.toml, and most are
    environment variables: AMATERS_SERVER_URL, AMATERS_ADMIN_ADDRESS, AMATERS_COLLECTION,
    AMATERS_OUTPUT_FORMAT, AMATERS_COLOR, AMATERS_CA_CERT, AMATERS_CLIENT_CERT,
    AMATERS_CLIENT_KEY, AMATERS_TLS_SERVER_NAME, AMATERS_TOKEN, AMATERS_TOKEN_FILE,
    AMATERS_API_KEY, AMATERS_API_KEY_FILE, AMATERS_PLAINTEXT_LOGIN. AMATERS_TLS_DIR names a folder with ca.crt,
    tls.crt and tls.key, as a Kubernetes Secret is mounted; TLS is used when they are there.
    """
    if ctx.invoked_subcommand in WITHOUT_SETTINGS:
        return
    # Only here: they bring gRPC with them.
    from amaters.cli.output import Output  # noqa: PLC0415
    from amaters.cli.settings import default_file, resolve  # noqa: PLC0415
    from amaters.cli.terminal import Terminal  # noqa: PLC0415

    flags = Flags(
        server=server,
        admin=admin,
        collection=collection,
        format=format,
        ca_cert=ca_cert,
        client_cert=client_cert,
        client_key=client_key,
        server_name=server_name,
        token=token,
        token_file=token_file,
        api_key=api_key,
        api_key_file=api_key_file,
        plaintext_login=plaintext_login,
        timeout_seconds=timeout,
    )
    settings = resolve(flags, environment=os.environ, file=default_file())
    ctx.obj = Terminal(settings, Output(settings.format, color=settings.color))


def main() -> None:
    """Run the program with the process's arguments; what its output meets ends it no other way."""
    streams.install()
    if os.environ.get("_AMATERS_CLI_COMPLETE"):
        from amaters.cli.shells import know_all  # noqa: PLC0415

        know_all()
    code: object = 0
    try:
        cli(prog_name="amaters-cli")
    except SystemExit as ended:
        code = ended.code
    failure = streams.lost()
    if failure is not None and not isinstance(failure, BrokenPipeError):
        what = "the command failed, and its output" if code else "the command is done, its output"
        print(f"{what} was not written: {failure.strerror}", file=sys.stderr)
    streams.lost(sys.stderr)
    sys.exit(code)  # type: ignore[arg-type]


def _fail(ctx: click.Context, error: AmatersError | OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        # The reader has what it wanted, and there is nobody to tell.
        ctx.exit(0)
    from amaters.cli.output import Output  # noqa: PLC0415
    from amaters.cli.terminal import Terminal  # noqa: PLC0415

    terminal = ctx.find_object(Terminal)
    out = terminal.out if terminal is not None else Output(_asked(ctx), color=True)
    out.error(error)
    named = terminal is not None and terminal.settings.login is not None
    if isinstance(error, UnauthenticatedError) and out.is_table and not named:
        out.note("Say who calls with --token-file, --api-key-file or --client-cert.")
    ctx.exit(1)


def _asked(ctx: click.Context) -> Format:
    """Return the format of the flag alone: the rest of the settings may be invalid."""
    return parse_format(ctx.params.get("format") or "table")


if __name__ == "__main__":
    main()
