"""Schemas of Kubernetes' own types, which are passed on unchanged. Pure.

They hold only what is certain, so that a misspelt operator is refused at once, and keep unknown
fields where Kubernetes may add some.
"""

from typing import Annotated, Any, Final, TypeAlias

from pydantic import WithJsonSchema

from amaters_operator.api.members import labels
from amaters_operator.api.scalars import rule, rules

Schema: TypeAlias = dict[str, Any]
_MOST: Final = 16


def array(items: Schema, *, least: int = 0) -> Schema:
    """Return a short list's schema."""
    made: Schema = {"type": "array", "maxItems": _MOST, "items": items}
    return made | ({"minItems": least} if least else {})


def struct(*required: str, grows: bool = False, **properties: tuple[Schema, str]) -> Schema:
    """Return an object's schema; one that `grows` keeps fields of later Kubernetes versions."""
    made: Schema = {
        "type": "object",
        "properties": {
            name: part | {"description": text} for name, (part, text) in properties.items()
        },
    }
    if required:
        made["required"] = list(required)
    return made | ({"x-kubernetes-preserve-unknown-fields": True} if grows else {})


def requirement(*operators: str) -> Schema:
    """Return the schema of a requirement: a key, an operator, and the values it needs."""
    counted = (
        "self.operator in ['Exists', 'DoesNotExist'] ? "
        "!has(self.values) || size(self.values) == 0 : "
        "self.operator in ['Gt', 'Lt'] ? has(self.values) && size(self.values) == 1 : "
        "has(self.values) && size(self.values) > 0"
    )
    message = (
        "In and NotIn need values, Gt and Lt exactly one, Exists and DoesNotExist none: "
        "correct operator or values"
    )
    values = {"type": "array", "maxItems": 32, "items": labels.value()}
    return struct(
        "key",
        "operator",
        key=(labels.key(), "Label key that the requirement is about."),
        operator=({"type": "string", "enum": list(operators)}, "How the label is compared."),
        values=(values, "Values that the label is compared with."),
    ) | rules(rule(counted, message))


_LABEL: Final = requirement("In", "NotIn", "Exists", "DoesNotExist")
SELECTOR: Final = struct(
    matchLabels=(labels.labels(), "Labels that must be there."),
    matchExpressions=(array(_LABEL), "Requirements on the labels."),
)
"""A label selector, checked by rules."""

_PLAIN: Final = {"type": "string", "maxLength": labels.LONGEST_KEY}
_PLAIN_SELECTOR: Final = struct(
    matchLabels=(
        {"type": "object", "maxProperties": _MOST, "additionalProperties": _PLAIN},
        "Labels that must be there.",
    ),
    matchExpressions=(
        array(
            struct(
                "key",
                "operator",
                key=(_PLAIN, "Label key that the requirement is about."),
                operator=(
                    {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                    "How the label is compared.",
                ),
                values=(array(_PLAIN), "Values that the label is compared with."),
            )
        ),
        "Requirements on the labels.",
    ),
)
# Rules in lists of lists would cost more than Kubernetes lets a whole CRD cost.
LabelSelector = Annotated[dict[str, Any], WithJsonSchema(_PLAIN_SELECTOR)]
"""A label selector, checked by Kubernetes when the operator applies it."""
