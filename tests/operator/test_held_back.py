"""What the last good revision is read from: any text is read, or left aside."""

import json

from amaters_operator.controllers import held_back
from hypothesis import given
from hypothesis import strategies as st

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.text() | values.map(json.dumps))
def test_any_recorded_text_is_tables_or_nothing(text: str) -> None:
    found = held_back.tables(text)

    assert found is None or all(isinstance(one, dict) for one in found.values())


@given(st.text() | values.map(lambda one: f"[cluster]\nvalue = {json.dumps(one)}\njoin = []"))
def test_any_file_is_settings_or_nothing(text: str) -> None:
    settings = held_back.file_settings(text)

    assert settings == "" or "join" not in json.loads(settings).get("cluster", {})


def test_dates_in_a_file_are_no_obstacle() -> None:
    assert held_back.tables(held_back.file_settings("[server]\nsince = 2026-01-01"))


def test_tables_that_never_end_are_nothing() -> None:
    assert held_back.tables('{"a":' * 100_000) is None
