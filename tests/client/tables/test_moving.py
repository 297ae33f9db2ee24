"""`import` and `export`: there and back, interrupted and continued, and never half done."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from amaters.cli.commands.tables.progress import Pace
from amaters.testing.aql import CallContext, FakeAql, stored
from amaters.testing.threads import serve_in_threads
from amaters.wire import aql_pb2, errors_pb2
from click.testing import Result

Cli = Callable[..., Result]


def fill(fake: FakeAql, rows: int, collection: str = "default") -> dict[bytes, bytes]:
    held = {f"k{number:05}".encode(): f"värde {number}\n".encode() for number in range(rows)}
    for key, value in held.items():
        fake.store.data[collection, key] = stored(value).SerializeToString()
    return held


def values(fake: FakeAql, collection: str) -> dict[bytes, bytes]:
    blobs = {key: data for (name, key), data in fake.store.data.items() if name == collection}
    return {key: stored(b"").FromString(data).data for key, data in blobs.items()}


@pytest.mark.parametrize("ending", ["ndjson", "csv", "nul"])
def test_a_collection_goes_into_a_file_and_back(
    cli: Cli, served: FakeAql, tmp_path: Path, ending: str
) -> None:
    held = fill(served, 1201)
    target = tmp_path / f"table.{ending}"

    out = cli("-f", "json", "export", str(target))
    back = cli("-c", "copy", "-f", "json", "import", str(target))

    assert (out.exit_code, back.exit_code) == (0, 0), out.stderr + back.stderr
    assert json.loads(out.stdout)["rows"] == json.loads(back.stdout)["rows"] == 1201
    assert values(served, "copy") == held
    assert [one.name for one in tmp_path.iterdir()] == [target.name]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_part_is_selected_by_its_keys(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    fill(served, 200)

    some = cli("export", "-", "--prefix", "k0000").stdout.splitlines()
    span = cli("export", "-", "--start", "k00198", "--as", "csv").stdout.splitlines()

    assert len(some) == 10
    assert span[0] == "key,value"
    assert [one[:6] for one in span[1::2]] == ["k00198", "k00199"]
    assert cli("export", "-", "--prefix", "a", "--end", "b").exit_code == 2


def test_a_file_that_exists_is_kept(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    fill(served, 1)
    target = tmp_path / "table.ndjson"
    target.write_text("mine")

    refused = cli("export", str(target))
    assert (refused.exit_code, target.read_text()) == (1, "mine")
    assert "--force" in refused.stderr

    assert cli("export", str(target), "--force").exit_code == 0
    assert "k00000" in target.read_text()


def test_an_export_that_fails_is_continued_where_it_ended(
    cli: Cli, served: FakeAql, tmp_path: Path
) -> None:
    held = fill(served, 700)
    served.store.data["default", b"k00500x"] = stored(b"\0").SerializeToString()
    target = tmp_path / "table.nul"

    failed = cli("export", str(target))

    assert failed.exit_code == 1
    assert "400 rows are in" in failed.stderr
    assert "use ndjson or csv" in failed.stderr
    assert not target.exists()
    del served.store.data["default", b"k00500x"]
    for row in range(400):
        del served.store.data["default", f"k{row:05}".encode()]
    with (tmp_path / "table.nul.partial").open("ab") as file:
        file.write(b"half a reco")
    continued = cli("export", str(target), "--resume")
    assert continued.exit_code == 0, continued.stderr
    assert target.read_bytes() == b"".join(b"%b\0%b\0" % row for row in sorted(held.items()))
    assert [one.name for one in tmp_path.iterdir()] == [target.name]


def test_only_the_same_export_is_continued(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    fill(served, 300)
    served.store.data["default", b"l"] = stored(b"\0").SerializeToString()
    target = tmp_path / "table.nul"
    none = cli("export", str(target), "--resume")
    cli("export", str(target))

    other = cli("-c", "other", "export", str(target), "--resume")
    (tmp_path / "table.nul.partial").write_bytes(b"")
    short = cli("export", str(target), "--resume")
    (tmp_path / "table.nul.resume").write_text("{")
    damaged = cli("export", str(target), "--resume")

    assert "there is nothing to resume" in none.stderr
    assert "collection was 'default' and is 'other'" in other.stderr
    assert "is shorter than" in short.stderr
    assert "is damaged: delete it" in damaged.stderr
    assert {one.exit_code for one in (none, other, short, damaged)} == {1}


def test_nothing_is_left_of_an_export_without_a_row(bare: Cli, tmp_path: Path) -> None:
    result = bare("-s", "127.0.0.1:1", "export", str(tmp_path / "table.csv"))

    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_of_a_file_with_a_malformed_record(
    cli: Cli, served: FakeAql, tmp_path: Path
) -> None:
    source = tmp_path / "table.ndjson"
    source.write_text('{"key":"a","value":"b"}\n' * 2000 + "oops\n")

    from_file = cli("import", str(source))
    from_pipe = cli("import", "-", stdin=source.read_bytes())
    checked = cli("import", str(source), "--check")

    for one in (from_file, from_pipe, checked):
        assert one.exit_code == 1
        assert "nothing was written: line 2001: it is no JSON" in one.stderr
    assert served.requests == []


class FailsLater(FakeAql):
    """Refuses the third batch and those that follow."""

    batches = 0
    sound = False

    async def ExecuteBatch(  # noqa: N802 The name on the wire.
        self, request: aql_pb2.BatchRequest, context: CallContext
    ) -> aql_pb2.BatchResponse:
        self.batches += 1
        if self.batches > 2 and not self.sound:
            return aql_pb2.BatchResponse(
                error=errors_pb2.ErrorResponse(
                    code=errors_pb2.ERROR_VALIDATION_SIZE_EXCEEDED, message="too large"
                )
            )
        return await super().ExecuteBatch(request, context)


def test_an_import_that_fails_is_continued_where_it_ended(bare: Cli, tmp_path: Path) -> None:
    fake = FailsLater()
    source = tmp_path / "table.ndjson"
    source.write_text("".join(f'{{"key":"k{row}","value":"v"}}\n' for row in range(450)))
    with serve_in_threads(fake):
        failed = bare("-s", fake.address, "import", str(source), "--batch", "100")
        fake.sound = True
        changed_at = source.stat().st_mtime_ns
        os.utime(source, ns=(changed_at, changed_at + 1))
        changed = bare("-s", fake.address, "import", str(source), "--resume")
        os.utime(source, ns=(changed_at, changed_at))
        fake.requests.clear()
        continued = bare("-s", fake.address, "-f", "json", "import", str(source), "--resume")

    assert failed.exit_code == 1
    assert "records 201 to 300: " in failed.stderr
    assert "200 of 450 rows were written: continue with --resume" in failed.stderr
    assert changed.exit_code == 1
    assert "file_changed_ns was" in changed.stderr
    assert continued.exit_code == 0, continued.stderr
    assert json.loads(continued.stdout)["rows"] == 450
    assert [len(one.queries) for one in fake.requests] == [250]  # type: ignore[union-attr]
    assert len(fake.store.data) == 450
    assert [one.name for one in tmp_path.iterdir()] == [source.name]


def test_a_batch_is_bounded_by_its_bytes(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    source = tmp_path / "table.nul"
    source.write_bytes(b"".join(b"k%d\0%b\0" % (row, b"v" * 300_000) for row in range(10)))

    assert cli("import", str(source)).exit_code == 0

    assert [len(one.queries) for one in served.requests] == [3, 3, 3, 1]  # type: ignore[union-attr]


async def test_a_rate_is_kept_and_nothing_is_saved_up() -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 6))
        now += seconds

    pace = Pace(1000, clock=lambda: now, sleep=sleep)
    await pace.passed(500)
    await pace.passed(100)
    now += 60
    await pace.passed(200)

    assert slept == [0.5, 0.1, 0.2]


def test_stdin_cannot_be_resumed(cli: Cli) -> None:
    assert cli("import", "-", "--resume", stdin=b"").exit_code == 2
    assert cli("export", "-", "--resume").exit_code == 2
