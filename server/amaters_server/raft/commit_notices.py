"""Holds back messages that tell a follower nothing but how far the log is committed.

Raft sends one to every follower after each commit, and each is acknowledged: half of all traffic.
A follower that waits for nothing learns the same from the next append with entries, which takes the
notice's place; until then the newest waits for something to travel with, one tick at most. A
follower that proposed something lately is told at once, for its own callers wait. Order is kept;
raft notices nothing but a slower network that loses some messages.
"""

from collections.abc import Sequence

from amaters_server.raft.raft_node import Message

EAGER_SECONDS = 1.0


class CommitNotices:
    """What is held back, one for each member."""

    def __init__(self) -> None:
        self._held: dict[int, Message] = {}
        self._proposed: dict[int, float] = {}

    def proposed(self, member: int, now: float) -> None:
        """Note that the member has forwarded a proposal."""
        self._proposed[member] = now

    def sift(self, messages: Sequence[Message], now: float) -> list[Message]:
        """Return what to send now, in order for each member."""
        sending: list[Message] = []
        for message in messages:
            to, kind, _ = message
            if kind == "commit_notice" and not self._waits(to, now):
                self._held[to] = message
                continue
            held = self._held.pop(to, None)
            if held is not None and kind not in {"append", "commit_notice"}:
                sending.append(held)
            sending.append(message)
        return sending

    def release(self) -> list[Message]:
        """Return everything held back: a tick is over."""
        held, self._held = self._held, {}
        return list(held.values())

    def _waits(self, member: int, now: float) -> bool:
        return now - self._proposed.get(member, -EAGER_SECONDS) < EAGER_SECONDS
