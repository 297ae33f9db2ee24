"""Volumes of removed members: kept for a time, out of use, before anything deletes them. Pure.

The claim says since when and until when, by the API server's clock. A pod may need the claim's name
again in that time: then its node sets the old data aside in the same volume and joins as a new
member, and what was set aside keeps the time that the claim had. A person's `undelete` ends the
time: from then on only a person deletes it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import duration, timestamp_text
from amaters_operator.api.status import QuarantinedVolume
from amaters_operator.decisions.actions import DeleteClaim, DiscardSetAside
from amaters_operator.decisions.observation import Observation, State
from amaters_operator.decisions.status.condition import Assessment
from amaters_operator.decisions.storage import volumes
from amaters_operator.decisions.storage.volumes import Claim, SetAsideData
from amaters_operator.manifests import names

DURING_SURGE = timedelta(minutes=10)
"""How long data of members is kept that leave only to come back in a roll with one more member."""


def period(cluster: AmatersCluster) -> timedelta | None:
    """Return how long a removed member's volume is kept; None: until a person deletes it.

    In a roll with one more member every member leaves once, and no number was a mistake: data kept
    for longer would fill the volumes with a copy for each roll.
    """
    storage = cluster.spec.storage
    if storage.when_scaled == "Retain":
        return None
    kept = duration(storage.quarantine)
    return min(DURING_SURGE, kept) if cluster.status.surge else kept


def settled(observed: Observation, claim: Claim, kept_for: timedelta | None) -> Claim:
    """Return the claim as it should be marked now: its member, its quarantine, what lies aside."""
    marked = replace(claim, mark=volumes.mark(observed, claim))
    if observed.leader() is None or not observed.cluster_id or observed.replicas is None:
        return marked
    if marked.mark != claim.mark:
        marked = replace(marked, since=None, until=None)
    since = (marked.since or observed.now) if of_removed(observed, marked) else None
    keeps = claim.undelete or kept_for is None
    until = None if since is None or keeps else marked.until or observed.now + _or_none(kept_for)
    aside = _aside(observed, marked, kept_for)
    return replace(marked, since=since, until=until, aside=aside)


def of_removed(observed: Observation, claim: Claim) -> bool:
    """Whether it is proven that the disk's member was removed from the observed cluster."""
    return bool(claim.member) and volumes.of_no_member(observed, claim)


def deletion(
    observed: Observation, claims: Sequence[Claim], *, keep: bool
) -> DeleteClaim | DiscardSetAside | None:
    """Return the next volume, or data set aside, whose time is over; None while there is none."""
    wanted = [one for one in claims if not one.undelete]
    for claim in [] if keep else volumes.removable(observed, wanted):
        if not claim.member and not claim.aside:
            return DeleteClaim(claim.name, claim.uid, claim.ordinal, "it was never used")
        # What earlier members left in the volume keeps the time that it has.
        ends = [claim.until, *(one.until for one in claim.aside if one.member != claim.member)]
        if claim.until and all(end is not None and end <= observed.now for end in ends):
            why = f"its member was removed, and its quarantine ended {timestamp_text(claim.until)}"
            return DeleteClaim(claim.name, claim.uid, claim.ordinal, why)
    return next((over for one in wanted if (over := _discard(observed, one))), None)


def _discard(observed: Observation, claim: Claim) -> DiscardSetAside | None:
    node = observed.nodes.get(claim.ordinal)
    if node is None or observed.leader() is None:
        return None
    for one in claim.aside:
        over = one.until is not None and one.until <= observed.now
        if over and one.member in node.set_aside and _is_no_member(observed, one.member):
            return DiscardSetAside(
                claim.ordinal,
                one.member,
                observed.pod_name(claim.ordinal),
                "its quarantine is over",
            )
    return None


def may_set_aside(observed: Observation, ordinal: int) -> int:
    """Return the removed member whose data the node of that pod may set aside; 0 for none."""
    node = observed.nodes.get(ordinal)
    if node is None or node.state is not State.REMOVED or observed.leader() is None:
        return 0
    ours = bool(node.id and node.cluster_id) and node.cluster_id == observed.cluster_id
    return node.id if ours and _is_no_member(observed, node.id) else 0


def listed(claims: Sequence[Claim]) -> list[QuarantinedVolume]:
    """Return what the status shows: volumes out of use, and data set aside in volumes in use."""
    found = []
    for claim in claims:
        if claim.since is not None and not claim.terminating:
            found.append(
                QuarantinedVolume(
                    claim=claim.name, member=claim.member, since=claim.since, until=claim.until
                )
            )
        found += [
            QuarantinedVolume(
                claim=claim.name,
                member=one.member,
                since=one.since,
                until=None if claim.undelete else one.until,
                set_aside=True,
            )
            for one in claim.aside
            if one.member != claim.member
        ]
    return found


def assessment(volumes_kept: Sequence[QuarantinedVolume]) -> Assessment | None:
    """Return the condition about volumes that are kept; None while there is none."""
    if not volumes_kept:
        return None
    waiting = [one for one in volumes_kept if one.until is not None]
    texts = [_told(one) for one in volumes_kept]
    if waiting:
        advice = (
            f"To keep one: kubectl annotate pvc {waiting[0].claim} {names.UNDELETE_ANNOTATION}=true"
        )
    else:
        advice = "Delete a claim by hand once nobody needs its data"
    reason = "Quarantined" if waiting else "Kept"
    return Assessment("True", reason, f"{'; '.join(texts)}. {advice}")


def entered(before: Claim, after: Claim) -> str:
    """Say that a claim has entered or left quarantine by this pass; empty when neither."""
    if before.since is None and after.since is not None:
        until = "until a person deletes it" if after.until is None else _until(after)
        return f"{after.name}, the volume of removed member {after.member}, is kept {until}"
    if before.until is not None and after.until is None and after.since is not None:
        return f"{after.name} is out of quarantine: it is kept until a person deletes it"
    return ""


def _aside(
    observed: Observation, claim: Claim, kept_for: timedelta | None
) -> tuple[SetAsideData, ...]:
    """Return what lies aside in the volume, or is about to; what the node no longer has is gone."""
    node = observed.nodes.get(claim.ordinal)
    if node is None:
        return claim.aside
    known = {one.member: one for one in claim.aside}
    present = {*node.set_aside, may_set_aside(observed, claim.ordinal)} - {0}
    end = None if kept_for is None else observed.now + kept_for
    for member in present - known.keys():
        same = member == claim.member and claim.since is not None
        since = claim.since if same and claim.since is not None else observed.now
        known[member] = SetAsideData(member, since, claim.until if same else end)
    gone = {one for one in known if one not in present and node.id != one}
    return tuple(known[one] for one in sorted(known.keys() - gone))


def _is_no_member(observed: Observation, member: int) -> bool:
    return member not in {one.id for one in observed.members or ()}


def _or_none(kept_for: timedelta | None) -> timedelta:
    return timedelta(0) if kept_for is None else kept_for


def _until(claim: Claim) -> str:
    return "" if claim.until is None else f"until {timestamp_text(claim.until)}"


def _told(one: QuarantinedVolume) -> str:
    where = f"in {one.claim}" if one.set_aside else f"of {one.claim}"
    end = "is kept" if one.until is None else f"is deleted after {timestamp_text(one.until)}"
    return f"the data {where} of removed member {one.member} {end}"
