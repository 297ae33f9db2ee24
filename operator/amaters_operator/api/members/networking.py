"""How clients and others reach the members: the Services, and who is let through."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from amaters_operator.api.members.labels import Annotations
from amaters_operator.api.members.selectors import LabelSelector
from amaters_operator.api.scalars import ApiModel, rule, rules

Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/?#@\s,]+)$", max_length=256)]


class ServiceSpec(ApiModel):
    """The Service that clients use."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="How the client Service is reached."
    )
    annotations: Annotations = Field(
        default={}, description="Annotations for the client Service, such as a load balancer's."
    )


class GatewaySpec(ApiModel):
    """The REST gateway of the members: HTTP and JSON on port 8080. A change rolls the pods."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.corsOrigins) || size(self.corsOrigins) < 2 || "
                "!self.corsOrigins.exists(one, one == '*')",
                "'*' is every origin: remove it, or all the others",
            ),
        )
    )

    enabled: bool = Field(
        default=False,
        description="Serve HTTP on port 8080, with the certificates and logins of port 7878.",
    )
    cors_origins: list[Origin] = Field(
        default=[],
        max_length=32,
        description=(
            "Origins whose web pages may read answers, such as https://app.example; '*' alone is "
            "every origin, without credentials of the browser."
        ),
    )
    max_body_bytes: int = Field(
        default=8388608, ge=1024, le=1073741824, description="Largest body of a request, bytes."
    )
    max_connections: int = Field(
        default=256, ge=1, le=100000, description="HTTP connections per node."
    )


class NetworkingSpec(ApiModel):
    """Address families of the Services and of the nodes' listeners."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.ipFamilies) || size(self.ipFamilies) < 2 || "
                "(has(self.ipFamilyPolicy) && self.ipFamilyPolicy != 'SingleStack')",
                "two ipFamilies need ipFamilyPolicy: PreferDualStack or RequireDualStack: write it, "
                "or keep one family",
            ),
            rule(
                "!has(self.ipFamilies) || size(self.ipFamilies) < 2 || "
                "self.ipFamilies[0] != self.ipFamilies[1]",
                "the two ipFamilies are the same: write IPv4 and IPv6, the first one first",
            ),
        )
    )

    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = Field(
        default=None,
        description=(
            "ipFamilyPolicy of the Services; Kubernetes' default when not set. With a dual stack "
            "the nodes listen on both families. A change of the families rolls the pods."
        ),
    )
    ip_families: list[Literal["IPv4", "IPv6"]] = Field(
        default=[],
        max_length=2,
        description=(
            "ipFamilies of the Services, the first one first; Kubernetes' default when not set. "
            "Kubernetes never changes the first family of a Service that exists."
        ),
    )


def _network(text: str) -> str:
    advice = f"write a network as ADDRESS/LENGTH, such as 10.0.0.0/8 or fd00::/64, got {text!r}"
    if "/" not in text:
        raise ValueError(advice)
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(advice) from None
    return text


Network = Annotated[
    str,
    AfterValidator(_network),
    WithJsonSchema({"type": "string", "format": "cidr", "maxLength": 64}),
]


class IpBlock(ApiModel):
    """Addresses outside of Kubernetes."""

    cidr: Network = Field(description="Network that is let through, such as 10.0.0.0/8.")
    except_: list[Network] = Field(
        default=[], alias="except", max_length=16, description="Parts of it that are not."
    )


class NetworkPeer(ApiModel):
    """Who is let through, as a Kubernetes NetworkPolicyPeer."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.podSelector) || has(self.namespaceSelector) || has(self.ipBlock)",
                "this peer names nobody: write podSelector, namespaceSelector or ipBlock; "
                "podSelector: {} is every pod of the namespace",
            ),
            rule(
                "!has(self.ipBlock) || (!has(self.podSelector) && !has(self.namespaceSelector))",
                "an ipBlock has no selectors beside it: write these as another peer",
            ),
        )
    )

    pod_selector: LabelSelector | None = Field(
        default=None,
        description="Pods of the cluster's namespace, or of namespaceSelector; {} is all of them.",
    )
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Namespaces, by their labels; {} is all of them."
    )
    ip_block: IpBlock | None = Field(
        default=None, description="Addresses outside of Kubernetes, such as a load balancer's."
    )


class NetworkPolicySpec(ApiModel):
    """Who may connect to the members; everybody else is refused.

    Members and the operator are always let through.
    """

    enabled: bool = Field(
        default=False,
        description=(
            "Create a NetworkPolicy. It has an effect where the network of Kubernetes enforces it."
        ),
    )
    clients: list[NetworkPeer] | None = Field(
        default=None,
        max_length=16,
        description=(
            "Who reaches port 7878, and the gateway's port 8080 where there is one. Every pod of the cluster's "
            "namespace when not set; nobody when empty."
        ),
    )
    monitoring: list[NetworkPeer] | None = Field(
        default=None,
        max_length=16,
        description=(
            "Who reaches port 9090, metrics. Pods labelled app.kubernetes.io/name: prometheus of "
            "every namespace when not set; nobody when empty. Kubelets always do."
        ),
    )
    administrators: list[NetworkPeer] = Field(
        default=[],
        max_length=16,
        description="Who reaches port 7879 in addition, such as pods that run amaters-cli.",
    )
