"""The two Services: one for clients, one that names every pod. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.network import families


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
            **families.of_service(cluster.spec.networking),
            "selector": names.selector_labels(cluster),
            "ports": [
                _port("client", names.CLIENT_PORT, protocol=_spoken(cluster)),
                *_gateway(cluster),
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
            **families.of_service(cluster.spec.networking),
            # Members must find each other before they are ready, or none becomes ready.
            "publishNotReadyAddresses": True,
            "selector": names.selector_labels(cluster),
            "ports": [
                _port("peers", names.PEER_PORT, protocol=_spoken(cluster)),
                _port("client", names.CLIENT_PORT, protocol=_spoken(cluster)),
                *_gateway(cluster),
                _port("http", names.HTTP_PORT, protocol="http"),
            ],
        },
    }


def _gateway(cluster: AmatersCluster) -> list[Manifest]:
    """Return the gateway's port, if it has one; the nodes end its TLS themselves."""
    if not cluster.spec.gateway.enabled:
        return []
    protocol = "http" if cluster.spec.tls is None else "https"
    return [_port("gateway", names.GATEWAY_PORT, protocol=protocol)]


def _spoken(cluster: AmatersCluster) -> str:
    """Return the appProtocol of the gRPC ports: a mesh must leave TLS of the nodes' own alone."""
    return "grpc" if cluster.spec.tls is None else "tls"


def _port(name: str, number: int, *, protocol: str) -> Manifest:
    return {
        "name": name,
        "port": number,
        "targetPort": name,
        "protocol": "TCP",
        "appProtocol": protocol,
    }
