"""Tokens to a statement.

statement  = [FROM name] [WHERE] condition [LIMIT n] [OFFSET n]
| UPDATE [name] SET column (= | += | *=) value {, …} [WHERE condition]
condition  = condition OR condition | condition AND condition | NOT condition
| ( condition ) | * | column = value, != < <= > >=
| column [NOT] IN ( value {, value} ) | column [NOT] BETWEEN value AND value
| column [NOT] BEGINS WITH value
value      = 'text' | "text" | word | number | 0xHEX
"""

from collections.abc import Sequence

from amaters.cli.aql.lexing import AqlError, Kind, Token, tokens
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
    Statement,
    Update,
    depth,
)
from amaters.keys import END_OF_KEYS, prefix_end

DEEPEST = 32
"""How deep conditions may be nested: a message of protobuf is read to a depth of 100, and each
condition within another takes two."""
MOST_IN_A_ROW = 500
"""Values of one IN, and conditions joined by one word."""
LARGEST_NUMBER = 2**32 - 1

_RESERVED = frozenset(
    ("AND", "OR", "NOT", "IN", "BETWEEN", "BEGINS", "WHERE", "LIMIT", "OFFSET", "SET", "FROM")
)
_COMPARISONS = {
    "=": Comparison.EQ,
    "==": Comparison.EQ,
    "<": Comparison.LT,
    "<=": Comparison.LTE,
    ">": Comparison.GT,
    ">=": Comparison.GTE,
}


def parse(statement: str) -> Statement:
    """Return what the statement means; AqlError says what is wrong, and at which column."""
    return _Parser(statement).statement()


