"""Which versions may work together, and which members were found that may not.

The published rule: the same major, and a minor from the second on. Each side of a connection
holds the other against it, for an older version may know another rule, or none.
"""

import logging
from collections.abc import Collection, Iterator, Mapping

from amaters.compatibility import OLDEST_MEMBER_MINOR

from amaters_server.model.versions import Version, dotted
from amaters_server.node.values import ADVICE, Incompatible

log = logging.getLogger(__name__)

PROTOCOL_REVISION = 2
"""What this version answers in handshakes: `HandshakeResponse.protocol_revision`."""
SLOW_WRITES = 2
"""The revision from which on members apply updates, and filters among writes."""


def compatible(own: Version, theirs: Version) -> bool:
    """Whether two versions may work together: same major, and neither too old for the other."""
    return theirs[0] == own[0] and theirs[1] >= OLDEST_MEMBER_MINOR


def objection(own: Version, theirs: Version) -> str:
    """Return why a member of that version is refused, and the next step; empty when it is not."""
    if compatible(own, theirs):
        return ""
    return (
        f"version {dotted(theirs)} cannot work with {dotted(own)}: bring it to "
        f"{own[0]}.{OLDEST_MEMBER_MINOR} or newer, below {own[0] + 1}.0"
    )


def without_slow_writes(revisions: Mapping[int, int]) -> int | None:
    """Return a member that is known to apply no slow writes; None when none is.

    One that was never heard of does not count: it would refuse the entry, and lag, but not apply
    it otherwise than the others do.
    """
    return min((one for one, revision in revisions.items() if revision < SLOW_WRITES), default=None)


class Incompatibles:
    """The members found so, each once, until they come back compatible or are removed."""

    def __init__(self) -> None:
        self._found: dict[int, Incompatible] = {}

    def __iter__(self) -> Iterator[Incompatible]:
        return iter(sorted(self._found.values(), key=lambda one: one.member))

    def of(self, member: int) -> Incompatible | None:
        """Return what was found of the member; None when nothing was."""
        return self._found.get(member)

    def found(self, member: int, version: Version, reason: str, unix_ms: int) -> None:
        """Note that the member is refused, or refuses; the first report of a version stays."""
        known = self._found.get(member)
        if known is not None and known.version == version:
            return
        self._found[member] = Incompatible(member, version, reason, unix_ms)
        facts = {"member": member, "version": dotted(version), "reason": reason, "advice": ADVICE}
        log.warning("member.incompatible", extra=facts)

    def changed(self, member: int, version: Version) -> None:
        """Note the version of a member that is accepted; an unchanged one still refuses this one."""
        known = self._found.get(member)
        if known is not None and known.version != version:
            self.settled(member)

    def settled(self, member: int) -> None:
        """Note that both sides accept each other."""
        if (before := self._found.pop(member, None)) is not None:
            facts = {"member": member, "before": dotted(before.version)}
            log.info("member.compatible_again", extra=facts)

    def keep(self, members: Collection[int]) -> None:
        """Forget all that are not among these members."""
        self._found = {one: found for one, found in self._found.items() if one in members}
