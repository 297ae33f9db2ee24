"""A server that breaks one promise, to prove that the faults and the checker would show it.

usage: mutant.py MUTATION start ...

The server itself has no such switches: its methods are replaced here, before it starts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from amaters_server.app import cli
from amaters_server.machine.sessions import Sessions
from amaters_server.model.queries import Answers, Read
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.raft.proposal import WaitingCommand
from amaters_server.storage.engine import Changes
from amaters_server.storage.rocks.engine import RocksEngine


def acknowledge_before_commit() -> None:
    """Answer a write as soon as the leader has taken it."""
    write = ReplicaLoop.write

    def hasty(self: ReplicaLoop, writes: Sequence[WaitingCommand], answers: Answers) -> None:
        if not self.replica.leads:
            write(self, writes, answers)
            return
        write(self, writes, lambda _: None)
        answers([(one.ticket, [1]) for one in writes])

    _replace(ReplicaLoop, "write", hasty)


def read_without_barrier() -> None:
    """Answer linearizable reads from whatever has been applied here."""

    def unasked(self: ReplicaLoop, reads: Sequence[Read], answers: Answers) -> None:
        self.answer(reads, answers)

    _replace(ReplicaLoop, "read", unasked)


def skip_sync() -> None:
    """Say that writes are durable, and sync nothing."""
    write = RocksEngine.write

    def unsynced(self: RocksEngine, changes: Changes, *, sync: bool) -> None:
        del sync
        write(self, changes, sync=False)

    _replace(RocksEngine, "write", unsynced)


def forget_sessions() -> None:
    """Apply a write as often as it is repeated."""

    def nothing(
        self: Sessions, name: bytes, sequence: int, content: int, *, count: int = 1
    ) -> None:
        del self, name, sequence

    _replace(Sessions, "recall", nothing)


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (acknowledge_before_commit, read_without_barrier, skip_sync, forget_sessions)
}


def _replace(owner: type, name: str, by: Callable[..., None]) -> None:
    setattr(owner, name, by)


if __name__ == "__main__":
    MUTATIONS[sys.argv.pop(1)]()
    cli.main()
