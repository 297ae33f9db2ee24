"""The status screen of a cluster in many states: golden texts that fit 80 by 24."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from amaters_kubectl.cluster.verdict import Health, judge
from amaters_kubectl.cluster.view import view
from amaters_kubectl.screens.plan_screen import plan_screen
from amaters_kubectl.screens.status_screen import clusters_screen, status_screen
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
LONG = "orders-2: 0/3 nodes are available: 1 node had a taint, 2 had no free volume. " * 12


def states(make: Any) -> dict[str, tuple[dict[str, Any], Health]]:
    """Objects by the name of their golden file, and what they are judged as."""
    said = make.condition
    backup = {
        "last": {"uri": "s3://b/1", "completed": "2026-11-28T10:00:00Z"},
        "next": "2026-11-29T03:00:00Z",
    }
    rolling = make.orders(
        phase="Upgrading",
        readyReplicas=2,
        members=[
            make.member(0, updated=True),
            make.member(1, "Leader", updated=False),
            make.member(2, "Starting", ready=False),
        ],
        upgrade={"progress": "1/3", "revision": "r2", "message": "orders-2 is coming up"},
        conditions={
            "Reconciling": said("Reconciling", "True", "Reconciling", "orders-2 is coming up"),
            "Degraded": said("Degraded", "True", "MembersMissing", "not taking part: orders-2"),
        },
    )
    waits = (
        "plan 3f9ac1d2e08b waits for approval: `kubectl amaters approve orders`, or `kubectl "
        "annotate amc/orders --overwrite amaters.io/approve=3f9ac1d2e08b`"
    )
    step = (
        f"replacing orders-2: it is outdated and a follower, 0 entries behind; 0/3 updated: {waits}"
    )
    approval = make.orders(
        phase="UpgradeWaiting",
        plan="3f9ac1d2e08b",
        upgrade={"progress": "0/3", "revision": "r2", "message": step},
        maintenance={"next": "2026-12-05T01:00:00Z"},
        pendingActions=[
            {
                "pod": "orders-2",
                "action": "ReplacePod",
                "reason": "outdated, and a follower",
                "margin": {"before": 3, "needed": 2, "after": 2},
            },
            {
                "pod": "orders-0",
                "action": "ReplacePod",
                "reason": "outdated, and a follower",
                "margin": {"before": 3, "needed": 2, "after": 2},
            },
            {
                "pod": "orders-1",
                "action": "TransferLeadership",
                "reason": "it leads, and is replaced last",
                "margin": {"before": 3, "needed": 2, "after": 3},
            },
        ],
        conditions={
            "ApprovalRequired": said("ApprovalRequired", "True", "WaitsForApproval", waits),
            "Reconciling": said("Reconciling", "True", "WaitsForApproval", step),
            "UpgradeInProgress": said("UpgradeInProgress", "True", "WaitsForApproval", step),
        },
    )
    approval["spec"]["upgrade"] = {
        "approval": "Manual",
        "maintenanceWindows": [
            {"schedule": "0 2 * * 6", "duration": "2h", "timeZone": "Europe/Berlin"}
        ],
    }
    degraded = make.orders(
        phase="Degraded",
        readyReplicas=2,
        members=[
            make.member(0),
            make.member(1, "Leader"),
            make.member(2, "Pending", ready=False, lagEntries=88123, node=""),
        ],
        conditions={
            "Degraded": said(
                "Degraded", "True", "MembersMissing", f"not taking part: orders-2. {LONG}"
            ),
            "Stalled": said("Stalled", "True", "NoNodeFits", LONG),
        },
        backup=backup,
    )
    hibernated = make.orders(
        phase="Hibernated",
        readyReplicas=0,
        leader="",
        version="",
        members=[],
        hibernated=True,
        conditions={
            "Ready": said("Ready", "False", "Hibernated", "no pod is meant to run"),
            "Hibernated": said(
                "Hibernated", "True", "Hibernated", "the pods are gone, 3 volumes are kept"
            ),
        },
    )
    hibernated["spec"]["hibernate"] = True
    fenced = make.orders(
        fenced=["orders-2"],
        readyReplicas=2,
        members=[make.member(0), make.member(1, "Leader"), make.member(2, ready=False)],
        conditions={
            "Fenced": said(
                "Fenced", "True", "Fenced", "clients do not reach orders-2, which may not lead"
            )
        },
    )
    full = make.orders(
        storage=[{"pod": f"orders-{n}", "percent": p} for n, p in enumerate((97, 61, 83))],
        conditions={
            "DiskPressure": said(
                "DiskPressure",
                "True",
                "DiskLow",
                "orders-0 has 3 % left; the class standard cannot grow: free space, or restore into a larger cluster",
            )
        },
    )
    quarantine = make.orders(
        quarantine=[
            {
                "claim": "data-orders-3",
                "member": "4",
                "since": "2026-11-28T08:00:00Z",
                "until": "2026-12-01T08:00:00Z",
            }
        ],
        backup=backup,
    )
    baking = make.orders(
        phase="Upgrading",
        canary={"trying": "f2", "pod": "orders-2", "bakingSince": "2026-11-28T11:58:30Z"},
        conditions={"Reconciling": said("Reconciling", "True", "Reconciling", "orders-2 bakes")},
    )
    baking["spec"]["upgrade"] = {"canary": {"bake": "5m"}}
    rolled_back = make.orders(
        phase="RolledBack",
        conditions={
            "RolledBack": said(
                "RolledBack",
                "True",
                "CanaryFailed",
                "orders-2 restarted twice on amaters-server:0.3.1: every pod is on the last good "
                "revision. Correct the spec, or return it to what it was",
            )
        },
    )
    away = make.orders(
        phase="Degraded",
        readyReplicas=2,
        members=[
            make.member(0),
            make.member(1, "Leader"),
            make.member(2, "Unreachable", ready=False),
        ],
        absent=[{"member": 3, "pod": "orders-2", "since": "2026-11-28T11:48:00Z"}],
        conditions={
            "Degraded": said("Degraded", "True", "MembersMissing", "not taking part: orders-2")
        },
    )
    away["spec"]["healing"] = {"replaceAfter": "30m"}
    growing = make.orders(
        storage=[{"pod": "orders-0", "percent": 84, "writes": ""}],
        conditions={
            "DiskPressure": said(
                "DiskPressure",
                "True",
                "VolumesGrow",
                "orders-0 has 16 % left. The volumes grow to 15Gi",
            ),
            "Reconciling": said(
                "Reconciling", "True", "VolumesGrow", "Kubernetes has yet to grow the volumes"
            ),
        },
    )
    return {
        "baking": (baking, Health.CHANGING),
        "rolled_back": (rolled_back, Health.UNHEALTHY),
        "absent": (away, Health.UNHEALTHY),
        "growing": (growing, Health.CHANGING),
        "healthy": (make.orders(backup=backup), Health.HEALTHY),
        "rolling": (rolling, Health.CHANGING),
        "approval": (approval, Health.HELD),
        "degraded": (degraded, Health.UNHEALTHY),
        "hibernated": (hibernated, Health.HELD),
        "fenced": (fenced, Health.HELD),
        "disk_full": (full, Health.UNHEALTHY),
        "quarantine": (quarantine, Health.HEALTHY),
        "unseen": (
            {"metadata": {"name": "orders", "namespace": "shop", "generation": 1}, "spec": {}},
            Health.CHANGING,
        ),
    }


NAMES = (
    "absent",
    "approval",
    "baking",
    "degraded",
    "disk_full",
    "fenced",
    "growing",
    "healthy",
    "hibernated",
    "quarantine",
    "rolled_back",
    "rolling",
    "unseen",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_screen_is_as_it_was_agreed(name: str, make: Any, screen: Any):
    source, health = states(make)[name]
    cluster = view(source)
    verdict = judge(cluster)

    lines = status_screen(cluster, verdict, now=NOW, columns=80, rows=24)

    text = screen(lines)
    path = GOLDEN / f"status_{name}.txt"
    if os.environ.get("GOLDEN_WRITE"):
        path.write_text(text)
    assert text == path.read_text(), "look at the difference, then run again with GOLDEN_WRITE=1"
    assert verdict.health is health


@pytest.mark.parametrize("name", NAMES)
def test_three_members_fit_80_by_24_and_the_end_says_what_to_do(name: str, make: Any, screen: Any):
    cluster = view(states(make)[name][0])

    text = screen(status_screen(cluster, judge(cluster), now=NOW, columns=80, rows=24))

    lines = text.splitlines()
    assert len(lines) <= 23, "the prompt takes the last line"
    assert [line for line in lines if len(line) > 80 and "kubectl" not in line] == []
    assert [line for line in lines[-3:] if line.startswith("Next")]


def test_the_plan_is_as_it_was_agreed(make: Any, screen: Any):
    text = screen(plan_screen(view(states(make)["approval"][0])))

    path = GOLDEN / "plan.txt"
    if os.environ.get("GOLDEN_WRITE"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_fenced_pod_is_no_roll(make: Any, screen: Any):
    source = states(make)["fenced"][0]
    source["status"]["upgrade"] = {"progress": "2/3", "revision": "r1"}
    done = make.condition("UpgradeInProgress", "False", "UpToDate")
    source["status"]["conditions"].append(done)
    cluster = view(source)

    text = screen(status_screen(cluster, judge(cluster), now=NOW, columns=80, rows=24))

    assert "Roll" not in text


def test_a_list_of_clusters_names_the_unhealthy_ones_at_the_end(make: Any, screen: Any):
    views = [view(states(make)[name][0]) for name in ("healthy", "degraded", "unseen")]

    text = screen(clusters_screen([(one, judge(one)) for one in views], now=NOW))

    assert text.splitlines()[-1] == "Next  kubectl amaters status orders -n shop"
    assert [line.split()[2] for line in text.splitlines()[1:4]] == [
        "healthy",
        "unhealthy",
        "changing",
    ]


def test_all_of_a_long_message_is_shown_where_no_terminal_limits_it(make: Any, screen: Any):
    cluster = view(states(make)["degraded"][0])

    text = screen(status_screen(cluster, judge(cluster), now=NOW, columns=80))

    assert " ".join(text.split()).count("2 had no free volume.") >= 12
    assert "…" not in text


def test_an_object_cannot_steer_the_terminal(make: Any, screen: Any):
    source = make.orders(
        phase="Degraded",
        conditions={"Degraded": make.condition("Degraded", "True", "X", "a\x1b[2Jb\rc\x9bd")},
    )

    lines = status_screen(view(source), judge(view(source)), now=NOW)

    assert not set("".join(screen(lines))) & {"\x1b", "\r", "\x9b"}


def test_a_member_of_a_wide_cluster_is_not_lost_to_a_narrow_terminal(make: Any, screen: Any):
    source = make.orders(
        members=[make.member(n, node="ip-10-0-0-1.eu-central-1.compute.internal") for n in range(9)]
    )

    text = screen(status_screen(view(source), judge(view(source)), now=NOW, columns=50))

    assert all(f"orders-{n}" in text for n in range(9))
    assert "NODE" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = (
    "phase",
    "members",
    "conditions",
    "pendingActions",
    "quarantine",
    "canary",
    "absent",
    "storage",
    "fenced",
    "transfer",
    "backup",
    "upgrade",
    "bootstrap",
    "observedGeneration",
    "readyReplicas",
    "hibernated",
    "plan",
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "metadata": JSON,
            "spec": JSON,
            "status": JSON
            | st.dictionaries(
                st.sampled_from(FIELDS),
                JSON
                | st.lists(
                    st.dictionaries(
                        st.sampled_from(
                            (
                                "pod",
                                "percent",
                                "type",
                                "status",
                                "message",
                                "reason",
                                "claim",
                                "until",
                                "action",
                            )
                        ),
                        JSON,
                        max_size=4,
                    ),
                    max_size=3,
                ),
            ),
        },
    )
)
def test_an_object_of_any_shape_is_shown(source: dict[str, Any]):
    cluster = view(source)
    verdict = judge(cluster)

    assert status_screen(cluster, verdict, now=NOW, rows=24)
    assert plan_screen(cluster)
    assert clusters_screen([(cluster, verdict)], now=NOW)
