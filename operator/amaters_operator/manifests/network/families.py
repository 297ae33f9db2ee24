"""IPv4, IPv6 or both: on Services, and where the nodes listen. Pure."""

from amaters_operator.api.members.networking import NetworkingSpec
from amaters_operator.manifests.names import Manifest


def everywhere(spec: NetworkingSpec, *, ipv6: bool) -> str:
    """Return the address that means all addresses of a pod, as a host in `host:port`.

    `ipv6` says that the pods' first address is one: kubelets and the operator use that one, whatever
    the Services are. Nodes that listen on `[::]` take IPv4 too.
    """
    dual = spec.ip_family_policy in ("PreferDualStack", "RequireDualStack")
    ours = ipv6 or dual or "IPv6" in spec.ip_families
    return "[::]" if ours else "0.0.0.0"  # noqa: S104 - the address of a pod is not known here


def of_service(spec: NetworkingSpec) -> Manifest:
    """Return the fields of a Service's spec; none of them leaves the choice to Kubernetes."""
    fields = {"ipFamilyPolicy": spec.ip_family_policy, "ipFamilies": list(spec.ip_families)}
    return {name: value for name, value in fields.items() if value}
