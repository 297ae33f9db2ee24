"""Collections are counted by seeking from one to the next."""

import pytest
from amaters_server.machine import census
from amaters_server.machine.view import MachineView
from amaters_server.model.keys import collection_end, data_key
from hypothesis import given
from hypothesis import strategies as st

names = st.text(max_size=3)


def view(*keys: bytes) -> MachineView:
    return MachineView(None, dict.fromkeys(sorted(keys), b"v"))


@given(st.sets(st.tuples(names, st.binary(max_size=3)), max_size=12))
def test_every_collection_is_counted_once(rows):
    seen = view(*(data_key(name, key) for name, key in rows))

    assert census.count_collections(seen) == (len({name for name, _ in rows}), True)


@given(names, st.binary(max_size=3), names)
def test_the_end_of_a_collection_is_above_its_keys_and_below_the_next(name, key, other):
    end = collection_end(data_key(name, key))

    assert data_key(name, b"\xff" * 65_536) < end
    if other != name:
        assert (data_key(other, b"") < end) == (data_key(other, b"\xff" * 65_536) < end)


def test_too_many_are_not_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(census, "MOST_COUNTED", 2)

    assert census.count_collections(view(*(data_key(one, b"") for one in "abc"))) == (2, False)
