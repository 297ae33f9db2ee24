"""The text form of AQL: what it means, and what is wrong with it, to the column."""

from contextlib import suppress

import pytest
from amaters.cli.aql.lexing import AqlError
from amaters.cli.aql.parsing import parse
from amaters.cli.aql.statements import (
    EVERYTHING,
    And,
    Assignment,
    Compare,
    Comparison,
    Condition,
    Filter,
    Not,
    Operator,
    Or,
    Update,
    depth,
    shown,
)
from amaters.cli.commands.tables.queries import where
from amaters.data import codec
from amaters.values import Filter as Filter_
from amaters.wire import types_pb2
from hypothesis import given
from hypothesis import strategies as st


def eq(value: bytes, column: str = "value") -> Compare:
    return Compare(Comparison.EQ, value, column)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("value = 'a'", eq(b"a")),
        ('age == "a\'b"', eq(b"a'b", "age")),
        ("v = 'it''s'", eq(b"it's", "v")),
        ("v = 'a\\n\\'\\\\'", eq(b"a\n'\\", "v")),
        ("v=-12.5", eq(b"-12.5", "v")),
        ("v = 0x00fF", eq(b"\x00\xff", "v")),
        ("v = grüße", eq("grüße".encode(), "v")),
        ("v != x", Not(eq(b"x", "v"))),
        ("v <> x", Not(eq(b"x", "v"))),
        ("v = a or v = b and v = c", Or(eq(b"a", "v"), And(eq(b"b", "v"), eq(b"c", "v")))),
        ("(v = a || v = b) && ! v = c", And(Or(eq(b"a", "v"), eq(b"b", "v")), Not(eq(b"c", "v")))),
        ("v IN (a, 'b')", Or(eq(b"a", "v"), eq(b"b", "v"))),
        ("v not in (a)", Not(eq(b"a", "v"))),
        (
            "v BETWEEN 1 AND 2",
            And(Compare(Comparison.GTE, b"1", "v"), Compare(Comparison.LTE, b"2", "v")),
        ),
        (
            "v BEGINS WITH ab",
            And(Compare(Comparison.GTE, b"ab", "v"), Compare(Comparison.LT, b"ac", "v")),
        ),
        ("v BEGINS WITH 0xff", Compare(Comparison.GTE, b"\xff", "v")),
        ("*", EVERYTHING),
    ],
)
def test_conditions(text: str, meaning: Condition) -> None:
    assert parse(text) == Filter(meaning)


def test_a_filter_names_its_collection_and_its_part() -> None:
    assert parse("FROM users WHERE v = a LIMIT 5 OFFSET 10;") == Filter(
        eq(b"a", "v"), "users", 5, 10
    )
    assert parse("from 'my users'") == Filter(EVERYTHING, "my users")
    assert parse("* limit 3") == Filter(EVERYTHING, None, 3)


def test_updates() -> None:
    assert parse("UPDATE SET value = 'x', value += 0x01, v *= 0x02 WHERE v = a") == Update(
        (
            Assignment(Operator.SET, b"x"),
            Assignment(Operator.ADD, b"\x01"),
            Assignment(Operator.MUL, b"\x02", "v"),
        ),
        eq(b"a", "v"),
    )
    assert parse("update users set value = x where *") == Update(
        (Assignment(Operator.SET, b"x"),), EVERYTHING, "users"
    )


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "the condition is missing"),
        ("age >= 18 AND >= 5", 15, "a column such as value must be here, not >="),
        ("age >=", 7, "a value must follow >=, and here is the end"),
        ("age >= AND", 8, "a value must follow >=, and here is AND"),
        ("age 18", 5, "a comparison must follow age"),
        ("(v = a", 1, "this bracket is not closed"),
        ("v IN (a, b", 6, "this bracket is not closed"),
        ("v = 'abc", 5, "the quote ' is not closed"),
        ("v = a v = b", 7, "v is unexpected: join conditions by AND or OR"),
        ("v = #", 5, "'#' has no meaning here"),
        ("v = 0x123", 5, "half a byte"),
        ("key = a", 1, "conditions are on values"),
        ("v NOT = a", 7, "must follow NOT"),
        ("v BETWEEN 1 OR 2", 13, "AND must follow"),
        ("v BEGINS a", 10, "WITH must follow BEGINS"),
        ("* LIMIT x", 9, "a number must follow LIMIT, not x"),
        ("* LIMIT 4294967296", 9, "LIMIT is at most 4294967295"),
        ("* LIMIT ²", 9, "a number must follow LIMIT"),
        ("UPDATE SET v = 1", 17, "WHERE is missing"),
        ("UPDATE SET v < 1", 14, "=, += or *= must follow v"),
        ("UPDATE WHERE *", 8, "the name of a collection must follow UPDATE"),
        ("!" * 40 + "*", 33, "nested more than 32 deep"),
        ("(v = a and " * 32 + "*" + ")" * 32, 343, "nested more than 32 deep"),
        ("v = a" + " or v = a" * 500, 4506, "more than 500 conditions in a row"),
        ("x" * 65_537, 65_536, "at most 65536 characters"),
    ],
)
def test_what_is_wrong_is_named_with_its_column(text: str, column: int, said: str) -> None:
    with pytest.raises(AqlError) as raised:
        parse(text)

    message, piece, mark = str(raised.value).split("\n")
    assert message.startswith(f"column {column}: ")
    assert said in message
    if column <= len(text):
        assert piece[mark.index("^")] == text[column - 1]


@given(
    st.recursive(
        st.builds(Compare, st.sampled_from(Comparison), st.binary(max_size=9)),
        lambda inner: (
            st.builds(And, inner, inner) | st.builds(Or, inner, inner) | st.builds(Not, inner)
        ),
        max_leaves=9,
    )
)
def test_a_shown_condition_means_the_same(condition: Condition) -> None:
    assert parse(shown(condition)) == Filter(condition)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["v", "=", "(", ")", "AND", "NOT", "IN", "'a'", ",", "*", "<"])).map(
        " ".join
    )
)
def test_any_text_is_a_statement_or_an_error_of_ours(text: str) -> None:
    with suppress(AqlError):
        parse(text)


def test_what_is_in_a_row_is_not_nested() -> None:
    among = parse(f"v in ({', '.join(map(str, range(500)))})")
    joined = parse(" and ".join(["v = a"] * 500))

    for one in (among, joined):
        assert depth(one.condition) == 10
        blob = types_pb2.Predicate.FromString(
            codec.predicate(where(one.condition)).SerializeToString()
        )
        assert blob.ByteSize() > 500


def test_the_deepest_condition_can_be_sent() -> None:
    deepest = parse("!" * 31 + "v = a")

    message = codec.query(Filter_("c", where(deepest.condition)), now=0)

    assert type(message).FromString(message.SerializeToString()) == message
