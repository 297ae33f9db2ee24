"""What the cache of results keeps, what it drops, and what it counts."""

import pytest
from amaters_server.cache import Question, ResultCache
from amaters_server.cache import results as module
from amaters_server.cache.fingerprint import fingerprint
from amaters_server.model.keys import data_key
from hypothesis import given
from hypothesis import strategies as st


def question(start: bytes = b"b", end: bytes = b"d", collection: str = "c", **more) -> Question:
    return Question(
        data_key(collection, start), data_key(collection, end), 2 + len(collection), **more
    )


@pytest.fixture
def cache() -> ResultCache:
    return ResultCache(max_entries=3, max_bytes=100_000)


def ask(cache: ResultCache, asked: Question, answer: bytes = b"answer") -> bytes | None:
    """Return the answer that was kept; without one, put this one there."""
    with cache.asked(asked) as one:
        found = one.answer
        if found is None:
            one.answer = answer
    return found


def test_an_answer_is_kept_until_something_in_its_range_changes(cache):
    assert ask(cache, question()) is None
    assert ask(cache, question()) == b"answer"

    cache.changed(7, {data_key("c", b"c"): b"new"})

    assert ask(cache, question(), b"later") is None
    assert ask(cache, question()) == b"later"
    counts = cache.counts
    assert (counts.hits, counts.misses, counts.invalidations, counts.evictions) == (2, 2, 1, 0)


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        (data_key("c", b"a\xff"), True),
        (data_key("c", b"b"), False),
        (data_key("c", b"c\xff"), False),
        (data_key("c", b"d"), True),
        (data_key("", b"c"), True),
        (data_key("cc", b"c"), True),
        (data_key("d", b"c"), True),
    ],
)
@pytest.mark.parametrize("value", [b"new", None])
def test_a_change_counts_from_the_start_of_the_range_to_before_its_end(cache, key, value, kept):
    ask(cache, question())

    cache.changed(7, {data_key("a", b"x"): b"", key: value, data_key("x", b"x"): b""})

    assert (ask(cache, question()) is not None) == kept


def test_an_answer_whose_range_changed_while_it_was_collected_is_not_kept(cache):
    with cache.asked(question()) as one:
        cache.changed(8, {data_key("c", b"b"): None})
        one.answer = b"of before"

    assert ask(cache, question()) is None


def test_an_answer_that_never_came_is_not_kept(cache):
    with pytest.raises(TimeoutError), cache.asked(question()):
        raise TimeoutError

    assert ask(cache, question()) is None
    assert len(cache._watched) == 1


def test_two_that_ask_at_the_same_time_keep_one_answer(cache):
    with cache.asked(question()) as one, cache.asked(question()) as other:
        one.answer = other.answer = b"same"

    assert len(cache) == 1
    assert sum(map(len, cache._watched.values())) == 1
    cache.changed(9, {data_key("c", b"b"): b""})
    assert (len(cache), cache.size_bytes, cache._watched) == (0, 0, {})


def test_an_answer_knows_the_entry_from_which_it_is_valid(cache):
    cache.changed(41, {data_key("z", b""): b""})
    with cache.asked(question()) as one:
        one.answer = b""

    assert one.since == 41


def test_the_answer_used_longest_ago_goes_first(cache):
    for name in (b"1", b"2", b"3"):
        ask(cache, question(start=name))
    ask(cache, question(start=b"1"))

    ask(cache, question(start=b"4"))

    assert ask(cache, question(start=b"1")) is not None
    assert cache.counts.evictions == 1
    assert ask(cache, question(start=b"2")) is None


def test_answers_together_never_take_more_than_they_may():
    cache = ResultCache(max_entries=1000, max_bytes=10_000)
    for number in range(50):
        ask(cache, question(limit=number), b"x" * 1000)

    assert cache.size_bytes <= 10_000
    assert len(cache) == 7
    assert ask(cache, question(limit=49)) is not None


def test_an_answer_that_would_drive_out_most_others_is_not_kept():
    cache = ResultCache(max_entries=1000, max_bytes=10_000)

    assert ask(cache, question(), b"x" * 2500) is None
    assert ask(cache, question(), b"x" * 2500) is None


def test_a_collection_has_so_many_answers_at_most(monkeypatch):
    monkeypatch.setattr(module, "MOST_IN_A_COLLECTION", 4)
    cache = ResultCache(max_entries=1000, max_bytes=1_000_000)
    ask(cache, question(collection="other"))
    for number in range(9):
        ask(cache, question(limit=number))

    assert len(cache._watched[question().collection]) == 4
    assert ask(cache, question(collection="other")) is not None
    assert ask(cache, question(limit=8)) is not None


@pytest.mark.parametrize("how", ["replaced", "cleared"])
def test_nothing_is_left_once_all_data_is_replaced(cache, how):
    ask(cache, question())
    with cache.asked(question(start=b"c")) as one:
        if how == "cleared":
            cache.clear()
        else:
            cache.changed(9, None)
        one.answer = b"of before"

    assert (len(cache), cache.size_bytes, cache._watched) == (0, 0, {})


@pytest.mark.parametrize(
    "other",
    [
        {"start": b"c"},
        {"end": b"e"},
        {"collection": "d"},
        {"offset": 1},
        {"limit": 0},
        {"limit": 1},
        {"predicate": b"p"},
    ],
)
def test_every_part_of_a_question_makes_another_one(other):
    assert question(**other).key() != question().key()


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_parts_are_told_apart_wherever_one_ends(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
