"""`query` and `watch`: what they ask for, and how they end."""

import json
import time
from collections.abc import Callable

import pytest
from amaters.cli.commands.tables import queries
from amaters.testing.aql import FakeAql, stored
from amaters.wire import errors_pb2
from click.testing import Result

Cli = Callable[..., Result]


@pytest.fixture
def stock(served: FakeAql) -> FakeAql:
    for number in range(10):
        value = stored(b"%d" % number).SerializeToString()
        served.store.data["stock", b"k%d" % number] = value
    return served


def keys(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(one)["key"] for one in result.stdout.splitlines()]


def test_rows_that_match_are_listed_by_key(cli: Cli, stock: FakeAql) -> None:
    ask = ("-c", "stock", "-f", "ndjson", "query")

    assert keys(cli(*ask, "value >= 7")) == ["k7", "k8", "k9"]
    assert keys(cli(*ask, "v in (1, 4) or not v < 9")) == ["k1", "k4", "k9"]
    assert keys(cli(*ask, "v between 2 and 4 limit 2")) == ["k2", "k3"]
    assert keys(cli(*ask, "*", "--limit", "2", "--offset", "3")) == ["k3", "k4"]
    assert keys(cli("-f", "ndjson", "query", "from stock where v = 5")) == ["k5"]


def test_rows_come_in_pages(cli: Cli, stock: FakeAql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE_ROWS", 4)
    stock.refusals.append(
        errors_pb2.ErrorResponse(
            code=errors_pb2.ERROR_PROTOCOL_INVALID_REQUEST,
            message="too large",
            details="code=answer_too_large",
        )
    )

    found = keys(cli("-c", "stock", "-f", "ndjson", "query", "* limit 9"))

    assert found == [f"k{number}" for number in range(9)]
    asked = [(one.query.filter.offset, one.query.filter.limit) for one in stock.requests]  # type: ignore[union-attr]
    assert asked == [(0, 4), *((number, 1) for number in range(9))]


def test_a_table_and_a_json_object(cli: Cli, stock: FakeAql) -> None:
    table = cli("-c", "stock", "query", "v >= 8")
    as_json = json.loads(cli("-c", "stock", "-f", "json", "query", "v >= 8").stdout)

    assert "Total: 2 results" in table.stdout
    assert (as_json["operation"], as_json["count"]) == ("query", 2)


def test_rows_that_match_are_changed(cli: Cli, stock: FakeAql) -> None:
    result = cli("-c", "stock", "query", "UPDATE SET value = 'x' WHERE value < '3'")
    again = json.loads(cli("-c", "stock", "-f", "json", "query", "UPDATE SET v = y WHERE *").stdout)

    assert result.stdout == "✓ Changed 3 rows of stock\n"
    assert again["affected_rows"] == 10
    assert cli("query", "UPDATE SET v = y WHERE *", "--limit", "3").exit_code == 2


def test_explaining_sends_nothing(cli: Cli, stock: FakeAql) -> None:
    listed = cli(
        "query", "--explain", "from stock where a != 1 and b begins with 0xff limit 5 offset 2"
    )
    changed = cli("query", "--explain", "update set v = 1 where *")

    assert listed.stdout == (
        "list 5 rows after the first 2 of stock where (NOT a = '1' AND b >= 0xff)\n"
    )
    assert changed.stdout == "change every value of default where value >= ''\n"
    assert stock.requests == []


def test_an_error_points_at_its_column(cli: Cli) -> None:
    result = cli("query", "value >= 18 AND >= 5")

    assert result.exit_code == 1
    assert result.stderr == (
        "✗ Error: column 17: a column such as value must be here, not >=\n"
        "  value >= 18 AND >= 5\n"
        "                  ^\n"
    )


def test_watching_repeats_a_command(cli: Cli, stock: FakeAql) -> None:
    begun = time.monotonic()

    result = cli("-c", "stock", "-f", "nul", "watch", "-n", "3", "0.1", "get", "k1", "--raw")

    assert (result.exit_code, result.stdout) == (0, "111")
    assert time.monotonic() - begun >= 0.2
    assert result.stderr.count("get k1 --raw") == 3


def test_a_run_that_fails_does_not_end_the_watch(bare: Cli) -> None:
    result = bare("-s", "127.0.0.1:1", "watch", "-n", "2", "0.1", "get", "k")

    assert result.exit_code == 1
    assert result.stderr.count("cannot connect") == 2


def test_what_does_not_end_is_not_watched(cli: Cli) -> None:
    assert cli("watch", "1", "watch", "1", "get", "k").exit_code == 2
    assert cli("watch", "1", "fly").exit_code == 2
    assert cli("watch", "0", "get", "k").exit_code == 2
