"""Which versions should lead: a newer binary before an older one, as long as a newer one can. Pure.

Nothing here is needed for safety. While a cluster is rolled from one version to another, entries
that only the newer binary writes must not meet an older leader, and leadership that went back to
an older member would have to move again.

Two decisions, both without any I/O: whether a member that heard no leader may ask for votes
(`reason_to_wait`), and who may take leadership over (`successor`, `objection`). `VersionPreference` carries
the first one out: raft campaigns as always, but its pre-vote requests do not leave, so it campaigns
again after the next election timeout. It notices nothing but a slow network. Requests that follow
an order to take leadership over are no pre-votes and always leave. raft's own
priorities are not used for it: a voter of a higher priority refuses every candidate whose log is
no longer than its own, and when its own log is of an older term nobody can ever be elected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from amaters_server.model.versions import Version, dotted, parsed
from amaters_server.raft.raft_node import Message

CHANCES = 3
"""Election timeouts that newer members are given to be elected in."""
MAX_TRANSFER_LAG = 1000
"""Entries the next leader may lack: less than a blink of replication."""


@dataclass(frozen=True, slots=True)
class TransferTarget:
    """A voter that answers its leader, and could take leadership over."""

    id: int
    version: Version
    lag: int
    """Entries it lacks."""

    @property
    def able(self) -> bool:
        """Whether it would lead after a blink of replication."""
        return self.lag <= MAX_TRANSFER_LAG


def reason_to_wait(
    own: Version, rivals: Mapping[int, Version], *, leaderless: float, timeout: float
) -> str:
    """Say why a member without a leader lets others ask for votes first; empty when it need not.

    `rivals` are the other voters that may be able to lead: not those that were refused a vote for
    want of entries. A rival that is down is waited for too, no longer than `timeout`, in the same
    unit as `leaderless`: the time that no leader was known.
    """
    newer = [member for member, version in sorted(rivals.items()) if version > own]
    if not newer or leaderless >= timeout:
        return ""
    return f"member {newer[0]} runs {dotted(rivals[newer[0]])} and may lead: it goes first"


def successor(targets: Sequence[TransferTarget]) -> int | None:
    """Return who should lead next: the newest version, then who lacks the least."""
    best = max(targets, key=lambda one: (one.able, one.version, -one.lag, -one.id), default=None)
    return best.id if best is not None else None


def objection(to: int, targets: Sequence[TransferTarget]) -> str:
    """Say why leadership must not go to that member, though it was named; empty when it may.

    The present leader's own version does not count: it was told to hand over.
    """
    target = next((one for one in targets if one.id == to), None)
    if target is None:
        return ""  # It may have been slow to answer: whether it does will be seen.
    newer = [one for one in targets if one.able and one.version > target.version]
    if not newer:
        return ""
    best = next(one for one in targets if one.id == successor(newer))
    return (
        f"member {to} runs {dotted(target.version)}, and member {best.id} runs "
        f"{dotted(best.version)} and can lead: name that one, or stop it first"
    )


class VersionPreference:
    """What one member knows of the others' versions and chances. Time is an argument."""

    def __init__(self, own: Version, *, timeout: float) -> None:
        self._own = own
        self._timeout = timeout
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

    def sift(
        self, messages: list[Message], voters: Iterable[int], leaderless: float
    ) -> list[Message]:
        """Return what may be sent; for use while no leader is known."""
        newer = {
            voter: version
            for voter in voters
            if (version := self._versions.get(voter)) is not None and version > self._own
        }
        if not newer or not messages:
            return messages
        self._unable.update(to for to, kind, _ in messages if kind == "pre_vote_rejection")
        rivals = {voter: newer[voter] for voter in newer.keys() - self._unable}
        if not reason_to_wait(self._own, rivals, leaderless=leaderless, timeout=self._timeout):
            return messages
        return self._without_requests(messages)

    def _without_requests(self, messages: Sequence[Message]) -> list[Message]:
        kept = [one for one in messages if one[1] != "pre_vote_request"]
        self.held_back += len(messages) - len(kept)
        return kept
