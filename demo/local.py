"""`make demo`: a three-node cluster on this machine, from nothing to restored, in a minute."""

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from amaters import AmatersClient
from amaters.admin.client import AdminClient
from rich.console import Console
from rich.panel import Panel
from rich.progress import track
from rich.text import Text

from demo.nodes import (
    LocalNode,
    create_nodes,
    leader_of,
    program,
    quiet_environment,
    until_ready,
)

ROOT = Path(__file__).resolve().parent.parent / ".demo"
RECORDS = 2000
BATCH = 100
screen = Console(highlight=False)


def say(text: str) -> None:
    """Print what happens next."""
    screen.print(f"\n[bold cyan]>[/] {text}")


def done(text: str) -> None:
    """Print its result."""
    screen.print(f"  [green]✓[/] {text}")


async def write_and_read(nodes: list[LocalNode]) -> None:
    """Write through the first node, read through the last."""
    say(f"Writing {RECORDS} records through node 1, reading them back through node 3")
    async with await AmatersClient.connect(nodes[0].client_address) as db:
        start = time.monotonic()
        for first in track(range(0, RECORDS, BATCH), "  writing", console=screen, transient=True):
            async with db.transaction("demo") as pending:
                for number in range(first, first + BATCH):
                    pending.set(f"key-{number:06}", f"value {number}".encode())
        done(f"{RECORDS} records in batches of {BATCH}: {time.monotonic() - start:.2f} s")
        await db.set("demo", "greeting", b"hello from node 1")
    async with await AmatersClient.connect(nodes[2].client_address) as db:
        greeting = await db.get("demo", "greeting")
        done(f"node 3 answers a linearizable read: {(greeting or b'').decode()!r}")
        count = sum([1 async for _ in db.scan("demo", "key-")])
        done(f"node 3 counts {count} records")


def placeless(text: str) -> str:
    """Leave out of a picture where this checkout is."""
    return text.replace(str(ROOT.parent), "/home/you/amaters") if screen.record else text


def show(node: LocalNode, *command: str) -> None:
    """Run `amaters-cli` against that node, as a person would, and show what it prints."""
    words = [program("amaters-cli"), "--admin", node.admin_address, *command]
    environment = quiet_environment() | {"FORCE_COLOR": "1", "COLUMNS": str(screen.width)}
    if not screen.record and screen.is_terminal:
        subprocess.run(words, check=True, env=environment)  # It may draw over itself.
        return
    printed = subprocess.run(words, check=True, env=environment, capture_output=True, text=True)
    screen.print(Text.from_ansi(placeless(printed.stdout).rstrip()), soft_wrap=True)
    notes = [Text.from_ansi(placeless(line)) for line in printed.stderr.splitlines()]
    for note in notes:
        if note.plain.strip() and "━" not in note.plain:
            screen.print(note, soft_wrap=True)


def start_workload(nodes: list[LocalNode], stop: Path, said: Path) -> subprocess.Popen[bytes]:
    """Start writers and readers that go on until the stop file appears."""
    endpoints = [part for node in nodes for part in ("--endpoint", node.client_address)]
    arguments = [*endpoints, "--seconds", "60", "--rate", "200", "--stop-file", str(stop)]
    with said.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "demo.workload", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=quiet_environment(),
        )


async def kill_the_leader(nodes: list[LocalNode]) -> None:
    """SIGKILL the leader under load, show the gap, bring it back."""
    leader = await leader_of(nodes)
    say(f"Killing the leader (node {leader.id}, SIGKILL) while 8 writers and 4 readers work")
    stop, said = ROOT / "stop", ROOT / "workload.log"
    workload = start_workload(nodes, stop, said)
    await asyncio.sleep(2.0)
    leader.kill()
    survivors = [node for node in nodes if node is not leader]
    heir = await leader_of(survivors)
    done(f"node {heir.id} leads now")
    await asyncio.sleep(2.0)
    leader.start()
    seconds = await until_ready([leader])
    done(f"node {leader.id} is back and ready again after {seconds:.1f} s")
    await asyncio.sleep(1.0)
    stop.touch()
    output, _ = workload.communicate(timeout=60)
    if not output:
        raise SystemExit(f"the workload failed:\n{said.read_text()}")
    summary = json.loads(output)
    done(
        f"{summary['acknowledged']} writes acknowledged and {summary['read']} reads checked; "
        f"lost or stale: [bold]{len(summary['violations'])}[/]"
    )
    done(
        f"longest write gap {summary['longest_write_gap_ms']} ms, "
        f"longest read gap {summary['longest_read_gap_ms']} ms"
    )
    if summary["violations"]:
        raise SystemExit("\n".join(summary["violations"]))


