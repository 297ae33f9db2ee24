"""A real Kubernetes of several nodes on one Linux machine, without Docker.

usage: python tests/testbed/cluster.py up | down | status | kubeconfig | images | s3 | tools | run
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import time
from dataclasses import asdict

from testbed import binaries, debian, images, networks, object_store
from testbed.addresses import CLUSTER_NAMESPACE, DEFAULT_FAMILIES, FAMILIES, Plan
from testbed.lifecycle import Cluster
from testbed.places import REPOSITORY, places
from testbed.shell import TestbedError

_TOOLS = tuple(one.name for one in binaries.MODULES)


def main() -> int:
    """Do what the command line asks; return the exit code."""
    arguments = _parser().parse_args()
    try:
        code: int = arguments.act(Cluster(places()), arguments)
    except TestbedError as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return code


def up(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Bring the cluster up, unless the environment names one to use."""
    theirs = os.environ.get("KUBECONFIG")
    if theirs and theirs != str(cluster.places.kubeconfig):
        print(f"KUBECONFIG is set: the existing cluster of {theirs} is used; nothing to bring up")
        return 0
    _require_root()
    cluster.up(arguments.nodes, Plan(arguments.ip_family), say=_say)
    print(f"export KUBECONFIG={cluster.places.kubeconfig}")
    return 0


def down(cluster: Cluster, _: argparse.Namespace) -> int:
    """Remove the cluster."""
    _require_root()
    begin = time.monotonic()
    cluster.down()
    _say(f"down in {time.monotonic() - begin:.1f} s")
    return 0


def status(cluster: Cluster, _: argparse.Namespace) -> int:
    """Tell whether the cluster is up, and what of it is not."""
    members = cluster.members()
    if not members:
        print("down")
        return 1
    for name in sorted(cluster.daemons.dead()):
        print(f"dead: {name} (see {cluster.places.logs}/{name}.log)")
    ready = cluster.kube.ready_nodes() if cluster.kube.is_ready() else set()
    for node in members:
        where = " ".join(cluster.plan.of(node))
        print(f"{node.name} {where} {'ready' if node.name in ready else 'NOT READY'}")
    healthy = cluster.is_up()
    print(f"{'up' if healthy else 'damaged'}: export KUBECONFIG={cluster.places.kubeconfig}")
    return 0 if healthy else 1


def kubeconfig(cluster: Cluster, _: argparse.Namespace) -> int:
    """Print where the kubeconfig is."""
    if not cluster.places.kubeconfig.exists():
        raise TestbedError("there is no cluster: run `up` first")
    print(cluster.places.kubeconfig)
    return 0


def build_tools(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Build programs from their pinned modules: those named, or all."""
    if unknown := sorted(set(arguments.names) - set(_TOOLS)):
        raise TestbedError(f"no such tools: {', '.join(unknown)}; there are {', '.join(_TOOLS)}")
    wanted = [one for one in binaries.MODULES if one.name in (arguments.names or _TOOLS)]
    binaries.ensure(cluster.places, wanted, say=_say)
    print(cluster.places.bin)
    return 0


def build_images(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Build the images and load them into the cluster when one is up."""
    _require_root()
    debian.install_packages(say=_say)
    version = arguments.version or _version()
    if arguments.tag:
        wanted = [images.Image(name, arguments.tag, version) for name in images.NAMES]
    else:
        wanted = images.usual(version)
    images.build(cluster.places, wanted, say=_say)
    references = [image.reference for image in wanted]
    if members := cluster.members():
        images.load(cluster.nodes, members, references, say=_say)
    else:
        _say("no cluster of the test bed is up: the next `up` will load them")
    return 0


def s3(cluster: Cluster, _: argparse.Namespace) -> int:
    """Start the object store and tell, as JSON, how to reach it."""
    _require_root()
    print(json.dumps(asdict(object_store.start(cluster)), indent=2))
    return 0


def run(_: Cluster, arguments: argparse.Namespace) -> int:
    """Become the command, inside the cluster's network."""
    if not networks.exists(arguments.namespace):
        raise TestbedError(f"there is no network {arguments.namespace}: run `up` first")
    command = networks.inside(arguments.namespace, *arguments.command)
    os.execvp(command[0], command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    bring = commands.add_parser("up", help="bring the cluster up; fine to repeat")
    bring.add_argument("--nodes", type=_count, default=3, help="how many nodes (default: 3)")
    bring.add_argument(
        "--ip-family",
        choices=tuple(FAMILIES),
        default=DEFAULT_FAMILIES,
        help=f"of nodes, pods and Services (default: {DEFAULT_FAMILIES})",
    )
    bring.set_defaults(act=up)
    commands.add_parser("down", help="remove every trace of it").set_defaults(act=down)
    commands.add_parser("status", help="is it up?").set_defaults(act=status)
    commands.add_parser("kubeconfig", help="print where it is").set_defaults(act=kubeconfig)
    made = commands.add_parser("images", help="build the images and load them into the cluster")
    made.add_argument("--tag", help="build both under this tag only (default: version, and next)")
    made.add_argument("--version", help="the version they say they are (default: the project's)")
    made.set_defaults(act=build_images)
    shelf = commands.add_parser("s3", help="start an S3 server; print how to reach it, as JSON")
    shelf.set_defaults(act=s3)
    tools = commands.add_parser("tools", help="build programs, and nothing else (default: all)")
    tools.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_TOOLS))
    tools.set_defaults(act=build_tools)
    inner = commands.add_parser("run", help="run a command inside the cluster's network")
    inner.add_argument("--namespace", default=CLUSTER_NAMESPACE)
    inner.add_argument("command", nargs=argparse.REMAINDER)
    inner.set_defaults(act=run)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 9:
        raise argparse.ArgumentTypeError(f"{number} nodes: choose 1 to 9")
    return number


def _version() -> str:
    """Read the project's version without importing the project."""
    return str(runpy.run_path(str(REPOSITORY / "client/amaters/version.py"))["__version__"])


def _require_root() -> None:
    if os.geteuid():
        raise TestbedError("network namespaces and mounts need root: run this as root")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
