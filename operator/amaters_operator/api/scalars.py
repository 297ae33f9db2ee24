"""The small types of the resource: quantities, names, free-form objects, and the model base."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

_Value = TypeVar("_Value")


def rule(expression: str, message: str) -> dict[str, str]:
    """Return one CEL rule; the message says what to do instead."""
    return {"rule": expression, "message": message}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Return the rules as the schema extension that Kubernetes evaluates on every write."""
    return {"x-kubernetes-validations": list(each)}


def form(pattern: str, message: str) -> dict[str, Any]:
    """Return the schema of text of that form; the rule says in words what the pattern means."""
    return {"pattern": pattern} | rules(rule(f"self.matches('{pattern}')", message))


def _matching(pattern: str, message: str) -> Callable[[_Value], _Value]:
    """Return a check for text of that form; numbers pass."""
    compiled = re.compile(pattern)

    def check(value: _Value) -> _Value:
        if isinstance(value, str) and compiled.fullmatch(value) is None:
            raise ValueError(f"{message}, got {value!r}")
        return value

    return check


# No backslash in patterns: CEL strings hold them too, and there it escapes.
BYTES_PATTERN = "^([0-9]*[1-9][0-9]*([.][0-9]+)?|[0-9]+[.][0-9]*[1-9][0-9]*)([KMGTPE]i|[kMGTPE])?$"
BYTES_MESSAGE = "write an amount of bytes above zero, a number and a unit, such as 10Gi or 500Mi"
AMOUNT_PATTERN = "^([0-9]+[.]?[0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
AMOUNT_MESSAGE = "write an amount, a number and perhaps a unit, such as 500m, 2, 512Mi or 4Gi"
IMAGE_PATTERN = (
    "^([a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?/)?"
    "[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?(@[a-z0-9]+:[a-f0-9]+)?$"
)
IMAGE_MESSAGE = "write an image as REGISTRY/NAME:TAG or NAME@sha256:DIGEST, without spaces"

DURATION_PATTERN = "^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$"
DURATION_MESSAGE = (
    "write a time above zero in days, hours, minutes and seconds, such as 3d, 72h, 90m or 1h30m"
)

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}

SHARE_PATTERN = "^([1-9]|[1-8][0-9]|90)%$"
SHARE_MESSAGE = "write a share from 1% to 90%, such as 20%"
INCREASE_PATTERN = "^[1-9][0-9]{0,2}%$"
INCREASE_MESSAGE = "write an increase from 1% to 999%, such as 50%"

S3_PATTERN = "^s3://[A-Za-z0-9][A-Za-z0-9._-]+[A-Za-z0-9](/.*)?$"
DESTINATION_MESSAGE = "write bucket and prefix as s3://BUCKET/PREFIX, such as s3://backups/orders"
BACKUP_MESSAGE = (
    "write the backup as s3://BUCKET/KEY, as another cluster shows it in status.backup.last.uri, or "
    "the place it is in"
)

ByteAmount = Annotated[
    str,
    AfterValidator(_matching(BYTES_PATTERN, BYTES_MESSAGE)),
    Field(
        max_length=32,
        json_schema_extra=form(BYTES_PATTERN, BYTES_MESSAGE),
    ),
]


Share = Annotated[
    str,
    AfterValidator(_matching(SHARE_PATTERN, SHARE_MESSAGE)),
    Field(max_length=3, json_schema_extra=form(SHARE_PATTERN, SHARE_MESSAGE)),
]
"""Text such as 20%, at most 90%; `percent` reads it."""

Increase = Annotated[
    str,
    AfterValidator(_matching(INCREASE_PATTERN, INCREASE_MESSAGE)),
    Field(max_length=4, json_schema_extra=form(INCREASE_PATTERN, INCREASE_MESSAGE)),
]
"""Text such as 50%; `percent` reads it."""


def percent(text: str) -> int:
    """Return the number that a `Share` or an `Increase` names."""
    return int(text.removesuffix("%"))


