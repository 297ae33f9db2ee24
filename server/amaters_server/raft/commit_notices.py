"""Holds back messages that contain nothing but how far the log is committed.

Raft sends such a notice to every follower after each commit, and the follower acknowledges it: half
of all traffic. The next append with entries says the same and replaces the notice; until then the
newest notice waits for another message to the follower, for one tick at most. A follower that
proposed lately gets it at once, because its callers wait. Messages keep their order; to raft this
looks like a slower network that loses some messages.
"""

from collections.abc import Sequence

from amaters_server.raft.raft_node import Message

EAGER_SECONDS = 1.0


class CommitNotices:
    """The notices held back, one for each member."""

    def __init__(self) -> None:
        self._held: dict[int, Message] = {}
        self._proposed: dict[int, float] = {}

    def proposed(self, member: int, now: float) -> None:
        """Record that the member has forwarded a proposal."""
        self._proposed[member] = now

    def sift(self, messages: Sequence[Message], now: float) -> list[Message]:
        """Return what to send now, in order for each member."""
        sending: list[Message] = []
        for message in messages:
            to, kind, _ = message
            if kind == "commit_notice" and not self._is_eager(to, now):
                self._held[to] = message
                continue
            held = self._held.pop(to, None)
            if held is not None and kind not in {"append", "commit_notice"}:
                sending.append(held)
            sending.append(message)
        return sending

    def release(self) -> list[Message]:
        """Return everything held back; for every tick."""
        held, self._held = self._held, {}
        return list(held.values())

    def _is_eager(self, member: int, now: float) -> bool:
        return now - self._proposed.get(member, -EAGER_SECONDS) < EAGER_SECONDS
