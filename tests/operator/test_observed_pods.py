"""What is read out of a Pod: the words of kubelet and scheduler."""

from datetime import UTC, datetime, timedelta

from amaters_operator.api.status import MemberStatus
from amaters_operator.controllers.observing import pods

NOW = datetime(2026, 3, 1, 15, tzinfo=UTC)


def pod(name: str = "orders-1", *, owner: str = "sts", deleted: bool = False, **status) -> dict:
    meta = {
        "name": name,
        "uid": f"uid-{name}",
        "labels": {"controller-revision-hash": "r1"},
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "ownerReferences": [{"uid": owner}],
    }
    if deleted:
        meta["deletionTimestamp"] = "2026-03-01T12:01:00Z"
    spec = {"nodeName": "node-a", "containers": [{"image": "amaters:1"}]}
    return {"metadata": meta, "spec": spec, "status": status}


def one(manifest: dict, *known: MemberStatus, now: datetime = NOW):
    [observed] = pods.observed([manifest], owner="sts", known=known, now=now)
    return observed


def recorded(observed, since: str) -> MemberStatus:
    """The status as it was written of a pod that was seen so."""
    return MemberStatus(
        pod=observed.name,
        role="",
        ready=observed.ready,
        since=since,
        transition=observed.transition,
    )


def container(**facts) -> dict:
    return {"containerStatuses": [{"restartCount": 0} | facts]}


READY = {
    "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:09Z"}
    ],
    "podIP": "10.0.0.7",
}


def test_pods_of_other_owners_are_not_ours() -> None:
    assert pods.observed([pod(owner="other")], owner="sts", known=(), now=NOW) == ()


def test_pods_come_by_number_not_by_name() -> None:
    three = [pod("orders-10"), pod("orders-9"), pod("orders-0")]
    found = pods.observed(three, owner="sts", known=(), now=NOW)

    assert [each.ordinal for each in found] == [0, 9, 10]


def test_a_ready_pod() -> None:
    observed = one(pod(**READY))

    assert observed.ready
    assert (observed.ready_since, observed.unready_since) == (NOW, None)
    assert (observed.ip, observed.node, observed.revision, observed.image) == (
        "10.0.0.7",
        "node-a",
        "r1",
        "amaters:1",
    )
    assert observed.problem == ""


def test_since_when_it_is_ready_is_recorded_and_never_its_machines_word() -> None:
    first = one(pod(**READY), now=NOW)
    later = one(pod(**READY), recorded(first, "2026-03-01T15:00:00Z"), now=NOW + timedelta(hours=1))

    assert (first.ready_since, later.ready_since) == (NOW, NOW)


def test_another_pod_or_another_transition_counts_from_now() -> None:
    old = recorded(one(pod(**READY)), "2026-03-01T15:00:00Z")
    now = NOW + timedelta(minutes=1)
    again = {
        "conditions": [READY["conditions"][0] | {"lastTransitionTime": "2026-03-01T12:00:30Z"}]
    }
    another = pod(**READY)
    another["metadata"]["uid"] = "uid-of-another"

    assert one(pod(**again), old, now=now).ready_since == now
    assert one(another, old, now=now).ready_since == now
    assert one(pod(deleted=True, **READY), old, now=now).unready_since == now


def test_where_nothing_was_recorded_it_counts_from_the_pods_creation() -> None:
    known = MemberStatus(pod="orders-1", role="Follower", ready=True)
    created = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert one(pod(**READY), known).ready_since == created
    assert one(pod(), known).unready_since == NOW


def test_a_pod_that_goes_is_not_ready_whatever_the_kubelet_last_said() -> None:
    observed = one(pod(deleted=True, **READY))

    assert observed.terminating
    assert not observed.ready


def test_an_image_that_cannot_be_pulled() -> None:
    waiting = {"reason": "ErrImagePull", "message": "not found"}

    assert one(pod(**container(state={"waiting": waiting}))).problem == "ErrImagePull: not found"


def test_a_crash_loop_reports_the_last_words() -> None:
    ended = {"exitCode": 2, "reason": "Error", "message": "config: unknown key\n"}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    observed = one(pod(**container(state=state, lastState={"terminated": ended})))

    assert observed.problem == (
        "CrashLoopBackOff: the last run ended with code 2 (Error): config: unknown key"
    )


def test_of_a_traceback_only_the_error_is_reported() -> None:
    said = "Traceback (most recent call last):\n  File a, line 5\nOSError: disk gone\n"
    ended = {"exitCode": 1, "reason": "Error", "message": said}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    observed = one(pod(**container(state=state, lastState={"terminated": ended})))

    assert observed.problem.endswith("with code 1 (Error): OSError: disk gone")


def test_a_container_that_crashed_before_is_in_trouble_between_two_crashes() -> None:
    ended = {"exitCode": 1, "reason": "Error"}
    facts = {"state": {"running": {}}, "lastState": {"terminated": ended}, "restartCount": 3}

    assert one(pod(**container(**facts))).problem.startswith("crashed 3 times")


def test_a_container_that_merely_starts_is_in_no_trouble() -> None:
    for reason in ("ContainerCreating", "PodInitializing"):
        waiting = {"waiting": {"reason": reason}}
        assert one(pod(**container(state=waiting))).problem == ""


def test_a_pod_without_a_place() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
    }

    assert one(pod(conditions=[condition])).problem == "Unschedulable: 0/3 nodes are available"
    mishap = condition | {"reason": "SchedulerError"}
    assert one(pod(conditions=[mishap])).problem == ""


def test_an_evicted_pod() -> None:
    observed = one(pod(phase="Failed", reason="Evicted", message="The node was low on memory."))

    assert observed.problem == "Evicted: The node was low on memory."


def test_long_troubles_are_cut() -> None:
    waiting = {"reason": "CreateContainerError", "message": "x" * 5000}

    assert len(one(pod(**container(state={"waiting": waiting}))).problem) == 300
