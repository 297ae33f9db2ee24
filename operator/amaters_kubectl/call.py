"""What every command has in common: its options, its output, the cluster it is about."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from amaters_kubectl import names
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.errors import PluginError
from amaters_kubectl.kubectl import Connection, Kubectl
from amaters_kubectl.reading import Fields, part, text
from amaters_kubectl.screens.lines import Styled, escaped

Command = TypeVar("Command", bound=Callable[..., Any])

_META: Final = "amaters_kubectl."
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PREFIXES: Final = ("amc", "amaterscluster", "amatersclusters", names.CLUSTERS)
PIPED_COLUMNS: Final = 120
"""Width of what no terminal shows."""


def kept(ctx: click.Context, param: click.Parameter, value: object) -> object:
    """Keep an option that is accepted before and after the command; the later one counts."""
    if value is not None and value is not False:
        ctx.meta[_META + str(param.name)] = value
    return value


def _option(*flags: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401
    return click.option(*flags, callback=kept, expose_value=False, **attributes)


def connection(command: Command) -> Command:
    """Add the options that say which Kubernetes cluster and namespace."""
    command = _option("--kubeconfig", metavar="PATH", help="Kubeconfig to use.")(command)
    command = _option("--context", metavar="NAME", help="Context of the kubeconfig.")(command)
    return _option(
        "-n", "--namespace", metavar="NAME", help="Namespace; default: that of the context."
    )(command)


def formats(command: Command) -> Command:
    """Add `-o json|yaml`."""
    return _option(
        "-o", "--output", type=click.Choice(["json", "yaml"]), help="For programs, not for people."
    )(command)


def consent(command: Command) -> Command:
    """Add `--yes` to a command that disrupts."""
    return _option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def awaiting(command: Command) -> Command:
    """Add `--wait` and its `--timeout`."""
    command = _option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True, max=86_400 * 7),
        metavar="SECONDS",
        help="How long --wait waits; default: 600.",
    )(command)
    return _option("-w", "--wait", is_flag=True, help="Return when it is done.")(command)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the program."""

    kubectl: Kubectl
    format: str = ""
    """json or yaml; empty for people."""
    yes: bool = False
    wait: bool = False
    timeout: float = 600.0

    @property
    def columns(self) -> int:
        """How wide the output may be."""
        return max(shutil.get_terminal_size().columns, 40) if _is_terminal() else PIPED_COLUMNS

    @property
    def rows(self) -> int | None:
        """How many lines the terminal shows; None where none reads."""
        return shutil.get_terminal_size().lines if _is_terminal() else None

    def show(self, lines: Iterable[Styled]) -> None:
        """Write the lines for people."""
        for line in lines:
            click.echo(line)

    def value(self, value: object) -> None:
        """Write the value for programs."""
        click.echo(encoded(value, self.format))

    def note(self, line: Styled) -> None:
        """Write a note to stderr."""
        click.echo(line, err=True)

    def done(self, said: str, **facts: object) -> None:
        """Confirm what was done, in the chosen format."""
        if self.format:
            self.value({"status": "done", "message": said, **facts})
        else:
            click.echo(f"{click.style('✓', fg='green')} {said}")

    def confirm(self, question: str) -> None:
        """Ask before something disruptive; PluginError when the answer is no."""
        if self.yes:
            return
        if not _answers():
            raise click.UsageError(f"{question} Nobody can answer here: say --yes.")
        if not click.confirm(question, err=True):
            raise PluginError("not_confirmed", "nothing was changed")

    def cluster(self, name: str | None, *, owners: bool = False) -> ClusterView:
        """Return the cluster of that name, or the only one of the namespace."""
        return view(self.kubectl.get(names.CLUSTERS, name or self.only(), owners=owners))

    def only(self) -> str:
        """Return the name of the only cluster of the namespace."""
        found = [text(part(one, "metadata"), "name") for one in self.clusters()]
        where = self.kubectl.connection.namespace
        place = f"namespace {where}" if where else "the namespace of this context"
        if not found:
            raise PluginError(
                "no_cluster",
                f"{place} has no AmatersCluster: name another with -n, or see status -A",
            )
        if len(found) > 1:
            raise PluginError("which_cluster", f"{place} has {', '.join(found)}: name one of them")
        return found[0]

    def clusters(self, *, everywhere: bool = False) -> list[Fields]:
        """Return all clusters of the namespace, or of all namespaces."""
        return self.kubectl.items(names.CLUSTERS, everywhere=everywhere)


def of(ctx: click.Context) -> Call:
    """Return the call that the options describe."""

    def given(name: str) -> Any:  # noqa: ANN401 - as click parsed it
        return ctx.meta.get(_META + name)

    connection = Connection(
        namespace=given("namespace") or "",
        context=given("context") or "",
        kubeconfig=given("kubeconfig") or "",
    )
    return Call(
        kubectl=Kubectl(connection),
        format=given("output") or "",
        yes=bool(given("yes")),
        wait=bool(given("wait")),
        timeout=given("timeout") or 600.0,
    )


def pass_call(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the command its `Call` as the first argument."""

    @click.pass_context
    def called(ctx: click.Context, /, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return ctx.invoke(command, of(ctx), *arguments, **options)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


def object_name(
    _ctx: click.Context, _param: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    """Check names of objects; `amc/orders` and `pod/orders-0` mean their last part."""
    if isinstance(value, tuple):
        return tuple(_checked(one) for one in value)
    return None if value is None else _checked(value)


def _checked(value: str) -> str:
    kind, slash, name = value.rpartition("/")
    if slash and kind in (*_PREFIXES, "pod", "pods", "pvc"):
        value = name
    if _NAME.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is no name of an object")
    return value


def cluster_argument(command: Command) -> Command:
    """Add the NAME of the cluster; without it the only one of the namespace is meant."""
    argument = click.argument(
        "name", metavar="[NAME]", required=False, callback=object_name, shell_complete=_complete
    )
    return argument(command)


def _complete(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    try:
        found = [text(part(one, "metadata"), "name") for one in of(ctx).clusters()]
    except PluginError:
        return []
    return [one for one in found if one.startswith(begun)]


def encoded(value: object, form: str) -> str:
    """Return the value as JSON or YAML."""
    if form == "yaml":
        import yaml  # noqa: PLC0415 - slow to import, and seldom needed

        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).rstrip("\n")
    return escaped(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def now() -> datetime:
    """Return the time of this machine, for ages alone."""
    return datetime.now(UTC)


def colorless() -> bool:
    """Return whether NO_COLOR asks for plain text."""
    return bool(os.environ.get("NO_COLOR"))


def listed(words: Sequence[str]) -> str:
    """Return the words with commas."""
    return ", ".join(words)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _answers() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty()
