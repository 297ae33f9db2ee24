"""`kubectl delete namespace` with the operator and a cluster inside ends: nothing holds it up."""

import json

import pytest

from demo.clusters import Cluster
from demo.kubectl import CommandError, Kubectl, eventually

pytestmark = pytest.mark.e2e

NAMESPACE = "amaters-goes"
KINDS = (
    "amatersclusters,amatersaccesses,statefulsets,pods,services,configmaps,"
    "poddisruptionbudgets,serviceaccounts,leases"
)


def is_gone(kubectl: Kubectl) -> bool:
    try:
        kubectl("get", "namespace", NAMESPACE)
    except CommandError as error:
        return "NotFound" in str(error)
    return False


def test_a_namespace_with_the_operator_and_a_cluster_in_it_can_be_deleted(operator_inside):
    inside = operator_inside(NAMESPACE)
    cluster = Cluster(inside, "inside")
    cluster.create(replicas=3)
    cluster.until_ready(3)
    objects = json.loads(inside("get", KINDS, "--output", "json"))["items"]
    held = {
        f"{one['kind']} {one['metadata']['name']}": one["metadata"]["finalizers"]
        for one in objects
        if one["metadata"].get("finalizers")
    }
    assert held == {}, "a finalizer needs its owner to end, and the owner goes too"

    inside("delete", "namespace", NAMESPACE, "--wait=false")

    eventually("the namespace is gone", lambda: is_gone(inside), within=120)
