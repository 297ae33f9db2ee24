"""Holds back messages that tell a follower nothing but how far the log is committed.

Raft sends one to every follower after each commit, and each is acknowledged: half of all traffic.
A follower that waits for nothing learns the same from the next append or heartbeat, so such notices
wait for something to travel with, one tick at most. A follower that proposed something lately is
told at once, for its own callers wait. Order is kept; raft notices nothing but a slower network.
"""

from collections.abc import Sequence

from amaters_server.raft.core import is_commit_notice

EAGER_SECONDS = 1.0

Messages = list[tuple[int, bytes]]


class Notices:
    """What is held back, per member."""

    def __init__(self) -> None:
        self._held: dict[int, list[bytes]] = {}
        self._proposed: dict[int, float] = {}

    def proposed(self, member: int, now: float) -> None:
        """Hear that the member has forwarded a proposal."""
        self._proposed[member] = now

    def sift(self, messages: Sequence[tuple[int, bytes]], now: float) -> Messages:
        """Return what to send now, in order for each member."""
        sending: Messages = []
        for to, message in messages:
            if is_commit_notice(message) and not self._waits(to, now):
                self._held.setdefault(to, []).append(message)
                continue
            if to in self._held:
                sending += [(to, held) for held in self._held.pop(to)]
            sending.append((to, message))
        return sending

    def release(self) -> Messages:
        """Return everything held back: a tick is over."""
        held, self._held = self._held, {}
        return [(to, message) for to, some in held.items() for message in some]

    def _waits(self, member: int, now: float) -> bool:
        return now - self._proposed.get(member, -EAGER_SECONDS) < EAGER_SECONDS
