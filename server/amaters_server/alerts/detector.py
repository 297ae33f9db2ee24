"""From what a node sees to what has happened. No I/O, no clock: the moment is handed in.

Who reports what, so that each thing is reported once:

- The leader, confirmed by a quorum, judges the members: failed, recovered, slow. Only it receives
  messages of all of them.
- A new leader takes over whom the last one reported as failed, and reports their return.
- A new leader reports that leadership changed, and from whom, however briefly that one led.
- A voter without a leader that receives messages of too few others reports that the quorum is
  lost. Each such voter speaks for itself: they cannot agree, or they would have a leader.
- Each node reports of its own disk that it is low or full.
- That a member is kept out for its version is reported by the leader and by members without one:
  they may be the ones that are kept out.

What is no alert: silence while this node was not looking (it was asleep, or has just begun to
lead), members that announced their stop, until they have been away for too long, members that
have sent nothing since this node started, until a start takes too long, learners that catch up,
and members that were removed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from amaters_server.alerts.events import (
    AlertEvent,
    IncompatibleMember,
    LeaderChanged,
    NodeFailed,
    NodeRecovered,
    QuorumLost,
    SlowReplication,
    StorageFull,
    StorageLow,
)
from amaters_server.alerts.view import ClusterView, MemberView


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How long something must be wrong before it is reported, in seconds."""

    silence: float = 1.0
    """Without a word of a member, it has failed; with words for as long, it has recovered."""
    planned_stop: float = 120.0
    """For a member that announced its stop to be back."""
    start: float = 30.0
    """For members, and a leader, that have sent nothing since this node's start."""
    lag: float = 10.0
    """At or above the threshold, for as long."""
    lag_threshold: int = 1000
    """Entries."""


