"""Labels and annotations as Kubernetes accepts them: checked when they are written. Pure.

Only the schema holds the rules: an operator that reads an older object keeps working, and the
conditions report what the API server refuses.
"""

from typing import Annotated, Any, Final

from pydantic import WithJsonSchema

from amaters_operator.api.scalars import form, rule, rules

LONGEST_NAME: Final = 63
LONGEST_KEY: Final = 317
"""A prefix of 253, a slash, and a name of 63."""
_MOST: Final = 64

KEY_PATTERN: Final = (
    "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
KEY_MESSAGE: Final = (
    "write a key as NAME or DOMAIN/NAME: letters, digits, dashes, dots and underscores, "
    "such as example.com/team"
)
VALUE_PATTERN: Final = "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
VALUE_MESSAGE: Final = (
    "write a label value of at most 63 letters, digits, dashes, dots and underscores that begins "
    "and ends with a letter or digit, without blanks, or an empty one"
)

_KEYS: Final = rule(f"self.all(key, key.matches('{KEY_PATTERN}'))", KEY_MESSAGE)


def key(description: str = "") -> dict[str, Any]:
    """Return the schema of a label's key."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_KEY,
        **form(KEY_PATTERN, KEY_MESSAGE),
        **({"description": description} if description else {}),
    }


def value() -> dict[str, Any]:
    """Return the schema of a label's value."""
    return {
        "type": "string",
        "maxLength": LONGEST_NAME,
        **form(VALUE_PATTERN, VALUE_MESSAGE),
    }


def labels() -> dict[str, Any]:
    """Return the schema of labels, also of those that select something."""
    return {
        "type": "object",
        "maxProperties": _MOST,
        "additionalProperties": value(),
        **rules(_KEYS),
    }


_ANNOTATIONS: Final = {
    "type": "object",
    "maxProperties": _MOST,
    "additionalProperties": {"type": "string"},
    **rules(_KEYS),
}

Labels = Annotated[dict[str, str], WithJsonSchema(labels())]
Annotations = Annotated[dict[str, str], WithJsonSchema(_ANNOTATIONS)]
