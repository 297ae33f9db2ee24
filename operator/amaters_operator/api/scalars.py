"""The small types of the resource: quantities, names, free-form objects, and the model base."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([EPTGMk]i?|m)?$"

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=32)]

# Kubernetes lets people write `cpu: 2` as well as `cpu: "2"`.
ResourceAmount = Annotated[
    int | str,
    WithJsonSchema({"x-kubernetes-int-or-string": True}),
]

# Kubernetes' own types, passed on as they are: copying their schema would only age badly.
FreeObject = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]

ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253),
]

Timestamp = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Part(BaseModel):
    """A piece of the resource: camelCase outside, frozen inside, unknown fields ignored.

    Unknown fields are the API server's business: it has pruned them already, and an operator
    that is older than the installed CRD must go on working.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
    )


def rule(expression: str, message: str) -> dict[str, str]:
    """Return one CEL rule; the message tells a person what to do instead."""
    return {"rule": expression, "message": message}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Return the rules as the schema extension that Kubernetes evaluates on every write."""
    return {"x-kubernetes-validations": list(each)}