@dataclass(slots=True)
class Detector:
    """Looks again and again; a condition that persists is returned at every look."""

    thresholds: Thresholds
    failed: dict[int, float | None] = field(default_factory=dict)
    """Members reported as failed, and since when they answer again."""
    leading: bool = False
    """Whether this node leads, confirmed by a quorum, and judges the members."""
    _inherited: frozenset[int] = frozenset()
    """Whom leaders before this one reported as failed: each is taken over once."""
    _lagging: dict[int, float] = field(default_factory=dict)
    _begun: float | None = None
    _looked: float = 0.0
    _awake: float = 0.0
    """Silence counts from here on at the earliest."""
    _spent: dict[int, float] = field(default_factory=dict)
    """Announced stops that are over, by member: the node has been away and is back."""
    _away: set[int] = field(default_factory=set)
    """Members that are silent after an announcement."""
    _leader: int = 0
    """The last leader known, perhaps long gone; 0: none was ever known in this life."""
    _leaderless: float | None = None

    def look(self, view: ClusterView, now: float) -> list[AlertEvent]:
        """Judge what the node sees now; call it several times per `thresholds.silence`."""
        self._keep_time(now)
        if view.muted or not view.own:
            self._resign(now)
            return []
        events: list[AlertEvent] = [*self._leadership(view, now)]
        if self.leading:
            events += self._members(view, now)
        else:
            events += self._quorum(view, now)
        events += [*self._misfits(view, now), *_disk(view)]
        if view.leader != view.own or self.leading:
            # Leadership that no quorum has confirmed is none yet.
            self._leader = view.leader or self._leader
        return events

    def led_by(self, other: int) -> None:
        """Report at once that another node leads: it may be gone before the next check."""
        self._leader = other
        self.leading = False

    # --- time -----------------------------------------------------------------

    def _keep_time(self, now: float) -> None:
        if self._begun is None:
            self._begun = self._awake = self._looked = now
        if now - self._looked > self.thresholds.silence / 2:
            # This node slept or was overloaded: silence may be its own fault.
            self._awake = now
            self._lagging.clear()
        self._looked = now

    def _resign(self, now: float) -> None:
        self.leading = False
        self._leaderless = None
        self._awake = now
        self.failed.clear()
        self._lagging.clear()

    # --- leadership -----------------------------------------------------------

    def _leadership(self, view: ClusterView, now: float) -> Iterator[AlertEvent]:
        leads = view.leader == view.own and view.confirmed
        if not leads:
            self.failed.clear()
            self._lagging.clear()
        elif not self.leading:
            self._awake = now
            self._inherited = frozenset()
            if self._leader not in (0, view.own):
                yield LeaderChanged(self._leader, view.own)
        self.leading = leads
        if view.leader == view.own and not leads:
            return
        self._leaderless = None if view.leader else (self._leaderless or now)

    def _quorum(self, view: ClusterView, now: float) -> Iterator[AlertEvent]:
        if not view.votes or self._leaderless is None:
            return
        thresholds = self.thresholds.silence if self._leader else self.thresholds.start
        if not self._is_leaderless(now, thresholds):
            return
        voters = [one for one in view.others if one.votes]
        since = now - self.thresholds.silence
        others = sum(one.heard_at is not None and one.heard_at >= since for one in voters)
        size, reachable = len(voters) + 1, others + 1
        if reachable < size // 2 + 1:
            yield QuorumLost(size, reachable)

    def _is_leaderless(self, now: float, thresholds: float) -> bool:
        """Whether no leader has been known for so long, while this node looked."""
        since = self._leaderless
        return since is not None and now - max(since, self._awake) >= thresholds

    def _misfits(self, view: ClusterView, now: float) -> Iterator[AlertEvent]:
        if self.leading or self._is_leaderless(now, self.thresholds.silence):
            for one in view.others:
                if one.incompatible is not None:
                    yield IncompatibleMember(one.id, *one.incompatible)

    # --- members --------------------------------------------------------------

    def _members(self, view: ClusterView, now: float) -> Iterator[AlertEvent]:
        inherited = view.failed - self._inherited
        self._inherited |= inherited
        self.failed = {**dict.fromkeys(inherited), **self.failed}
        if view.own in inherited:
            yield NodeRecovered(view.own)
        present = {one.id for one in view.others}
        for gone in [*(self.failed.keys() - present), *(self._lagging.keys() - present)]:
            self.failed.pop(gone, None)
            self._lagging.pop(gone, None)
        for member in view.others:
            if member.started:
                yield from self._member(member, now)

    def _member(self, member: MemberView, now: float) -> Iterator[AlertEvent]:
        if self._is_silent(member, now):
            self._lagging.pop(member.id, None)
            if member.id in self.failed or self._is_overdue(member, now):
                self.failed[member.id] = None
                yield NodeFailed(member.id)
            elif self._is_announced(member):
                self._away.add(member.id)
            return
        if member.id in self._away and member.leaving_at is not None:
            self._away.discard(member.id)
            self._spent[member.id] = member.leaving_at
        has_failed = member.id in self.failed
        yield from self._return(member, now) if has_failed else self._lag(member, now)

    def _return(self, member: MemberView, now: float) -> Iterator[AlertEvent]:
        """Judge a member that has failed and is not silent: it must answer for a while."""
        since = self.failed[member.id]
        if since is not None:
            if now - since >= self.thresholds.silence:
                del self.failed[member.id]
                yield NodeRecovered(member.id)
        elif member.heard_at is not None and member.heard_at >= self._awake:
            # What came before this node looked says nothing.
            self.failed[member.id] = now

    def _is_silent(self, member: MemberView, now: float) -> bool:
        last = self._awake if member.heard_at is None else max(member.heard_at, self._awake)
        return now - last >= self.thresholds.silence

    def _is_overdue(self, member: MemberView, now: float) -> bool:
        """Whether nothing excuses the silence any longer."""
        leaving = member.leaving_at
        if leaving is not None and self._is_announced(member):
            return now - leaving >= self.thresholds.planned_stop
        begun = now if self._begun is None else self._begun
        return member.heard_at is not None or now - begun >= self.thresholds.start

    def _is_announced(self, member: MemberView) -> bool:
        """Whether it announced a stop that it has not come back from."""
        return member.leaving_at is not None and member.leaving_at != self._spent.get(member.id)

    def _lag(self, member: MemberView, now: float) -> Iterator[AlertEvent]:
        lag = member.lag_entries or 0
        if not member.votes or lag < self.thresholds.lag_threshold:
            self._lagging.pop(member.id, None)
            return
        since = self._lagging.setdefault(member.id, now)
        if now - since >= self.thresholds.lag:
            yield SlowReplication(member.id, lag)


def _disk(view: ClusterView) -> Iterator[AlertEvent]:
    if view.disk.full:
        yield StorageFull(view.own)
    elif view.disk.low:
        yield StorageLow(view.own, view.disk.free_mb)