class _Parser:
    """Reads one statement from left to right, one token ahead."""

    def __init__(self, statement: str) -> None:
        self._text = statement
        self._tokens = list(tokens(statement))
        self._place = 0
        self._depth = 0

    def statement(self) -> Statement:
        found: Statement = self._update() if self._takes("UPDATE") else self._filter()
        if self._next.text == ";":
            self._place += 1
        if self._next.kind is not Kind.END:
            raise self._error(f"{self._next.shown} is unexpected: join conditions by AND or OR")
        if depth(found.condition) > DEEPEST:
            raise self._error(f"conditions are nested more than {DEEPEST} deep: split the query")
        return found

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _error(self, why: str, at: Token | None = None) -> AqlError:
        return AqlError(self._text, (at or self._next).column, why)

    def _take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._place += 1
        return token

    def _takes(self, *words: str) -> bool:
        """Whether one of these keywords or symbols is next; it is taken then."""
        token = self._next
        if token.keyword in words or (token.kind is Kind.SYMBOL and token.text in words):
            self._place += 1
            return True
        return False

    def _require(self, word: str, why: str) -> None:
        if not self._takes(word):
            raise self._error(f"{word} must follow {why}, and here is {self._next.shown}")

    def _filter(self) -> Filter:
        collection = self._name("FROM") if self._takes("FROM") else None
        self._takes("WHERE")
        if self._next.kind is Kind.END and collection is None:
            raise self._error("the condition is missing: write one such as value >= '100', or *")
        ends = self._next.kind is Kind.END or self._next.keyword in ("LIMIT", "OFFSET")
        condition = EVERYTHING if ends else self._condition()
        limit, offset = None, 0
        while self._next.keyword in ("LIMIT", "OFFSET"):
            word = self._take()
            number = self._number(word)
            limit, offset = (number, offset) if word.keyword == "LIMIT" else (limit, number)
        return Filter(condition, collection, limit, offset)

    def _update(self) -> Update:
        collection = None if self._next.keyword == "SET" else self._name("UPDATE")
        self._require("SET", "UPDATE")
        steps = [self._assignment()]
        while self._takes(","):
            steps.append(self._assignment())
        if self._takes("WHERE"):
            condition = self._condition()
        elif self._next.kind is Kind.END:
            raise self._error("WHERE is missing: write WHERE * to change every row")
        else:
            raise self._error(f"WHERE must follow, and here is {self._next.shown}")
        return Update(tuple(steps), condition, collection)

    def _assignment(self) -> Assignment:
        column = self._column()
        sign = self._take()
        try:
            operator = Operator(sign.text)
        except ValueError:
            raise self._error(f"=, += or *= must follow {column}", sign) from None
        return Assignment(operator, self._value(sign), column)

    def _condition(self) -> Condition:
        parts = [self._all()]
        while self._takes("OR", "||"):
            parts.append(self._all())
        return self._joined(Or, parts)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._takes("AND", "&&"):
            parts.append(self._one())
        return self._joined(And, parts)

    def _joined(self, kind: type[And] | type[Or], parts: Sequence[Condition]) -> Condition:
        """Join them as a tree that is as flat as can be."""
        if len(parts) > MOST_IN_A_ROW:
            raise self._error(f"more than {MOST_IN_A_ROW} conditions in a row: split the query")
        if len(parts) == 1:
            return parts[0]
        middle = (len(parts) + 1) // 2
        return kind(self._joined(kind, parts[:middle]), self._joined(kind, parts[middle:]))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"conditions are nested more than {DEEPEST} deep")
        try:
            if self._takes("NOT", "!"):
                return Not(self._one())
            if self._takes("*"):
                return EVERYTHING
            opening = self._next
            if self._takes("("):
                inner = self._condition()
                if not self._takes(")"):
                    raise self._error("this bracket is not closed", opening)
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        column = self._column()
        negated = self._takes("NOT")
        word = self._take()
        match word.keyword:
            case "IN":
                return self._maybe_not(self._among(column), negated)
            case "BETWEEN":
                least = self._value(word)
                self._require("AND", "the first value of BETWEEN")
                between = And(
                    Compare(Comparison.GTE, least, column),
                    Compare(Comparison.LTE, self._value(word), column),
                )
                return self._maybe_not(between, negated)
            case "BEGINS":
                self._require("WITH", "BEGINS")
                return self._maybe_not(_begins(self._value(word), column), negated)
            case _ if negated:
                raise self._error("IN, BETWEEN or BEGINS WITH must follow NOT here", word)
            case _:
                return self._relation(column, word)

    @staticmethod
    def _maybe_not(condition: Condition, negated: bool) -> Condition:
        return Not(condition) if negated else condition

    def _relation(self, column: str, sign: Token) -> Condition:
        if sign.text in ("!=", "<>"):
            return Not(Compare(Comparison.EQ, self._value(sign), column))
        comparison = _COMPARISONS.get(sign.text)
        if comparison is None:
            raise self._error(
                f"a comparison must follow {column}: =, !=, <, <=, >, >=, IN, BETWEEN or "
                "BEGINS WITH",
                sign,
            )
        return Compare(comparison, self._value(sign), column)

    def _among(self, column: str) -> Condition:
        opening = self._next
        self._require("(", "IN")
        values = [self._value(opening)]
        while self._takes(","):
            values.append(self._value(opening))
        if not self._takes(")"):
            raise self._error("this bracket is not closed", opening)
        parts: list[Condition] = [Compare(Comparison.EQ, one, column) for one in values]
        return self._joined(Or, parts)

    def _column(self) -> str:
        token = self._take()
        if token.kind is not Kind.WORD or token.keyword in _RESERVED:
            raise self._error(f"a column such as value must be here, not {token.shown}", token)
        if token.keyword == "KEY":
            raise self._error(
                "conditions are on values: select keys with `scan PREFIX` or `range START END`",
                token,
            )
        return token.text

    def _value(self, after: Token) -> bytes:
        token = self._take()
        plain = token.kind is Kind.WORD and token.keyword not in _RESERVED
        if not plain and token.kind not in (Kind.TEXT, Kind.BYTES):
            raise self._error(
                f"a value must follow {after.shown}, and here is {token.shown}", token
            )
        return token.value

    def _name(self, after: str) -> str:
        token = self._take()
        if token.kind not in (Kind.WORD, Kind.TEXT) or token.keyword in _RESERVED:
            raise self._error(f"the name of a collection must follow {after}", token)
        return token.value.decode(errors="surrogateescape")

    def _number(self, after: Token) -> int:
        token = self._take()
        if not (token.text.isascii() and token.text.isdecimal()) or len(token.text) > len(
            str(LARGEST_NUMBER)
        ):
            raise self._error(f"a number must follow {after.text}, not {token.shown}", token)
        if (number := int(token.text)) > LARGEST_NUMBER:
            raise self._error(f"{after.text} is at most {LARGEST_NUMBER}", token)
        return number


def _begins(prefix: bytes, column: str) -> Condition:
    first = Compare(Comparison.GTE, prefix, column)
    end = prefix_end(prefix)
    return first if end == END_OF_KEYS else And(first, Compare(Comparison.LT, end, column))
