"""At the end of the e2e run: the rights that the operator has used are those that it has.

The file's name lets it run last. The operator's pods count every request, kopf's included.
"""

import re

import pytest
from amaters_operator.kube.rights import GRANTS, LEASE_GRANTS

from demo.kubectl import Kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]

SERIES = re.compile(
    r'^amaters_operator_api_requests_total\{code="(?P<code>\w+)",resource="(?P<resource>[^"]+)",'
    r'verb="(?P<verb>\w+)"\} (?P<count>[\d.e+]+)$',
    re.MULTILINE,
)
GRANTED = {
    (right.qualified, right.verb) for grant in (*GRANTS, *LEASE_GRANTS) for right in grant.rights
}
RARE = {
    # The test bed has no Prometheus Operator; a charted PodDisruptionBudget is seldom disabled.
    *(("servicemonitors.monitoring.coreos.com", verb) for verb in ("get", "create", "patch")),
    ("servicemonitors.monitoring.coreos.com", "delete"),
    ("poddisruptionbudgets.policy", "delete"),
    ("networkpolicies.networking.k8s.io", "delete"),
    ("persistentvolumeclaims", "delete"),
}
"""What a run may go without; the fast world uses each (`tests/operator/test_charts.py`)."""


def counted(kubectl: Kubectl) -> dict[tuple[str, str, str], float]:
    """Return the requests of all operator pods, by resource, verb and code."""
    found: dict[tuple[str, str, str], float] = {}
    pods = kubectl.items("pods", "app.kubernetes.io/name=amaters-operator")
    for pod in pods:
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{name}:8080/proxy/metrics"
        for one in SERIES.finditer(kubectl("get", "--raw", path)):
            key = (one["resource"], one["verb"], one["code"])
            found[key] = found.get(key, 0) + float(one["count"])
    return found


@pytest.fixture
def requests(operator: Kubectl) -> dict[tuple[str, str, str], float]:
    found = counted(operator)
    assert found, "no pod of the operator has counted a request"
    return found


def test_no_right_was_missing(requests):
    assert {key: count for key, count in requests.items() if key[2] in ("401", "403")} == {}


def test_only_granted_rights_were_used(requests):
    used = {(resource, verb) for resource, verb, _ in requests}

    assert used - GRANTED == {("(discovery)", "get")}


def test_every_granted_right_was_used(requests, request: pytest.FixtureRequest):
    files = {item.path for item in request.session.items}
    whole = set(request.path.parent.glob("test_*.py"))
    if files != whole:
        pytest.skip("only a run of all e2e tests uses every right")
    used = {(resource, verb) for resource, verb, _ in requests}
    # Applying creates what is missing, and the API server asks for both rights.
    used |= {(resource, "create") for resource, verb, code in requests if code == "201"}

    assert GRANTED - used - RARE == set()
