"""The gate and the pre-check: what is disruptive, whose tags are versions, which fit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from amaters.compatibility import members_fit, oldest_client
from amaters.version import __version__
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions import arbitration
from amaters_operator.decisions.actions import (
    AddMember,
    DeleteClaim,
    PromoteMember,
    RemoveMember,
    ReplacePod,
    SetReplicas,
    Stuck,
    TransferLeadership,
    Wait,
)
from amaters_operator.decisions.observation import Clients, Member, Node, Observation, Pod, State
from amaters_operator.decisions.rolls import compatibility, consent
from amaters_server.node import compatibility as of_servers
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHUT = [{"schedule": "0 14 * * *", "duration": "1h"}]


def observe(*, tag: str = "0.3.0", version: str = "0.3.0") -> Observation:
    """Three members that are well, outdated, and of that version; the first leads."""
    return Observation(
        now=NOW,
        pods=tuple(
            Pod(f"orders-{one}", one, f"uid-{one}", "old", image=f"amaters:{tag}", ready=True)
            for one in range(3)
        ),
        nodes={
            one: Node(
                one + 1,
                State.LEADER if one == 0 else State.FOLLOWER,
                leader_id=1,
                version=version,
            )
            for one in range(3)
        },
        members=tuple(Member(one + 1, one, leader=one == 0) for one in range(3)),
        replicas=3,
        revision="new",
    )


def cluster(approve: str = "", image: str = "amaters:2", **upgrade) -> AmatersCluster:
    notes = {"amaters.io/approve": approve} if approve else {}
    meta = {"name": "orders", "namespace": "shop", "uid": "u", "annotations": notes}
    return AmatersCluster.model_validate(
        {"metadata": meta, "spec": {"image": image, "replicas": 3, "upgrade": upgrade}}
    )


DISRUPTIVE = [
    ReplacePod("orders-2", "uid-2", "x"),
    TransferLeadership(2, "orders-1", "x"),
    RemoveMember(3, 2, "x"),
]
HARMLESS = [
    None,
    Wait("x"),
    Stuck("x"),
    ReplacePod("orders-2", "uid-2", "x", healthy=False),
    TransferLeadership(2, "orders-1", "x", urgent=True),
    RemoveMember(9, 8, "it is no voter that takes part"),
    AddMember(3, "x"),
    PromoteMember(4, 3, "x"),
    SetReplicas(2, "x"),
    DeleteClaim("data-orders-3", "uid", 3, "x"),
]


@pytest.mark.parametrize("step", DISRUPTIVE, ids=lambda step: type(step).__name__)
def test_what_disrupts_waits_for_the_approval_of_exactly_this_plan_and_for_a_window(step) -> None:
    observed = observe()
    plan = consent.of(cluster(approval="Manual"), observed).plan_id

    def gate(**given):
        return consent.of(cluster(**given), observed).gate(step)

    assert gate() is step
    assert gate(approval="Manual").reason == consent.APPROVAL
    assert gate(approval="Manual", approve="another").reason == consent.APPROVAL
    assert gate(approval="Manual", approve=plan) is step
    assert gate(maintenanceWindows=SHUT).reason == consent.WINDOW
    assert gate(approval="Manual", approve=plan, maintenanceWindows=SHUT).reason == consent.WINDOW


@pytest.mark.parametrize("step", HARMLESS, ids=lambda step: type(step).__name__)
def test_what_disrupts_nothing_or_heals_never_waits(step) -> None:
    strict = cluster(approval="Manual", maintenanceWindows=SHUT)

    assert consent.of(strict, observe()).gate(step) is step


def test_a_removal_of_a_voter_that_takes_no_part_heals() -> None:
    observed = observe()
    gone = replace(observed, nodes={k: v for k, v in observed.nodes.items() if k != 2})
    step = RemoveMember(3, 2, "x")

    assert consent.of(cluster(approval="Manual"), gone).gate(step) is step


def test_the_plan_is_the_same_while_it_is_carried_out_and_another_for_another_target() -> None:
    asked, observed = cluster(approval="Manual"), observe()
    plan = consent.of(asked, observed).plan
    recorded = asked.model_copy(
        update={"status": asked.status.model_copy(update={"plan": plan.id})}
    )
    further = replace(
        observed, pods=(*observed.pods[:2], replace(observed.pods[2], revision="new"))
    )

    assert consent.of(recorded, further).plan_id == plan.id
    assert consent.of(recorded, replace(observed, revision="newer")).plan_id != plan.id
    smaller = recorded.model_copy(update={"spec": recorded.spec.model_copy(update={"replicas": 1})})
    assert consent.of(smaller, observed).plan_id != plan.id


@pytest.mark.parametrize(
    "unknown", [{"members": None}, {"revision": ""}, {"replicas": None}], ids=str
)
def test_what_is_not_known_keeps_the_plan_that_was_recorded(unknown: dict) -> None:
    asked = cluster(approval="Manual")
    recorded = asked.model_copy(update={"status": asked.status.model_copy(update={"plan": "p"})})

    found = consent.of(recorded, replace(observe(), **unknown))

    assert found.plan is None
    assert found.plan_id == "p"


def test_the_rule_of_versions_is_that_of_the_servers() -> None:
    for one, other in product(product(range(3), range(4)), repeat=2):
        assert members_fit(one, other) == (
            of_servers.compatible((*one, 0), (*other, 0))
            and of_servers.compatible((*other, 0), (*one, 0))
        ), (one, other)


@pytest.mark.parametrize(
    ("image", "tag", "refused"),
    [
        ("amaters:1.0.0", "0.3.0", True),
        ("amaters:v1.0.0@sha256:0f", "v0.3.0", True),
        ("host:5000/amaters:0.1.9", "0.3.0", True),
        ("amaters:0.9.1", "0.3.0", False),
        # Tags that are not the versions of what runs prove nothing.
        ("amaters:2026.11.3", "2026.10.1", False),
        ("amaters:1.0.0", "latest", False),
        ("amaters:latest", "0.3.0", False),
        ("host:5000/amaters", "0.3.0", False),
        ("amaters@sha256:0f", "0.3.0", False),
    ],
)
def test_a_target_is_refused_only_where_its_tag_is_certainly_a_version_that_does_not_fit(
    image: str, tag: str, refused: bool
) -> None:
    text = compatibility.unfit(observe(tag=tag), image)

    assert bool(text) == refused
    if refused:
        assert "orders-0 runs 0.3.0" in text
        assert "set spec.image" in text


def test_a_node_that_is_silent_gives_no_version() -> None:
    assert compatibility.unfit(replace(observe(), nodes={}), "amaters:1.0.0") == ""


def visited(*versions: str, tag: str = "0.3.0") -> Observation:
    """Return the same with such clients at the second node; the others do not count theirs."""
    observed = observe(tag=tag)
    clients = tuple(Clients(version, 2) for version in versions)
    return replace(
        observed, nodes={**observed.nodes, 1: replace(observed.nodes[1], clients=clients)}
    )


@pytest.mark.parametrize(
    ("image", "connected", "too_old"),
    [
        ("amaters:0.4.0", ("0.1.9",), True),
        ("amaters:v0.4.0@sha256:0f", ("", "0.1.9", "0.3.0"), True),
        ("amaters:0.4.0", ("0.2.0", "0.3.0", "0.9.0", "1.0.0"), False),
        # Clients that do not say what they are, or say it in other words.
        ("amaters:0.4.0", ("", "x", "0.1"), False),
        ("amaters:0.4.0", (), False),
        # The version that runs already: nothing changes for its clients.
        ("amaters:0.3.0", ("0.1.9",), False),
        ("amaters:latest", ("0.1.9",), False),
    ],
)
def test_a_roll_waits_for_clients_only_where_they_are_certainly_too_old_for_the_target(
    image: str, connected: tuple[str, ...], too_old: bool
) -> None:
    text = compatibility.outgrown(visited(*connected), image)

    assert bool(text) == too_old
    if too_old:
        assert "works with clients from 0.2 on, and clients of 0.1.9 are connected" in text


def test_old_clients_defer_a_replacement_unless_a_person_says_otherwise() -> None:
    step, observed = ReplacePod("orders-2", "uid-2", "x"), visited("0.1.0")
    image = "amaters:0.4.0"

    waits = consent.of(cluster(image=image), observed).gate(step)

    assert waits.reason == compatibility.OUTGROWN
    assert "orders-2 is not replaced" in waits.because
    ignored = consent.of(cluster(image=image, oldClients="Ignore"), observed)
    assert ignored.gate(step) is step
    broken = replace(step, healthy=False)
    assert consent.of(cluster(image=image), observed).gate(broken) is broken


def test_every_server_works_with_the_clients_of_its_own_version() -> None:
    own = tuple(int(part) for part in __version__.split(".")[:2])

    assert own >= oldest_client(own)


@st.composite
def clusters(draw: st.DrawFn) -> Observation:
    """Three members of which any pod may be updated, down, silent, terminating or lagging."""
    made, leader = observe(), draw(st.integers(0, 2))
    pods, members, nodes = [], [], dict(made.nodes)
    for pod, member in zip(made.pods, made.members or (), strict=True):
        at = pod.ordinal
        if draw(st.booleans()):
            pods.append(replace(pod, ready_since=NOW - timedelta(minutes=5)))
            members.append(replace(member, leader=at == leader))
            role = State.LEADER if at == leader else State.FOLLOWER
            nodes[at] = replace(nodes[at], state=role, leader_id=leader + 1)
            continue
        ready, silent = draw(st.booleans()), draw(st.integers(0, 3)) == 0
        changes = {"ready": ready, "terminating": not ready and draw(st.booleans())}
        since = NOW - timedelta(seconds=draw(st.sampled_from([0, 60, 900])))
        changes |= {"ready_since": since} if ready else {"unready_since": since}
        pods.append(replace(pod, revision=draw(st.sampled_from(["old", "new"])), **changes))
        members.append(replace(member, leader=at == leader, active=draw(st.integers(0, 3)) > 0))
        state = State.LEADER if at == leader else draw(st.sampled_from([*State]))
        nodes[at] = replace(nodes[at], state=state, leader_id=leader + 1)
        if silent:
            del nodes[at]
    return replace(made, pods=tuple(pods), members=tuple(members), nodes=nodes)


@given(
    clusters(),
    st.integers(1, 4),
    st.sampled_from([{"approval": "Manual"}, {"maintenanceWindows": SHUT}]),
)
def test_no_rule_takes_a_healthy_member_down_without_consent(
    observed: Observation, wanted: int, upgrade: dict
) -> None:
    asked = cluster(**upgrade)
    asked = asked.model_copy(update={"spec": asked.spec.model_copy(update={"replicas": wanted})})

    step = arbitration.arbitrate(asked, observed).step

    assert not isinstance(step, TransferLeadership) or step.urgent
    if isinstance(step, ReplacePod):
        pod = next(one for one in observed.pods if one.uid == step.uid)
        assert not pod.ready
    if isinstance(step, RemoveMember):
        member = next(one for one in observed.members if one.id == step.member)
        assert not observed.participates(member)


def test_the_same_clusters_are_changed_with_consent() -> None:
    """The property above is about something."""
    assert isinstance(
        arbitration.arbitrate(cluster(minReadySeconds=0), ready(observe())).step, ReplacePod
    )
    waits = arbitration.arbitrate(cluster(approval="Manual", minReadySeconds=0), ready(observe()))
    assert waits.step.reason == consent.APPROVAL


def ready(observed: Observation) -> Observation:
    pods = tuple(replace(one, ready_since=NOW - timedelta(minutes=5)) for one in observed.pods)
    return replace(observed, pods=pods)
