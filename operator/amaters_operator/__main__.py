"""`amaters-operator`: manage the AmatersClusters of some namespaces, or of all."""

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import Mapping

import click

from amaters_operator.app import logs
from amaters_operator.app.run import Settings, run
from amaters_operator.app.watch_health import WatchEndedError
from amaters_operator.kube.errors import KubeError
from amaters_operator.manifests import Home, OperatorPods


@click.group()
def main() -> None:
    """Manage AmateRS databases on Kubernetes."""


@main.command("run")
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    envvar="WATCH_NAMESPACES",
    help="Namespace to watch; may be given several times.",
)
@click.option("--all-namespaces", is_flag=True, help="Watch every namespace.")
@click.option(
    "--lease-namespace",
    envvar="POD_NAMESPACE",
    help="Namespace of the Lease; the first watched namespace by default.",
)
@click.option("--lease-name", default="amaters-operator", show_default=True)
@click.option("--http-port", default=8080, show_default=True, help="Port of /livez and /metrics.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True
)
def run_command(  # noqa: PLR0913 - the options of a command line
    namespaces: tuple[str, ...],
    lease_namespace: str | None,
    lease_name: str,
    http_port: int,
    log_level: str,
    log_format: str,
    *,
    all_namespaces: bool,
) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    if bool(namespaces) == all_namespaces:
        raise click.UsageError("give either --namespace (once or more) or --all-namespaces")
    logs.configure(level=log_level, json=log_format == "json")
    settings = Settings(
        namespaces=namespaces,
        lease_namespace=lease_namespace or (namespaces[0] if namespaces else "default"),
        lease_name=lease_name,
        identity=f"{os.environ.get('POD_NAME', socket.gethostname())}_{uuid.uuid4().hex[:8]}",
        http_port=http_port,
        home=home(os.environ),
    )
    sys.exit(_outcome(settings))


def home(environment: Mapping[str, str]) -> Home:
    """Return where the operator runs, as the chart's Deployment tells its pod."""
    places = [environment.get(name, "") for name in ("POD_NAMESPACE", "POD_APP", "POD_INSTANCE")]
    namespace, app, instance = places
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": instance}
    pods = OperatorPods(namespace, labels) if all(places) else None
    return Home(pods, ipv6=":" in environment.get("POD_IP", ""))


def _outcome(settings: Settings) -> int:
    """Run; return the exit code. Tasks fail in groups: the first error is reported."""
    code = 0
    try:
        asyncio.run(run(settings))
    except* (KubeError, WatchEndedError, OSError) as failed:
        code = _reported(failed, 1)
    return code


def _reported(errors: BaseExceptionGroup[BaseException], code: int) -> int:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    click.echo(f"amaters-operator: {first}", err=True)
    return code


if __name__ == "__main__":
    main()
