"""The kinds of objects that the operator touches, and where the API keeps them."""

from dataclasses import dataclass

from amaters_operator.api.access import ACCESS_KIND, ACCESS_PLURAL
from amaters_operator.api.cluster import GROUP, KIND, PLURAL, VERSION
from amaters_operator.manifests.names import Manifest


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    group: str
    version: str
    name: str
    plural: str

    @property
    def api_version(self) -> str:
        """Return `group/version`, as a manifest spells it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Return the path under which the group's version is served."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, an object, or an object's subresource."""
        parts = [self.root, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


CLUSTER = Kind(GROUP, VERSION, KIND, PLURAL)
ACCESS = Kind(GROUP, VERSION, ACCESS_KIND, ACCESS_PLURAL)
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
SECRET = Kind("", "v1", "Secret", "secrets")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
EVENT = Kind("events.k8s.io", "v1", "Event", "events")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")

ALL = (
    CLUSTER,
    ACCESS,
    POD,
    SERVICE,
    SECRET,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    CLAIM,
    STATEFUL_SET,
    BUDGET,
    NETWORK_POLICY,
    MONITOR,
    EVENT,
    LEASE,
)
_BY_NAME = {(kind.api_version, kind.name): kind for kind in ALL}


def of(manifest: Manifest) -> Kind:
    """Return the kind of a manifest that the operator made; KeyError for any other."""
    return _BY_NAME[manifest["apiVersion"], manifest["kind"]]
