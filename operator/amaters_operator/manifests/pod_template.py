"""The pod of a member: unprivileged, read-only except for its data. Pure."""

from typing import Any

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import ApiModel
from amaters_operator.api.spec import BackupSpec
from amaters_operator.manifests import config, identity, names
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.shape import Shape

CONTAINER = "amaters"
USER = 10001
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def template(cluster: AmatersCluster, shape: Shape) -> Manifest:
    """Return the pod template. Every change in here rolls the pods."""
    spec = cluster.spec
    restart = {names.RESTART_ANNOTATION: config.restart_hash(cluster, shape)}
    if shape.restart_token:
        restart[names.RESTART_TOKEN_ANNOTATION] = shape.restart_token
    return {
        "metadata": {
            "labels": dict(spec.pod_labels) | names.labels(cluster),
            "annotations": dict(spec.pod_annotations) | restart,
        },
        "spec": {
            "serviceAccountName": cluster.name,
            # A node that checks tokens of pods has one of its own in the volume of its configuration.
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
            "securityContext": _pod_security(cluster),
            "imagePullSecrets": [{"name": name} for name in spec.image_pull_secrets],
            "containers": [_container(cluster)],
            "volumes": _volumes(cluster),
            **_placement(cluster),
        },
    }


def _pod_security(cluster: AmatersCluster) -> Manifest:
    spec = cluster.spec.pod_security
    ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), USER)
    ours: Manifest = {
        "runAsNonRoot": True,
        **(ids if spec.user_ids == "Fixed" else {}),
        # Changing the owner of every file of a large volume would delay each restart.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return _with(ours, spec.pod)


def _container_security(cluster: AmatersCluster) -> Manifest:
    ours: Manifest = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return _with(ours, cluster.spec.pod_security.container)


def _with(ours: Manifest, theirs: Manifest) -> Manifest:
    """Return ours with each field of theirs; who adds a capability still drops the others."""
    merged = ours | theirs
    if "capabilities" in ours:
        merged["capabilities"] = ours["capabilities"] | merged["capabilities"]
    return merged


def _container(cluster: AmatersCluster) -> Manifest:
    spec = cluster.spec
    resources = {
        "requests": dict(spec.resources.requests),
        "limits": dict(spec.resources.limits),
    }
    return {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy,
        "args": _arguments(cluster),
        "env": _environment(),
        "ports": [
            {"name": "client", "containerPort": names.CLIENT_PORT, "protocol": "TCP"},
            {"name": "peers", "containerPort": names.PEER_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
            *_gateway_port(cluster),
        ],
        "resources": {kind: amounts for kind, amounts in resources.items() if amounts},
        "securityContext": _container_security(cluster),
        "volumeMounts": [
            {"name": "data", "mountPath": config.DATA_FOLDER},
            {"name": "config", "mountPath": config.FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
        # The last log lines of a node that ends go to its pod's status, and from there to ours.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "startupProbe": _probe("/livez", period=1, failures=300),
        "readinessProbe": _probe("/readyz", period=1, failures=2),
        # Slow on purpose: killing a member that is merely busy does not help.
        "livenessProbe": _probe("/livez", period=10, failures=6),
    }


def _gateway_port(cluster: AmatersCluster) -> list[Manifest]:
    if not cluster.spec.gateway.enabled:
        return []
    return [{"name": "gateway", "containerPort": names.GATEWAY_PORT, "protocol": "TCP"}]


def _arguments(cluster: AmatersCluster) -> list[str]:
    host = f"$(POD_NAME).{names.peers_service(cluster)}.$(POD_NAMESPACE).svc"
    return [
        "start",
        "--config",
        f"{config.FOLDER}/{config.FILE_NAME}",
        "--name",
        "$(POD_NAME)",
        "--advertise",
        f"{host}:{names.PEER_PORT}",
        "--client-advertise",
        f"{host}:{names.CLIENT_PORT}",
    ]


def _environment() -> list[Manifest]:
    return [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": min(5, max(2, period)),
        "failureThreshold": failures,
    }


def _volumes(cluster: AmatersCluster) -> list[Manifest]:
    keys_path = config.KEYS_FOLDER.removeprefix(f"{config.FOLDER}/")
    # One volume for both: a node never reads a new configuration with old certificates.
    sources: list[Manifest] = [{"configMap": {"name": names.config_map(cluster)}}]
    if cluster.spec.tls is not None:
        items = [{"key": key, "path": f"tls/{key}"} for key in ("tls.crt", "tls.key", "ca.crt")]
        sources.append({"secret": {"name": cluster.spec.tls.secret_name, "items": items}})
    items = [{"key": key, "path": f"{keys_path}/{key}"} for key in STORE_KEYS]
    keys = {"name": names.credentials_secret(cluster), "items": items, "optional": True}
    sources.append({"secret": keys})
    if secret := cluster.spec.alerts.webhook_secret_name:
        # Optional: a database must not wait for the address of a pager.
        items = [{"key": "url", "path": config.WEBHOOK_FILE.removeprefix(f"{config.FOLDER}/")}]
        sources.append({"secret": {"name": secret, "items": items, "optional": True}})
    if cluster.spec.backup is not None:
        sources.extend(_store_sources(cluster.spec.backup))
    sources.extend(identity.sources(cluster.spec))
    return [
        {"name": "config", "projected": {"defaultMode": 0o440, "sources": sources}},
        {"name": "tmp", "emptyDir": {}},
    ]


def _store_sources(backup: BackupSpec) -> list[Manifest]:
    """Return what a node trusts a store by, and what it proves to be with there."""
    found: list[Manifest] = []
    if backup.ca_secret_name is not None:
        # Optional: a database must not wait for the certificate of a store.
        items = [{"key": "ca.crt", "path": config.STORE_CA.removeprefix(f"{config.FOLDER}/")}]
        secret = {"name": backup.ca_secret_name, "items": items, "optional": True}
        found.append({"secret": secret})
    if backup.web_identity is not None:
        path = config.STORE_TOKEN.removeprefix(f"{config.FOLDER}/")
        token = {"path": path, "audience": backup.web_identity.audience}
        found.append(
            {"serviceAccountToken": {**token, "expirationSeconds": identity.TOKEN_SECONDS}}
        )
    return found


def _placement(cluster: AmatersCluster) -> Manifest:
    spec = cluster.spec.scheduling
    placement: dict[str, Any] = {
        "nodeSelector": dict(spec.node_selector),
        "tolerations": [_as_written(one) for one in spec.tolerations],
        "affinity": spec.affinity,
        "topologySpreadConstraints": [*_one_per_node(cluster), *spec.topology_spread_constraints],
        "priorityClassName": spec.priority_class_name,
    }
    return {key: value for key, value in placement.items() if value}


def _one_per_node(cluster: AmatersCluster) -> list[Manifest]:
    spec = cluster.spec.scheduling.one_per_node
    if spec == "Ignored":
        return []
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway" if spec == "Preferred" else "DoNotSchedule",
            "labelSelector": {"matchLabels": names.selector_labels(cluster)},
        }
    ]


def _as_written(part: ApiModel) -> Manifest:
    return part.model_dump(by_alias=True, exclude_none=True)
