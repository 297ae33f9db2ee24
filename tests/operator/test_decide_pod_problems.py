"""Why a pod does not do its part: for each fact one true text with what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.decisions import pod_problems
from amaters_operator.decisions.observation import Cause, Observation, Pod, PodWarnings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POD = Pod("orders-1", 1, "uid-1", "rev-1", node="node2", unready_since=NOW - timedelta(minutes=1))


def judged(warning: PodWarnings | None = None, **facts: object) -> pod_problems.PodProblem | None:
    observed = Observation(NOW, pods=(POD,), warnings={1: warning} if warning else {})
    return pod_problems.of(observed, replace(POD, **facts))


def placeless(message: str) -> dict[str, object]:
    return {"cause": Cause.UNSCHEDULABLE, "problem": f"Unschedulable: {message}"}


MISSING_CLASS = PodWarnings(
    claim='ProvisioningFailed: storageclass.storage.k8s.io "nope" not found'
)
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
TABLE = [
    (
        placeless("1 node(s) were unschedulable, 2 node(s) had volume node affinity conflict"),
        None,
        "NodeNotAvailable",
        ["Uncordon that node", "delete pvc data-orders-1 --wait=false", "delete pod orders-1"],
    ),
    (
        placeless("3 node(s) didn't match PersistentVolume's node affinity"),
        None,
        "NodeNotAvailable",
        ["takes no pods", "Uncordon that node"],
    ),
    (
        placeless("3 Insufficient memory"),
        None,
        "NoNodeFits",
        ["3 Insufficient memory", "correct spec.scheduling or spec.resources"],
    ),
    (
        placeless(UNBOUND),
        MISSING_CLASS,
        "VolumeNotBound",
        [
            'storageclass.storage.k8s.io "nope" not found',
            "spec.storage.className cannot be changed",
        ],
    ),
    (
        {"cause": Cause.IMAGE, "problem": "ErrImagePull: not found"},
        None,
        "ImageNotPulled",
        ["ErrImagePull: not found", "Correct spec.image"],
    ),
    (
        {
            "cause": Cause.CONFIGURATION,
            "problem": 'CreateContainerConfigError: secret "a" not found',
        },
        None,
        "PodNotConfigured",
        ['secret "a" not found', "Create what it names"],
    ),
    (
        {"cause": Cause.CRASH, "problem": "CrashLoopBackOff: the last run ended with code 1"},
        None,
        "PodCrashes",
        ["code 1", "`kubectl logs orders-1 --previous`"],
    ),
    (
        {"cause": Cause.ENDED, "problem": "Evicted: low on memory"},
        None,
        "PodEnded",
        ["low on memory", "Its StatefulSet replaces it"],
    ),
    (
        {},
        PodWarnings(pod='FailedMount: MountVolume.SetUp failed: secret "orders-tls" not found'),
        "PodNotStarted",
        ['secret "orders-tls" not found', "Correct that"],
    ),
    (
        {"terminating": True, "due": NOW - timedelta(seconds=70)},
        None,
        "PodStuckTerminating",
        [
            "its deadline to terminate passed 70 s ago",
            "kubelet of node2 has not confirmed",
            "Only when it certainly",
        ],
    ),
    (
        {"terminating": True, "due": NOW - timedelta(seconds=70), "finalizers": ("a.io/b",)},
        None,
        "PodStuckTerminating",
        ["its finalizers keep it: a.io/b"],
    ),
]


@pytest.mark.parametrize(("facts", "warning", "reason", "words"), TABLE)
def test_each_fact_has_its_text(facts, warning, reason: str, words: list[str]) -> None:
    found = judged(warning, **facts)

    assert found is not None
    assert found.reason == reason
    assert not [one for one in words if one not in found.text]
    assert "orrect the spec" not in found.text or found.by_spec


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"ready": True, "unready_since": None},
        {"terminating": True, "due": NOW + timedelta(seconds=20)},
        {"terminating": True, "due": NOW - timedelta(seconds=5)},
    ],
)
def test_a_pod_that_takes_its_time_is_in_no_trouble(facts) -> None:
    assert judged(**facts) is None


def test_a_pod_that_kubernetes_does_not_make_is_not_described_but_explained() -> None:
    why = 'FailedCreate: pods "orders-1" is forbidden: exceeded quota: small'
    found = pod_problems.absent(
        Observation(NOW, warnings={1: PodWarnings(creation=why)}), "orders-1", 1
    )

    assert found is not None
    assert (found.reason, found.final) == ("PodRefused", True)
    assert "the pod does not exist" in found.text
    assert "exceeded quota: small. Raise the quota, or correct the spec" in found.text
    assert "describe pod" not in found.text


def test_a_pod_that_is_being_made_is_in_no_trouble() -> None:
    assert pod_problems.absent(Observation(NOW), "orders-1", 1) is None
