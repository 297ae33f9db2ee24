"""The linearizability check itself: against known histories, and against brute force."""

import itertools
from math import inf

import pytest
from amaters_server.testing.history import Operation, Outcome, violations
from hypothesis import given, settings
from hypothesis import strategies as st

K = b"k"


def put(value, invoked, returned, outcome=Outcome.OK):
    return Operation(1, K, True, value, invoked, returned, outcome)


def get(value, invoked, returned):
    return Operation(2, K, False, value, invoked, returned, Outcome.OK)


def test_a_read_may_see_a_write_that_is_under_way():
    assert not violations([put(b"a", 0, 10), get(b"a", 1, 2), get(b"a", 3, 4)])


def test_a_read_must_not_go_back_once_a_write_was_seen():
    assert violations([put(b"a", 0, 10), get(b"a", 1, 2), get(None, 3, 4)])


def test_a_read_after_a_write_must_see_it():
    assert violations([put(b"a", 0, 1), get(None, 2, 3)])


def test_a_read_must_not_see_a_value_that_was_replaced():
    assert violations([put(b"a", 0, 1), put(b"b", 2, 3), get(b"a", 4, 5)])


def test_a_value_nobody_wrote_is_an_error():
    assert violations([get(b"a", 0, 1)])


def test_a_write_reported_as_not_applied_must_not_be_seen():
    assert violations([put(b"a", 0, 1, Outcome.FAILED), get(b"a", 2, 3)])


def test_an_unknown_write_may_take_effect_late_or_never():
    unknown = put(b"a", 0, inf, Outcome.UNKNOWN)

    assert not violations([unknown, get(None, 5, 6)])
    assert not violations([unknown, get(None, 5, 6), get(b"a", 7, 8)])
    assert violations([unknown, get(b"a", 7, 8), get(None, 9, 10)])


def test_a_value_seen_before_it_was_written_is_an_error():
    assert violations([get(b"a", 0, 1), put(b"a", 2, 3)])


moments = st.integers(0, 12)


@st.composite
def histories(draw):
    """A few overlapping calls with values that may or may not fit together."""
    written = draw(st.integers(1, 3))
    values = [bytes([65 + one]) for one in range(written)]
    history = []
    for value in values:
        begin, length = draw(moments), draw(st.integers(1, 6))
        known = draw(st.booleans())
        end = begin + length if known else inf
        history.append(put(value, begin, end, Outcome.OK if known else Outcome.UNKNOWN))
    for _ in range(draw(st.integers(0, 4))):
        begin, length = draw(moments), draw(st.integers(1, 6))
        history.append(get(draw(st.sampled_from([None, *values])), begin + 0.5, begin + length))
    return history


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_verdict_is_that_of_trying_every_order(history):
    assert bool(violations(history)) == (not explainable(history))


def explainable(history):
    """Try every order of every choice of the unknown writes."""
    sure = [one for one in history if one.outcome is Outcome.OK]
    maybe = [one for one in history if one.outcome is Outcome.UNKNOWN]
    for count in range(len(maybe) + 1):
        for chosen in itertools.combinations(maybe, count):
            if in_some_order(frozenset([*sure, *chosen]), None):
                return True
    return False


def in_some_order(left, held):
    if not left:
        return True
    first_end = min(one.returned for one in left)
    for one in left:
        if one.invoked > first_end:
            continue
        if one.write:
            if in_some_order(left - {one}, one.value):
                return True
        elif one.value == held and in_some_order(left - {one}, held):
            return True
    return False
