"""`spec.scheduling`: where the pods may run."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from amaters_operator.api.members import labels
from amaters_operator.api.members.labels import Labels
from amaters_operator.api.members.selectors import SELECTOR, array, requirement, struct
from amaters_operator.api.scalars import ApiModel, ObjectName, rule, rules

_NODE_LABEL: Final = requirement("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_NODE_TERM: Final = struct(
    matchExpressions=(array(_NODE_LABEL), "Requirements on the node's labels."),
    matchFields=(array(requirement("In", "NotIn")), "Requirements on the node's fields."),
)
_NODE_TERMS: Final = struct(
    "nodeSelectorTerms",
    nodeSelectorTerms=(array(_NODE_TERM, least=1), "Terms of which one must be fulfilled."),
)
_POD_TERM: Final = struct(
    "topologyKey",
    grows=True,
    topologyKey=(labels.key(), "Label of the nodes that says what counts as one place."),
    labelSelector=(SELECTOR, "Which pods are meant."),
    namespaceSelector=(SELECTOR, "Whose pods are meant, by the labels of their namespace."),
)
_WEIGHT: Final = ({"type": "integer", "minimum": 1, "maximum": 100}, "How much it counts.")
_REQUIRED: Final = "Must be fulfilled."
_PREFERRED: Final = "Is fulfilled where it can be."

_POD_AFFINITY: Final = struct(
    requiredDuringSchedulingIgnoredDuringExecution=(array(_POD_TERM), _REQUIRED),
    preferredDuringSchedulingIgnoredDuringExecution=(
        array(
            struct(
                "weight",
                "podAffinityTerm",
                weight=_WEIGHT,
                podAffinityTerm=(_POD_TERM, "Which pods, and what counts as one place."),
            )
        ),
        _PREFERRED,
    ),
)
_NODE_AFFINITY: Final = struct(
    requiredDuringSchedulingIgnoredDuringExecution=(_NODE_TERMS, _REQUIRED),
    preferredDuringSchedulingIgnoredDuringExecution=(
        array(
            struct(
                "weight",
                "preference",
                weight=_WEIGHT,
                preference=(_NODE_TERM, "Which nodes are preferred."),
            )
        ),
        _PREFERRED,
    ),
)
_AFFINITY: Final = struct(
    nodeAffinity=(_NODE_AFFINITY, "Which nodes."),
    podAffinity=(_POD_AFFINITY, "Beside which pods."),
    podAntiAffinity=(_POD_AFFINITY, "Apart from which pods."),
)
_COUNT: Final = {"type": "integer", "minimum": 1}
_POLICY: Final = {"type": "string", "enum": ["Honor", "Ignore"]}
_WHEN: Final = {"type": "string", "enum": ["DoNotSchedule", "ScheduleAnyway"]}
_SPREAD: Final = struct(
    "maxSkew",
    "topologyKey",
    "whenUnsatisfiable",
    grows=True,
    maxSkew=(_COUNT, "How uneven the spread may be."),
    minDomains=(_COUNT, "Least number of places."),
    topologyKey=(labels.key(), "Label of the nodes that says what counts as one place."),
    whenUnsatisfiable=(_WHEN, "What happens to a pod that does not fit."),
    labelSelector=(SELECTOR, "Which pods are counted."),
    nodeAffinityPolicy=(_POLICY, "Whether nodes count that the affinity rules out."),
    nodeTaintsPolicy=(_POLICY, "Whether nodes count whose taints are not tolerated."),
)

Affinity = Annotated[dict[str, Any], WithJsonSchema(_AFFINITY)]
SpreadConstraint = Annotated[dict[str, Any], WithJsonSchema(_SPREAD)]
TaintKey = Annotated[str, WithJsonSchema(labels.key())]
TaintValue = Annotated[str, WithJsonSchema(labels.value())]


class Toleration(ApiModel):
    """A taint that the pods tolerate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.key) || self.operator == 'Exists'",
                "a toleration without a key tolerates every taint: write operator: Exists with it, "
                "or the key",
            ),
            rule(
                "self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "operator Exists tolerates every value: drop the value, or write operator: Equal",
            ),
            rule(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds means something for effect: NoExecute only: write it, or drop "
                "the seconds",
            ),
        )
    )

    key: TaintKey | None = Field(default=None, description="Taint key; all keys when not set.")
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal", description="How the value is compared."
    )
    value: TaintValue | None = Field(default=None, description="Taint value, with operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; all effects when not set."
    )
    toleration_seconds: int | None = Field(
        default=None, description="How long a NoExecute taint is tolerated."
    )


class SchedulingSpec(ApiModel):
    """Where the pods may run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.onePerNode == 'Ignored' || !has(self.topologySpreadConstraints) || "
                "self.topologySpreadConstraints.all(one, "
                "one.topologyKey != 'kubernetes.io/hostname' || one.whenUnsatisfiable != "
                "(self.onePerNode == 'Preferred' ? 'ScheduleAnyway' : 'DoNotSchedule'))",
                "onePerNode makes a constraint over kubernetes.io/hostname already: write "
                "onePerNode: Ignored to have one of your own",
            ),
            rule(
                "!has(self.topologySpreadConstraints) || self.topologySpreadConstraints.all(one, "
                "self.topologySpreadConstraints.exists_one(other, "
                "other.topologyKey == one.topologyKey && "
                "other.whenUnsatisfiable == one.whenUnsatisfiable))",
                "two topologySpreadConstraints have the same topologyKey and whenUnsatisfiable: "
                "make one of them",
            ),
        )
    )

    one_per_node: Literal["Preferred", "Required", "Ignored"] = Field(
        default="Preferred",
        description=(
            "Whether members keep to different nodes. Required leaves a pod Pending rather than "
            "put two members on one node."
        ),
    )
    node_selector: Labels = Field(
        default={}, description="Labels a node must carry to run a member."
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=32, description="Taints that the pods tolerate."
    )
    affinity: Affinity | None = Field(
        default=None, description="A Kubernetes affinity, passed on to the pods unchanged."
    )
    topology_spread_constraints: list[SpreadConstraint] = Field(
        default=[],
        max_length=8,
        description="Further Kubernetes topology spread constraints, such as one over zones.",
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the pods."
    )
