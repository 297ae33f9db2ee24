"""Whatever is wrong with a configuration, each line names its key once and ends in what to do."""

import re
from datetime import date
from pathlib import Path

import pytest
import tomli_w
from amaters_server.config.aliases import put
from amaters_server.config.keys import may_be_shown, section_of
from amaters_server.config.load import Sources, load
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SECRET = "hunter2"
FORBIDDEN = re.compile(
    r"Input should|value_error|type=|pydantic|Traceback|Section\b|valid (?:boolean|integer|string)"
    r"|datetime\.|PosixPath|Error\b"
)
NEXT_STEPS = re.compile(
    r"(?:^|[:;?.,] |, and |, or )(?:set|write|remove|use|name|correct|lower|raise|Write|Must be|describe"
    r"|list|add|rename|save|accept|encrypt) [^;]*$"
)
SHOWN = frozenset(
    f"cluster.{name}"
    for name in (
        "bind_address",
        "advertise_address",
        "client_advertise_address",
        "join",
        "peers",
        "name",
    )
)
"""Addresses and names: a fault shows them, though their table holds a secret."""
NAME = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
"""One of the names of a path, as TOML writes it."""
LONGEST_LINE = 1000


def every_key(section=Settings, prefix=""):
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = section_of(field.annotation)
        if inner is not None:
            yield from every_key(inner, f"{prefix}{name}.")


KEYS = tuple(every_key())
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "true",
        "5",
        "always",
        "lsm",
        "1:a:1",
        "a:0",
        "s3://b",
        "/f",
        "a\0b",
        "\x1b[31m",
        "[",
        "é",
    ]
) | st.text(st.characters(codec="utf-8"), max_size=8)
SIMPLE = (
    TEXTS
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 2**40 + 1])
    | st.floats()
    | st.booleans()
    | st.just(date(1979, 5, 27))
)
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


def with_secret(value: object) -> object:
    """Return the value with a secret in each of its texts, and in the place of a number."""
    if isinstance(value, dict):
        return {key: with_secret(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_secret(inner) for inner in value]
    return f"{value}{SECRET}" if isinstance(value, (str, int, float)) else value


@st.composite
def documents(draw):
    document: dict[str, object] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=6, unique=True)):
        value = draw(VALUES)
        harmless = key in SHOWN or may_be_shown(key.split("."))
        put(document, key, value if harmless else with_secret(value))
    return document


def lines(path: Path, text: str) -> list[str]:
    path.write_text(text)
    try:
        load(Sources(path=path))
    except ConfigurationError as refused:
        return str(refused).splitlines()
    return []


def require_clear(line: str, path: Path) -> None:
    assert line.isprintable()
    assert len(line) < LONGEST_LINE
    assert FORBIDDEN.search(line) is None, line
    assert SECRET not in line
    if re.fullmatch(r"\d+ more faults: correct these first", line):
        return
    assert NEXT_STEPS.search(line) is not None, line
    if line.startswith(f"Configuration file {path} "):
        return
    key = re.match(rf"{NAME}(?:\.{NAME})*(?=: )", line)
    assert key is not None, line
    assert len(re.findall(rf"(?<![\w.]){re.escape(key[0])}(?![\w.])", line)) == 1, line


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("broken") / "c.toml"


@given(documents())
@example({"server": {"data_dir": "a\0b"}})
@example({"auth": {"jwt": {"secret": ["a"]}}})
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_fault_is_one_clear_line(path, document):
    for line in lines(path, tomli_w.dumps(document)):
        require_clear(line, path)


@given(st.text(st.sampled_from("[]{}=\"'., \n#ab01.-_:/"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_is_no_toml_is_one_clear_line(path, text):
    for line in lines(path, text):
        require_clear(line, path)


@pytest.mark.parametrize(
    "line",
    [
        "server.x: Input should be a valid integer: write one",
        "server.x: server.x is wrong: write one",
        "server.x: it is wrong",
        f"auth.jwt.secret: {SECRET} is short: write a longer one",
        "Validation error: it is wrong: write one [server.x]",
    ],
)
def test_a_line_that_is_not_clear_is_found(path, line):
    with pytest.raises(AssertionError):
        require_clear(line, path)
