"""When volumes grow and how far; what is said when they cannot."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import VolumeUsage
from amaters_operator.decisions.observation import Node, Observation, Pod, Room, State
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.decisions.storage import growth, pressure, usage
from amaters_operator.decisions.storage.volumes import Claim, amount
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GIB = 1024**3
AUTO = {"below": "20%", "by": "50%", "max": "100Gi"}


def cluster(
    *, size: str = "10Gi", auto: dict[str, str] | None = AUTO, **status: Any
) -> AmatersCluster:
    storage = {"size": size} | ({} if auto is None else {"autoGrow": auto})
    meta = {"name": "c", "namespace": "n", "uid": "u"}
    spec = {"image": "amaters:1", "storage": storage}
    return AmatersCluster.model_validate({"metadata": meta, "spec": spec, "status": status})


def claim(ordinal: int, size: str = "10Gi", capacity: str = "10Gi", **facts: Any) -> Claim:
    return Claim(f"data-c-{ordinal}", ordinal, "uid", size, capacity, mark="k/1", **facts)


def used(ordinal: int, gib: float, total: float = 10, writes: str = "") -> VolumeUsage:
    return VolumeUsage(
        pod=f"c-{ordinal}",
        claim=f"data-c-{ordinal}",
        used_bytes=int(gib * GIB),
        capacity_bytes=int(total * GIB),
        percent=int(100 * gib / total),
        writes=writes,
    )


NOTHING = Observation(now=NOW)


def test_nothing_grows_while_all_have_room() -> None:
    found = growth.filling(cluster(), NOTHING, [claim(0), claim(1)], [used(0, 7.9), used(1, 1)])

    assert (found.size, found.low, found.growing, found.grown) == ("10Gi", (), False, None)


def test_all_grow_once_one_has_too_little_room() -> None:
    found = growth.filling(cluster(), NOTHING, [claim(0), claim(1)], [used(0, 8.5), used(1, 1)])

    assert found.size == "15Gi"
    assert found.grown is not None
    assert (found.grown.size, found.grown.since) == ("15Gi", NOW)
    assert "data-c-0 has 15% of its file system free (1.5Gi of 10Gi)" in found.grown.because


@pytest.mark.parametrize(
    ("in_use", "total", "said"),
    [
        # A file system is a little smaller than its volume: what counts is what it has.
        (9.75, 9.75, "0% of its file system free (0 of 9.7Gi)"),
        (9.5, 9.75, "2% of its file system free (256Mi of 9.7Gi)"),
        # Reported before the volume grew: of the new size, or it would grow twice.
        (4.9, 4.9, ""),
    ],
)
def test_what_is_free_is_a_share_of_the_file_system(in_use: float, total: float, said: str) -> None:
    found = growth.filling(cluster(), NOTHING, [claim(0)], [used(0, in_use, total)])

    assert found.low == ((f"data-c-0 has {said}",) if said else ())


def test_without_the_setting_nothing_grows_and_the_condition_says_what_to_do() -> None:
    made = cluster(auto=None)
    found = growth.filling(made, NOTHING, [claim(0)], [used(0, 9)])
    said = pressure.assessment(made, found, [])

    assert found.size == "10Gi"
    assert (said.status, said.reason) == ("True", "DiskLow")
    assert "set spec.storage.autoGrow" in said.message


@pytest.mark.parametrize(
    "going_on",
    [
        claim(1, "15Gi", "10Gi"),
        claim(1, "10Gi", "10Gi"),
    ],
    ids=["its volume has yet to grow", "a crash left it out"],
)
def test_the_next_growth_waits_for_the_last_one(going_on: Claim) -> None:
    reports = [used(0, 14.9, 15), used(1, 9.9)]
    found = growth.filling(cluster(), NOTHING, [claim(0, "15Gi", "15Gi"), going_on], reports)

    assert (found.size, found.growing) == ("15Gi", True)


def test_a_report_from_before_the_growth_does_not_count_again() -> None:
    found = growth.filling(cluster(), NOTHING, [claim(0, "15Gi", "15Gi")], [used(0, 9.9, 10)])

    assert (found.size, found.low) == ("15Gi", ())


def test_the_status_remembers_and_a_persons_larger_size_ends_that() -> None:
    grown = {"size": "15Gi", "since": "2026-01-01T00:00:00Z", "because": "x"}
    volumes = [claim(0, "15Gi", "15Gi"), claim(1)]
    remembered = growth.filling(cluster(auto=None, autoGrow=grown), NOTHING, volumes, [used(0, 1)])
    larger = growth.filling(cluster(size="20Gi", autoGrow=grown), NOTHING, [claim(0)], [])

    assert (remembered.size, remembered.growing) == ("15Gi", True)
    assert (larger.size, larger.grown) == ("20Gi", None)


def test_growth_ends_at_the_limit_and_says_so() -> None:
    made = cluster(auto=AUTO | {"max": "12Gi"})
    first = growth.filling(made, NOTHING, [claim(0)], [used(0, 9)])
    at_limit = growth.filling(made, NOTHING, [claim(0, "12Gi", "12Gi")], [used(0, 11.9, 12)])
    said = pressure.assessment(made, at_limit, [])

    assert first.size == "12Gi"
    assert (at_limit.size, at_limit.limit, at_limit.growing) == ("12Gi", True, False)
    assert said.reason == "GrowthLimit"
    assert "raise it" in said.message


def test_a_pod_that_has_no_room_to_start_counts_as_full() -> None:
    problem = (
        "CrashLoopBackOff: the last run ended with code 1 (Error): Error: the disk of "
        "/var/lib/amaters is full: make room, or enlarge the volume, then start this server again"
    )
    observed = Observation(now=NOW, pods=(Pod("c-0", 0, "u", "r", problem=problem),))
    found = growth.filling(cluster(), observed, [claim(0)], [])

    assert found.size == "15Gi"
    assert "no room for its node to start" in found.low[0]


def test_a_file_system_that_others_fill_does_not_grow_the_volume() -> None:
    made = cluster()
    found = growth.filling(made, NOTHING, [claim(0)], [used(0, 95, 100)])
    said = pressure.assessment(made, found, [])

    assert (found.size, found.shared) == ("10Gi", True)
    assert "make room on the machine" in said.message


def test_a_volume_in_quarantine_neither_grows_nor_is_measured() -> None:
    out = claim(3, since=NOW)
    found = growth.filling(cluster(), NOTHING, [claim(0), out], [used(0, 9), used(3, 9.9)])

    assert usage.in_use([claim(0), out]) == [claim(0)]
    assert len(found.low) == 1


@pytest.mark.parametrize(
    ("blocked", "trouble"),
    [([Blocked("VolumeNotGrown", "the class does not allow it")], ""), ([], "quota exceeded")],
)
def test_volumes_that_cannot_grow_are_a_condition_with_the_remedy(
    blocked: list[Blocked], trouble: str
) -> None:
    made = cluster()
    found = growth.filling(made, NOTHING, [claim(0, "15Gi", trouble=trouble)], [used(0, 9)])
    refusal = pressure.refusal(made, found)
    said = pressure.assessment(made, found, blocked or [refusal])

    assert said.reason == "VolumeNotGrown"
    assert (refusal is None) == bool(blocked)
    if refusal is not None:
        assert "quota exceeded" in refusal.message
        assert "allowVolumeExpansion" in refusal.message


@pytest.mark.parametrize(
    ("writes", "reason"), [("Refused", "WritesRefused"), ("None", "DiskFull"), ("", "DiskLow")]
)
def test_the_reason_says_how_much_a_node_still_takes(writes: str, reason: str) -> None:
    made = cluster(auto=None)
    found = growth.filling(made, NOTHING, [claim(0)], [used(0, 9.9, writes=writes)])

    assert pressure.assessment(made, found, []).reason == reason


def test_the_status_changes_only_with_the_share_that_is_used() -> None:
    def observed(free: int) -> Observation:
        return Observation(now=NOW, nodes={0: Node(1, State.LEADER, disk=Room(10 * GIB, free))})

    first = usage.reported(cluster(), observed(5 * GIB), [claim(0)])
    same = usage.reported(
        cluster(storage=[first[0].model_dump()]), observed(5 * GIB - 4096), [claim(0)]
    )
    later = usage.reported(cluster(storage=[first[0].model_dump()]), observed(4 * GIB), [claim(0)])
    down = usage.reported(cluster(storage=[first[0].model_dump()]), NOTHING, [claim(0)])

    assert (first[0].percent, same, down) == (50, first, first)
    assert later[0].percent == 60


@given(st.integers(1, 10**6), st.integers(1, 999), st.integers(1, 10**6), st.integers(0, 3 * 10**6))
def test_a_size_only_rises_and_never_beyond_the_limit(
    size: int, by: int, limit: int, full: int
) -> None:
    auto = {"below": "20%", "by": f"{by}%", "max": f"{limit}Mi"}
    made = cluster(size=f"{size}Mi", auto=auto)
    held = claim(0, f"{size}Mi", f"{size}Mi")
    report = used(0, full / 1024, size / 1024)

    found = growth.filling(made, NOTHING, [held], [report])

    assert amount(found.size) >= amount(f"{size}Mi")
    if found.growing:
        assert amount(f"{size}Mi") < amount(found.size) <= amount(f"{limit}Mi")
    assert found.grown is None or found.grown.since - NOW == timedelta(0)