def duration(text: str) -> timedelta:
    """Return the time that a `Duration` such as 1h30m names."""
    parts = {_UNITS[unit]: int(number) for number, unit in re.findall("([0-9]+)([dhms])", text)}
    return timedelta(**parts)


def seconds_of(field: str) -> str:
    """Return the CEL expression of a `Duration` in seconds."""
    found = [(f"{field}.find('[0-9]+{unit}')", unit, size) for unit, size in _SECONDS.items()]
    counted = [
        f"({part} == '' ? 0 : int({part}.replace('{unit}', '')) * {size})"
        for part, unit, size in found
    ]
    return f"({' + '.join(counted)})"


def _lasting(text: str) -> str:
    if not duration(text):
        raise ValueError(f"{DURATION_MESSAGE}, got {text!r}")
    return text


Duration = Annotated[
    str,
    AfterValidator(_matching(DURATION_PATTERN, DURATION_MESSAGE)),
    AfterValidator(_lasting),
    Field(
        min_length=2,
        max_length=24,
        json_schema_extra={"pattern": DURATION_PATTERN}
        | rules(
            rule(f"self.matches('{DURATION_PATTERN}') && self.matches('[1-9]')", DURATION_MESSAGE)
        ),
    ),
]
"""Text such as 3d, 72h, 90m or 1h30m; `duration` reads it."""

NEVER = "never"
_OR_NEVER_PATTERN = f"^({NEVER}|{DURATION_PATTERN.strip('^$')})$"
_OR_NEVER_MESSAGE = f"{DURATION_MESSAGE}; or never"

DurationOrNever = Annotated[
    str,
    AfterValidator(_matching(_OR_NEVER_PATTERN, _OR_NEVER_MESSAGE)),
    AfterValidator(lambda text: text if text == NEVER else _lasting(text)),
    Field(
        min_length=2,
        max_length=24,
        json_schema_extra={"pattern": _OR_NEVER_PATTERN}
        | rules(
            rule(
                f"self == '{NEVER}' || (self.matches('{DURATION_PATTERN}') && "
                "self.matches('[1-9]'))",
                _OR_NEVER_MESSAGE,
            )
        ),
    ),
]
"""As `Duration`, or never."""

ImageName = Annotated[
    str,
    AfterValidator(_matching(IMAGE_PATTERN, IMAGE_MESSAGE)),
    Field(
        min_length=1,
        max_length=512,
        json_schema_extra=form(IMAGE_PATTERN, IMAGE_MESSAGE),
    ),
]

# Kubernetes accepts `cpu: 2` as well as `cpu: "2"`.
ResourceAmount = Annotated[
    int | str,
    AfterValidator(_matching(AMOUNT_PATTERN, AMOUNT_MESSAGE)),
    WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": AMOUNT_PATTERN}
    ),
]

Resources = Annotated[
    dict[str, ResourceAmount],
    Field(
        json_schema_extra={"maxProperties": 7}
        | rules(
            rule(
                "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] || "
                "name.startsWith('hugepages-') || name.contains('/'))",
                "write cpu, memory, ephemeral-storage, hugepages-SIZE, or a resource of your own "
                "with its domain, such as example.com/gpu",
            )
        ),
    ),
]

# Checked by the API server alone: an object from before these rules must not stop an operator.
Destination = Annotated[
    str,
    Field(max_length=1024, json_schema_extra=form(S3_PATTERN, DESTINATION_MESSAGE)),
]

BackupUri = Annotated[
    str,
    Field(min_length=1, max_length=1024, json_schema_extra=form(S3_PATTERN, BACKUP_MESSAGE)),
]

ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253),
]


def timestamp_text(moment: datetime) -> str:
    """Return the moment as Kubernetes writes it: in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: moment.astimezone(UTC).replace(microsecond=0)),
    PlainSerializer(timestamp_text, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class ApiModel(BaseModel):
    """A part of the resource: camelCase outside, frozen inside, unknown fields ignored.

    The API server has pruned unknown fields already, and an operator that is older than the
    installed CRD must keep working.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
    )
