"""Holds back this member's requests for votes while a newer version should be elected instead.

Raft campaigns as always; only its pre-vote requests do not leave, so it campaigns again after the
next election timeout. It notices nothing but a slow network. Requests that follow an order to take
leadership over are no pre-votes and always leave.
"""

from collections.abc import Iterable, Mapping, Sequence

from amaters_server.raft.driver import Messages
from amaters_server.raft.messages import is_vote_request, refused_candidate
from amaters_server.raft.seniority import Version, parsed, reason_to_wait

CHANCES = 3
"""Election timeouts that newer members are given to be elected in."""


class Candidacy:
    """What one member knows of the others' versions and chances. Time is an argument."""

    def __init__(self, own: Version, *, patience: float) -> None:
        self._own = own
        self._patience = patience
        """Seconds without a leader after which versions do not matter any more."""
        self._told: Mapping[int, str] = {}
        self._versions: dict[int, Version] = {}
        self._unable: set[int] = set()
        self.held_back = 0
        """How many requests for votes never left."""

    @property
    def versions(self) -> Mapping[int, Version]:
        """Return the versions of the other members, as far as they are known."""
        return self._versions

    def know(self, versions: Mapping[int, str]) -> None:
        """Take in what the members told of their versions when they connected."""
        if versions != self._told:
            self._told = dict(versions)
            self._versions = {member: parsed(text) for member, text in versions.items()}

    def led(self) -> None:
        """Hear that there is a leader: the next election is a new one."""
        self._unable.clear()

    def sift(self, messages: Messages, voters: Iterable[int], leaderless: float) -> Messages:
        """Return what may be sent; for use while no leader is known."""
        newer = {
            voter: version
            for voter in voters
            if (version := self._versions.get(voter)) is not None and version > self._own
        }
        if not newer or not messages:
            return messages
        self._unable.update(to for to, message in messages if refused_candidate(message))
        rivals = {voter: newer[voter] for voter in newer.keys() - self._unable}
        if not reason_to_wait(self._own, rivals, leaderless=leaderless, patience=self._patience):
            return messages
        return self._without_requests(messages)

    def _without_requests(self, messages: Sequence[tuple[int, bytes]]) -> Messages:
        kept = [one for one in messages if not is_vote_request(one[1])]
        self.held_back += len(messages) - len(kept)
        return kept
