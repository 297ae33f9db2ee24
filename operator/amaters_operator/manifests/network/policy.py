"""The NetworkPolicy of the members: what is not listed here is refused. Pure."""

from collections.abc import Sequence

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.members.networking import NetworkPeer
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.shape import OperatorPods

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label of every namespace with its name; the API server sets it."""

_NAMESPACE: Sequence[Manifest] = ({"podSelector": {}},)
_PROMETHEUS: Sequence[Manifest] = (
    {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    },
)


def network_policy(cluster: AmatersCluster, operator: OperatorPods | None) -> Manifest:
    """Return the policy. Connections that pods open are not restricted.

    `operator` are the pods that administer the members; they must be known for a policy that is
    applied.
    """
    spec = cluster.spec.network_policy
    members = {"podSelector": {"matchLabels": names.selector_labels(cluster)}}
    ours = [] if operator is None else [_operator(operator)]
    served = [names.CLIENT_PORT]
    served += [names.GATEWAY_PORT] if cluster.spec.gateway.enabled else []
    # Members may use each other's client ports: `kubectl exec` of amaters-cli goes there.
    allowed = [
        _rule([members, *ours], *served, names.PEER_PORT),
        _rule(_peers(spec.clients, _NAMESPACE), *served),
        _rule(_peers(spec.monitoring, _PROMETHEUS), names.HTTP_PORT),
        _rule(_peers(spec.administrators, ()), names.PEER_PORT),
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.metadata(cluster, cluster.name),
        "spec": {
            "podSelector": {"matchLabels": names.selector_labels(cluster)},
            "policyTypes": ["Ingress"],
            # A rule without peers would let everybody through.
            "ingress": [one for one in allowed if one["from"]],
        },
    }


def _operator(pods: OperatorPods) -> Manifest:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: pods.namespace}},
        "podSelector": {"matchLabels": dict(pods.labels)},
    }


def _peers(wanted: Sequence[NetworkPeer] | None, usual: Sequence[Manifest]) -> list[Manifest]:
    if wanted is None:
        return [dict(one) for one in usual]
    return [
        one.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for one in wanted
    ]


def _rule(peers: list[Manifest], *ports: int) -> Manifest:
    return {"from": peers, "ports": [{"protocol": "TCP", "port": port} for port in ports]}
