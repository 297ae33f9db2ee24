"""Masks secrets in objects and logs, by the field's name and by how they look. Pure.

Secrets of Kubernetes are never read for a bundle. This is for what people wrote in other places:
environment variables, configuration, annotations, addresses, and what programs logged. It masks
too much rather than too little.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

MASK: Final = "***"

_MARKS: Final = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"signature|authorization|cookie|session[_-]?key|encryption[_-]?key|hmac"
)
_NAME: Final = re.compile(_MARKS, re.IGNORECASE)
_POINTS_ELSEWHERE: Final = re.compile(
    r"(?:name|names|ref|file|path|dir|audience|issuer|kind|type|source|format|class|version|index|"
    r"mode|policy|manager)$",
    re.IGNORECASE,
)
"""Ends of names whose value says where a secret is, and is none."""
_DROPPED: Final = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
"""Copies of the object; what they hold is shown once already."""

_PAIR: Final = re.compile(
    rf"(?<![\w.-])(?P<name>[\w.-]{{0,64}}?(?:{_MARKS})[\w.-]{{0,64}})(?P<between>\\?[\"']?\s{{0,4}}[=:]\s{{0,4}})"
    r"(?P<value>\\?\"(?:[^\"\\]|\\[^\"])*\\?\"|'[^']*'|[^\s,;&}\]\"']+)",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]{1,63}")
_PLAIN: Final = re.compile(r"(?:true|false|null|none|-?\d{1,10}(?:\.\d+)?[smh]?)", re.IGNORECASE)
_BLOB: Final = re.compile(r"(?<![\w+/-])[A-Za-z0-9_+/-]{32,}={0,2}")
_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(
            r"-----BEGIN ([A-Z ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.DOTALL
        ),
        rf"-----BEGIN \1----- {MASK}",
    ),
    (re.compile(r"\b(Bearer|Basic|Negotiate)\s+[\w.~+/=-]{4,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(?<=\w://)[^/\s@\"']+@"), f"{MASK}@"),
    (re.compile(r"(?<![\w-])amk_[\w-]{20,}"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
)


class Redaction:
    """Masks, and counts how often it did."""

    def __init__(self) -> None:
        self.count = 0

    def text(self, said: str) -> str:
        """Return the text without secrets."""
        for pattern, by in _PATTERNS:
            said, times = pattern.subn(by, said)
            self.count += times
        said = _PAIR.sub(self._counted(_pair), said)
        return _BLOB.sub(self._counted(_blob), said)

    def value(self, source: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
        """Return a JSON value without secrets, and without copies of itself."""
        match source:
            case dict():
                return self._fields(source)
            case list():
                return list(self._elements(source, name))
            case str():
                if _holds_secret(name) and source and not _PLAIN.fullmatch(source):
                    self.count += 1
                    return MASK
                return self._text_or_json(source)
            case _:
                return source

    def _text_or_json(self, source: str) -> str:
        try:
            inner = _structure(source)
            return self.text(source) if inner is None else json.dumps(self.value(inner))
        except RecursionError:
            return MASK  # Nothing of use is nested that deep.

    def _elements(self, source: list[Any], name: str) -> Iterator[Any]:
        """Yield the elements; what follows an option such as --password is its value."""
        option = ""
        for one in source:
            yield self.value(one, option or name)
            option = one.lstrip("-") if isinstance(one, str) and _OPTION.fullmatch(one) else ""

    def _fields(self, source: dict[str, Any]) -> dict[str, Any]:
        named = source.get("name")
        if isinstance(named, str) and isinstance(source.get("value"), str):
            # A variable of a container: its name decides.
            return {
                key: self.value(one, named if key == "value" else key)
                for key, one in source.items()
            }
        return {key: self.value(one, key) for key, one in source.items() if key not in _DROPPED}

    def _counted(self, mask: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        def masked(found: re.Match[str]) -> str:
            after = mask(found)
            self.count += after != found[0]
            return after

        return masked


def _structure(source: str) -> dict[str, Any] | list[Any] | None:
    """Return the JSON in a text, such as a pod template in an annotation; None without any."""
    if not source.lstrip().startswith(("{", "[")):
        return None
    try:
        found = json.loads(source)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _holds_secret(name: str) -> bool:
    return bool(_NAME.search(name)) and not _POINTS_ELSEWHERE.search(name)


def _pair(found: re.Match[str]) -> str:
    value = found["value"].strip("\\\"'")
    if not _holds_secret(found["name"]) or not value or _PLAIN.fullmatch(value) or value == MASK:
        return found[0]
    quote = re.match(r"\\?[\"']?", found["value"])
    mark = quote[0] if quote else ""
    return f"{found['name']}{found['between']}{mark}{MASK}{mark}"


def _blob(found: re.Match[str]) -> str:
    """Mask what looks random: upper and lower case and digits, as in keys and base64."""
    said = found[0]
    kinds = (str.isupper, str.islower, str.isdigit)
    return MASK if all(any(kind(one) for one in said) for kind in kinds) else said
