"""`amaters-server api-key …`: the file of API keys."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from amaters.command_tree import example

from amaters_server.app.commands import fail, with_sources
from amaters_server.config.load import Sources, load

if TYPE_CHECKING:
    from amaters_server.identity.api_key_file import ApiKeyFile


@click.group("api-key", epilog=example("amaters-server api-key list"))
def api_key() -> None:
    """Create, list and revoke API keys; a running server needs a reload to know of it."""


_of_file = click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A file of SHA-256 digests, instead of the configured auth.api_key.keys_file.",
)


def _key_file(sources: Sources, file: Path | None) -> "ApiKeyFile":
    # As for `start`: only here.
    from amaters_server.identity.api_key_file import ApiKeyFile  # noqa: PLC0415
    from amaters_server.identity.methods import read_hmac_secret  # noqa: PLC0415

    if file is not None:
        return ApiKeyFile(file)
    section = load(sources).settings.auth.api_key
    if section.keys_file is None:
        fail("no file of API keys is known: set auth.api_key.keys_file, or use --file")
    return ApiKeyFile(section.keys_file, read_hmac_secret(section.hmac_secret_file))


@api_key.command(
    "create", epilog=example("amaters-server api-key create --name billing --role writer")
)
@click.option("--name", "caller", required=True, help="What the audit log calls the caller.")
@click.option("--role", "roles", multiple=True, help="A role of the caller; may be repeated.")
@click.option("--expires", metavar="TIME", help="End of the key, such as 2027-01-31T00:00:00Z.")
@_of_file
@with_sources
def create_api_key(
    sources: Sources, *, file: Path | None, caller: str, roles: tuple[str, ...], expires: str | None
) -> None:
    """Create a key and print it, once: only its digest is stored."""
    key_id, key = _key_file(sources, file).create(caller, roles, expires_at=expires)
    click.echo(f"Created key {key_id}. It is shown this once:", err=True)
    click.echo(key)


@api_key.command("list", epilog=example("amaters-server api-key list"))
@_of_file
@with_sources
def list_api_keys(sources: Sources, *, file: Path | None) -> None:
    """Show id, name, roles and end of every key."""
    for key in _key_file(sources, file).stored():
        click.echo(f"{key.id}  {key.name}  roles={','.join(key.roles) or '-'}  ends={key.ends}")


@api_key.command("revoke", epilog=example("amaters-server api-key revoke 7f3a"))
@click.argument("key_id")
@_of_file
@with_sources
def revoke_api_key(sources: Sources, *, file: Path | None, key_id: str) -> None:
    """Remove a key."""
    _key_file(sources, file).revoke(key_id)
    click.echo(f"Revoked key {key_id}", err=True)