async def contents(node: LocalNode) -> list[tuple[object, bytes]]:
    """All records of the demo's collection."""
    async with await AmatersClient.connect(node.client_address) as db:
        return [(row.key, row.value) async for row in db.scan("demo")]


async def back_up_and_restore(nodes: list[LocalNode], store: Path) -> LocalNode:
    """Upload a backup of the cluster, restore it into an empty one, compare."""
    say("Taking a backup on a follower and uploading it")
    leader = await leader_of(nodes)
    follower = next(node for node in nodes if node is not leader)
    async with AdminClient.connect(follower.admin_address) as admin:
        backup = await admin.create_snapshot(upload=True)
    done(
        f"{backup.key_count} records of all collections at log index "
        f"{backup.applied_index}, {backup.size_bytes} bytes:"
    )
    screen.print(placeless(f"    {backup.uri}"), soft_wrap=True)
    say("Restoring it into a new, empty one-node cluster")
    [fresh] = create_nodes(ROOT / "restored", 1, store=store)
    fresh.start()
    await until_ready([fresh])
    show(fresh, "admin", "restore", backup.uri)
    original, restored = await contents(nodes[0]), await contents(fresh)
    if original != restored:
        raise SystemExit(f"contents differ: {len(original)} records, {len(restored)} restored")
    done(f"both hold the same {len(restored)} records in the collection `demo`")
    return fresh


def stop_all(nodes: list[LocalNode]) -> None:
    """SIGTERM every node and wait; say how each went."""
    say("Stopping everything (SIGTERM: leadership handed over, calls drained, disk flushed)")
    codes = {node.id: node.stop() for node in nodes if node.process is not None}
    done("all stopped cleanly" if not any(codes.values()) else f"exit codes: {codes}")


async def story(nodes: list[LocalNode], store: Path) -> None:
    """Run it from start to end; the caller stops the nodes."""
    say("Starting three nodes")
    for node in nodes:
        node.start()
    done(f"all three ready after {await until_ready(nodes):.1f} s")
    await write_and_read(nodes)
    show(nodes[0], "cluster", "status")
    await kill_the_leader(nodes)
    fresh = await back_up_and_restore(nodes, store)
    nodes.append(fresh)
    say("The cluster, as `amaters-cli cluster status` shows it")
    show(nodes[0], "cluster", "status")


PICTURE_WIDTH = 132


def main() -> None:
    """Run the story; leave nothing running, whatever happens.

    With `--picture FILE`, write what was shown as an SVG.
    """
    picture = Path(sys.argv[2]) if sys.argv[1:2] == ["--picture"] else None
    if picture is not None:
        screen.record, screen.width = True, PICTURE_WIDTH
    run()
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        # A page may not load fonts for a picture: the reader's own monospace font does.
        drawn = screen.export_svg(title="make demo")
        picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


def run() -> None:
    """Run the story, then say where to look."""
    screen.print(Panel("AmateRS: three nodes on this machine", expand=False, style="bold"))
    store = ROOT / "backups"
    nodes = create_nodes(ROOT / "cluster", 3, store=store)
    (ROOT / "stop").unlink(missing_ok=True)
    try:
        asyncio.run(story(nodes, store))
        stop_all(nodes)
    finally:
        for node in nodes:
            node.kill()
    screen.print(
        Panel(
            "Where to look\n"
            f"  logs            {ROOT.name}/cluster/node1/server.log\n"
            f"  configuration   {ROOT.name}/cluster/node1/config.toml   (docs/configuration.md)\n"
            f"  backups         {ROOT.name}/backups\n"
            "  how it works    docs/architecture.md\n"
            "  on Kubernetes   make demo-k8s",
            expand=False,
        )
    )


if __name__ == "__main__":
    main()
