"""`amaters-cli config …`: the configuration file of this program."""

import os
from pathlib import Path

import click
from rich.console import RenderableType
from rich.text import Text

from amaters.cli import config_file, tables, toml_text
from amaters.cli.flags import Flags, Format, parse_format
from amaters.cli.formatting import JsonValue
from amaters.cli.output import Output
from amaters.cli.settings import default_file, resolve
from amaters.command_tree import ForgivingGroup, example
from amaters.errors import RefusedError

path_option = click.option(
    "-p",
    "--path",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; default: ~/.amaters/config.toml.",
)


@click.group("config", epilog=example("amaters-cli config show"), cls=ForgivingGroup)
def config() -> None:
    """Show and change the configuration file of this program."""


@config.command("show", epilog=example("amaters-cli config show --format json"))
@path_option
@click.option("-f", "--format", "written", type=click.Choice(["toml", "json", "yaml"]))
@click.option("-s", "--section", help="Only this table, for example tls.")
def show(path: Path | None, written: str | None, section: str | None) -> None:
    """Show the settings of the file, defaults included."""
    stored = config_file.load(path or default_file())
    facts: dict[str, object] = stored.model_dump(mode="json", exclude_none=True)
    if section is not None:
        facts = {section: config_file.get_key(facts, section)}
    out = _output() if written in (None, "toml") else Output(parse_format(written), color=False)
    if written == "toml" or out.is_table:
        print(config_file.as_toml(facts), end="")
    else:
        out.show(to_json(facts), lambda: Text(""))


@config.command("init", epilog=example("amaters-cli config init"))
@path_option
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def init(path: Path | None, force: bool) -> None:
    """Write a file with every setting explained."""
    target = path or default_file()
    if target.exists() and not force:
        raise RefusedError(f"{target} exists already: overwrite it with --force")
    config_file.write_text(target, config_file.TEMPLATE)
    _show_done({"status": "success", "path": str(target)}, f"Wrote {target}")


@config.command("validate", epilog=example("amaters-cli config validate"))
@path_option
def validate(path: Path | None) -> None:
    """Check the file: exits with 1 and names what is wrong; notes unknown keys."""
    target = path or default_file()
    stored = config_file.load(target)
    resolve(Flags(), environment={}, file=target)
    unknown = stored.unknown_keys()
    for one in unknown:
        click.echo(f"note: {one!r} is unknown: is it misspelt, or of another version?", err=True)
    state = "is valid" if target.exists() else "does not exist: the defaults count"
    _show_done(
        {"status": "success", "path": str(target), "unknown_keys": unknown}, f"{target} {state}"
    )


@config.command("get", epilog=example("amaters-cli config get tls.ca_cert"))
@click.argument("key")
@path_option
def get(key: str, path: Path | None) -> None:
    """Show one setting, such as server_url or tls.ca_cert."""
    stored = config_file.load(path or default_file())
    value = config_file.get_key(stored.model_dump(mode="json", exclude_none=True), key)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    _show({key: to_json(value)}, text)


@config.command(
    "set",
    epilog=example("amaters-cli config set server_url demo:7878"),
    context_settings={"ignore_unknown_options": True},
)
@click.argument("key")
@click.argument("value")
@path_option
def set_setting(key: str, value: str, path: Path | None) -> None:
    """Change one setting. It is checked before the file is written; comments in it are lost."""
    target = path or default_file()
    config_file.require_known(key)
    changed = config_file.set_key(toml_text.read(target), key, value)
    config_file.write(target, changed)
    for other, reason in config_file.faults(changed).items():
        click.echo(f"note: {other} is still wrong: {reason}", err=True)
    _show_done({"status": "success", "key": key, "path": str(target)}, f"Set {key} in {target}")


def to_json(value: object) -> JsonValue:
    """Return settings as values of the machine formats."""
    if isinstance(value, dict):
        return {str(name): to_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _output() -> Output:
    """Write in the format of the flag or the environment: the file may be invalid."""
    root = click.get_current_context().find_root()
    written = root.params.get("format") or os.environ.get("AMATERS_OUTPUT_FORMAT") or "table"
    return Output(parse_format(written), color=True)


def _show_done(facts: dict[str, JsonValue], text: str) -> None:
    _output().done(facts, tables.safe(text))


def _show(facts: dict[str, JsonValue], text: str) -> None:
    out = _output()
    renderable: RenderableType = Text(text)
    if out.format is Format.NUL:
        print(text, end="\0")
    else:
        out.show(facts, lambda: renderable)
