"""`kubectl amaters logs`: the logs of all members as one, by time."""

import json
from collections.abc import Iterator, Sequence

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster.history import period
from amaters_kubectl.cluster.log_lines import (
    LEVELS,
    LogLine,
    merged,
    parsed,
    reaches,
    readable,
)
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import PluginError
from amaters_kubectl.following_logs import Follower, log_arguments
from amaters_kubectl.reading import part, text
from amaters_kubectl.screens.lines import Styled, escaped, styled

_STYLES = {"warning": "warn", "error": "bad", "critical": "bad", "debug": "dim", "trace": "dim"}
_COLORS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta")


@click.command(
    "logs",
    cls=Documented,
    short_help="Show the logs of all members as one, by time.",
    examples=(
        "kubectl amaters logs orders -n shop --tail 50",
        "kubectl amaters logs orders -f --level warning",
        "kubectl amaters logs orders --pod orders-1 --previous",
    ),
)
@calls.cluster_argument
@click.option("-f", "--follow", is_flag=True, help="Continue with new lines until Ctrl-C.")
@click.option(
    "--level",
    type=click.Choice([*LEVELS, "warn"], case_sensitive=False),
    help="Only lines of this level or worse.",
)
@click.option(
    "--tail",
    type=click.IntRange(min=0, max=1_000_000),
    default=100,
    show_default=True,
    help="Last lines of each member, before --level.",
)
@click.option("--since", metavar="TIME", help="Only lines that are newer, such as 5m, 1h30m or 3d.")
@click.option("--pod", "pods", multiple=True, callback=calls.object_name, help="Only this member.")
@click.option("-p", "--previous", is_flag=True, help="Of the containers before their restart.")
@calls.connection
@calls.formats
@calls.pass_call
def logs(
    call: Call,
    name: str | None,
    *,
    follow: bool,
    level: str | None,
    tail: int,
    since: str | None,
    pods: tuple[str, ...],
    previous: bool,
) -> None:
    """Show the logs of all members as one, by time, each line with its pod.

    Members mask secrets in what they log. With -o json every line is a JSON object.
    """
    if follow and previous:
        raise click.UsageError("--previous is over: it cannot be followed")
    chosen = _pods(call, name or call.only(), pods)
    arguments = [f"--tail={tail}", *_since(since)]
    least = (level or LEVELS[0]).lower()
    if follow:
        _follow(call, chosen, arguments, least)
        return
    arguments += ["--previous"] if previous else []
    written = [_write(call, line, chosen, least) for line in merged(_read(call, chosen, arguments))]
    if not any(written):
        call.note(f"the logs of {', '.join(chosen)} have no such line")


def _since(said: str | None) -> list[str]:
    """Return what kubectl is told, which knows no days."""
    if said is None:
        return []
    length = period(said)
    if length is None:
        raise click.BadParameter(
            f"{said!r} is no time: write 5m, 1h30m or 3d", param_hint="--since"
        )
    return [f"--since={int(length.total_seconds())}s"]


def _pods(call: Call, name: str, pods: Sequence[str]) -> list[str]:
    """Return the pods to read, by name."""
    if pods:
        return list(dict.fromkeys(pods))
    found = call.kubectl.items("pods", selector=f"{names.CLUSTER_LABEL}={name}")
    listed = sorted(text(part(one, "metadata"), "name") for one in found)
    if not listed:
        raise PluginError("no_pods", f"{name} has no pods: see {names.PROGRAM} status {name}")
    return listed


def _read(call: Call, pods: Sequence[str], arguments: Sequence[str]) -> list[list[LogLine]]:
    """Return the lines of each pod that has a log; PluginError when none has."""
    found, failures = [], []
    for pod in pods:
        try:
            answer = call.kubectl.run(*log_arguments(pod, *arguments))
        except PluginError as error:
            failures.append(error)
            call.note(styled(f"{pod}: {error}"))
        else:
            found.append(list(parsed(answer.splitlines(), pod)))
    if failures and not found:
        raise PluginError(failures[0].code, "no member has such a log")
    return found


def _follow(call: Call, pods: Sequence[str], arguments: Sequence[str], least: str) -> None:
    follower = Follower(call.kubectl, pods, arguments)
    try:
        for found in follower.lines():
            if isinstance(found, str):
                call.note(styled(found))
                continue
            for line in found:
                _write(call, line, pods, least)
    finally:
        follower.stop()


def _write(call: Call, line: LogLine, pods: Sequence[str], least: str) -> bool:
    """Write the line; return whether it is of a level that was asked for."""
    if not reaches(line.level, least):
        return False
    if call.format:
        click.echo(escaped(json.dumps(_facts(line), ensure_ascii=False)))
    else:
        for shown in log_line(line, pods):
            click.echo(shown)
    return True


def log_line(line: LogLine, pods: Sequence[str]) -> Iterator[Styled]:
    """Yield the line for people: pod, time, level, text. Pure."""
    width = max((len(one) for one in pods), default=0)
    color = _COLORS[pods.index(line.pod) % len(_COLORS)] if line.pod in pods else None
    prefix = click.style(f"{line.pod:<{width}}", fg=color)
    time = styled(line.at[11:23] or "-", "dim")
    level = styled(f"{line.level:<8}", _STYLES.get(line.level, ""))
    yield f"{prefix}  {time}  {level}  {styled(readable(line.said))}"


def _facts(line: LogLine) -> dict[str, str]:
    return {"at": line.at, "pod": line.pod, "level": line.level, "line": line.said}
