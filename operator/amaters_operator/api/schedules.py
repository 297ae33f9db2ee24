"""Cron expressions and time zones. Pure.

Only the schema holds the rules. `decisions.cron` checks what they let through, and what
an older object says.
"""

from typing import Annotated, Final

from pydantic import Field

from amaters_operator.api.scalars import form, rule, rules

_MINUTE: Final = "[0-5]?[0-9]"
_HOUR: Final = "(2[0-3]|[01]?[0-9])"
_DAY: Final = "(3[01]|[12][0-9]|0?[1-9])"
_MONTH: Final = "(1[0-2]|0?[1-9]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_WEEKDAY: Final = "(0?[0-7]|sun|mon|tue|wed|thu|fri|sat)"


def _field(one: str, *others: str) -> str:
    """Return the pattern of a field: parts of one value or a range, with a step or without."""
    part = f"([*?]|{one}(-{one})?)(/[1-9][0-9]?)?"
    either = "|".join((part, *others))
    return f"({either})(,({either}))*"


SCHEDULE_PATTERN: Final = "(?i)^ *{} *$".format(
    " +".join(
        (
            _field(_MINUTE),
            _field(_HOUR),
            _field(_DAY, "l"),
            _field(_MONTH),
            _field(_WEEKDAY, f"l{_WEEKDAY}", f"{_WEEKDAY}#[1-5]"),
        )
    )
)
SCHEDULE_MESSAGE: Final = (
    "write five fields: minute 0-59, hour 0-23, day of month 1-31, month 1-12, day of week 0-7, "
    "such as 0 3 * * *"
)
ZONE_PATTERN: Final = "^[A-Za-z][A-Za-z0-9+_/-]*$"
ZONE_MESSAGE: Final = "write an IANA time zone, such as Europe/Berlin or UTC"

Schedule = Annotated[
    str,
    Field(max_length=128, json_schema_extra=form(SCHEDULE_PATTERN, SCHEDULE_MESSAGE)),
]

# The API server knows the zones: a CronJob's timeZone needs them.
TimeZone = Annotated[
    str,
    Field(
        max_length=64,
        json_schema_extra={"pattern": ZONE_PATTERN}
        | rules(
            rule(
                f"self.matches('{ZONE_PATTERN}') && self != 'Local' && "
                "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
                ZONE_MESSAGE,
            )
        ),
    ),
]
