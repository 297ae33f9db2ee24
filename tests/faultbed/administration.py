"""What an administrator does about a lost disk, with the tools an administrator has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from testbed.namespaces import inside

from faultbed.load import History
from faultbed.members import Cluster, Member


def administer(cluster: Cluster, *arguments: str) -> str:
    """Run `amaters-cli cluster` on the hub, asking the leader; what it said, or nothing if refused."""
    asked = next((member for member in cluster.members if member.leads), cluster.members[0])
    program = [sys.executable, "-m", "amaters.cli.main", "--admin", asked.internal, "cluster"]
    command = inside(cluster.lab.hub.namespace, *program, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip()
    print(" ".join(arguments), "->", said[-300:])
    return "" if done.returncode else said


def wipe(member: Member) -> None:
    """Restart a member on an empty disk."""
    member.kill()
    shutil.rmtree(member.folder / "data")
    member.start()


async def replace(cluster: Cluster, history: History, member: Member) -> None:
    """Replace a founder by a new member with an empty disk, on the same host."""
    said: list[str] = []

    def done(*arguments: str) -> bool:
        said.append(administer(cluster, *arguments))
        return bool(said[-1])

    founder = str(member.at.number)
    await history.until("it is removed", lambda: done("remove", founder, "--yes"))
    wipe(member)
    where = (member.internal, "--client-address", member.client)
    await history.until("it is added", lambda: done("add", *where))
    added = re.search(r"learner (\d+)", said[-1])
    assert added is not None, said[-1]
    assert added[1] != founder
    await member.ready()
    await history.until("it is promoted", lambda: done("promote", added[1]))
