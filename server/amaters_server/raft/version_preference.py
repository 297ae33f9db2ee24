"""Which member should lead: a newer version before an older one, while a newer one can. Pure.

Safety does not depend on it. While a cluster is rolled from one version to another, entries that
only the newer version writes must not reach an older leader, and leadership that returned to an
older member would have to move again.

Two decisions without I/O: whether a member that knows no leader may ask for votes
(`reason_to_wait`), and which member may take leadership over (`successor`, `objection`).
`VersionPreference` carries out the first: raft campaigns as always, but its pre-vote requests do
not leave, so raft campaigns again after the next election timeout, as on a slow network. Requests
that follow an order to take leadership over are no pre-votes and always leave. Raft's priorities do
not serve: a voter of higher priority refuses every candidate whose log is no longer than its own,
and when its own log is of an older term no member can ever be elected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from amaters_server.model.versions import Version, dotted, parsed
from amaters_server.raft.raft_node import Message

CHANCES = 3
"""Election timeouts in which newer members may be elected first."""
MAX_TRANSFER_LAG = 1000
"""Entries the next leader may lack: milliseconds of replication."""


@dataclass(frozen=True, slots=True)
class TransferTarget:
    """A voter that answers its leader, and could take leadership over."""

    id: int
    version: Version
    lag: int
    """Entries it lacks."""

    @property
    def able(self) -> bool:
        """Whether it could lead within milliseconds."""
        return self.lag <= MAX_TRANSFER_LAG


def reason_to_wait(
    own: Version, rivals: Mapping[int, Version], *, leaderless: float, timeout: float
) -> str:
    """Return why a member without a leader lets others ask for votes first; empty to ask now.

    `rivals` are the other voters that may be able to lead, without those that were refused a vote
    because their log is too old. A member also waits for a rival that is down, until no leader was
    known (`leaderless`) for `timeout`.
    """
    newer = [member for member, version in sorted(rivals.items()) if version > own]
    if not newer or leaderless >= timeout:
        return ""
    return f"member {newer[0]} runs {dotted(rivals[newer[0]])} and may lead: it goes first"


def successor(targets: Sequence[TransferTarget]) -> int | None:
    """Return the member that should lead next: the newest version, then the least lag."""
    best = max(targets, key=lambda one: (one.able, one.version, -one.lag, -one.id), default=None)
    return best.id if best is not None else None


def objection(to: int, targets: Sequence[TransferTarget]) -> str:
    """Return why leadership must not go to the named member; empty when it may.

    The version of the present leader does not count: it was asked to hand over.
    """
    target = next((one for one in targets if one.id == to), None)
    if target is None:
        return ""  # It may only be slow to answer; raft finds out.
    newer = [one for one in targets if one.able and one.version > target.version]
    if not newer:
        return ""
    best = next(one for one in targets if one.id == successor(newer))
    return (
        f"member {to} runs {dotted(target.version)}, and member {best.id} runs "
        f"{dotted(best.version)} and can lead: name that one, or stop it first"
    )


class VersionPreference:
    """The versions of the other members, and which of them cannot lead. Time is an argument."""

    def __init__(self, own: Version, *, timeout: float) -> None:
        self._own = own
        self.timeout = timeout
        """Seconds without a leader after which versions no longer matter."""
        self._reported: Mapping[int, str] = {}
        self._versions: dict[int, Version] = {}
        self._refused: set[int] = set()

    @property
    def versions(self) -> Mapping[int, Version]:
        """The versions of the other members, as far as they are known."""
        return self._versions

    def update(self, versions: Mapping[int, str]) -> None:
        """Set the versions that the members reported when they connected."""
        if versions != self._reported:
            self._reported = dict(versions)
            self._versions = {member: parsed(text) for member, text in versions.items()}

    def leader_found(self) -> None:
        """Forget refused votes: there is a leader, and the next election is a new one."""
        self._refused.clear()

    def sift(
        self, messages: list[Message], voters: Iterable[int], leaderless: float
    ) -> list[Message]:
        """Return the messages that may leave; for use while no leader is known."""
        newer = {
            voter: version
            for voter in voters
            if (version := self._versions.get(voter)) is not None and version > self._own
        }
        if not newer or not messages:
            return messages
        self._refused.update(to for to, kind, _ in messages if kind == "pre_vote_rejection")
        rivals = {voter: newer[voter] for voter in newer.keys() - self._refused}
        if not reason_to_wait(self._own, rivals, leaderless=leaderless, timeout=self.timeout):
            return messages
        return [one for one in messages if one[1] != "pre_vote_request"]
