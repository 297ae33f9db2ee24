"""The two Services: one for clients, one that names every pod. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest


def client(cluster: AmatersCluster) -> Manifest:
    """Return the Service that clients use: it has only ready members behind it."""
    spec = cluster.spec.service
    meta = names.metadata(cluster, cluster.name, annotations=dict(spec.annotations))
    meta["labels"] = meta["labels"] | {names.SERVICE_LABEL: "client"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "type": spec.type,
            "selector": names.selector_labels(cluster),
            "ports": [
                _port("client", names.CLIENT_PORT, protocol="" if cluster.spec.tls else "grpc"),
                _port("http", names.HTTP_PORT, protocol="http"),
            ],
        },
    }


def peers(cluster: AmatersCluster) -> Manifest:
    """Return the headless Service that gives each pod its own name."""
    meta = names.metadata(cluster, names.peers_service(cluster))
    meta["labels"] = meta["labels"] | {names.SERVICE_LABEL: "peers"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "clusterIP": "None",
            # Members must find each other before they are ready, or none becomes ready.
            "publishNotReadyAddresses": True,
            "selector": names.selector_labels(cluster),
            "ports": [
                _port("peers", names.PEER_PORT),
                _port("client", names.CLIENT_PORT),
                _port("http", names.HTTP_PORT, protocol="http"),
            ],
        },
    }


def _port(name: str, number: int, *, protocol: str = "") -> Manifest:
    port: Manifest = {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
    return port | ({"appProtocol": protocol} if protocol else {})
