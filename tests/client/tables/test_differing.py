"""`diff`: clusters, files and backups, compared by key, in bounded memory."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from amaters.cli.commands.tables.backup_file import rows_of_backup
from amaters.cli.commands.tables.merging import Kind, changes
from amaters.errors import CorruptedValueError, InvalidRequestError
from amaters.testing.aql import FakeAql, stored
from amaters.testing.threads import serve_in_threads
from amaters_server.backups.file.archive import ArchiveWriter
from amaters_server.machine.backup import write_backup
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.memory import MemoryEngine
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

Cli = Callable[..., Result]
TABLE = st.dictionaries(st.binary(max_size=2), st.binary(max_size=1), max_size=8)


def put(fake: FakeAql, key: str, value: str, collection: str = "default") -> None:
    fake.store.data[collection, key.encode()] = stored(value.encode()).SerializeToString()


def lines(path: Path, **rows: str) -> str:
    path.write_text("".join(f'{{"key":"{key}","value":"{rows[key]}"}}\n' for key in rows))
    return str(path)


@given(first=TABLE, second=TABLE)
def test_differences_lead_from_the_first_to_the_second(
    first: dict[bytes, bytes], second: dict[bytes, bytes]
) -> None:
    async def walk(table: dict[bytes, bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
        for row in sorted(table.items()):
            yield row

    async def compared() -> int:
        made, equal = dict(first), 0
        async for change in changes(walk(first), walk(second)):
            if change is None:
                equal += 1
            elif change.kind is Kind.REMOVED:
                assert made.pop(change.key) == change.old
            else:
                assert made.get(change.key) == change.old
                assert change.new is not None
                made[change.key] = change.new
        assert made == second
        return equal

    assert asyncio.run(compared()) == len(first.items() & second.items())


def test_a_cluster_and_a_file_in_every_form(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    for key, value in {"a": "1", "c": "new", "d": "<ü>"}.items():
        put(served, key, value)
    file = lines(tmp_path / "old.ndjson", a="1", b="gone", c="old")
    asked = ("diff", file, served.address)

    assert cli(*asked).stdout == (
        f"--- {file}\n+++ {served.address}\n"
        "- b = gone\n- c = old\n+ c = new\n+ d = <ü>\n1 added, 1 removed, 1 modified\n"
    )
    assert json.loads(cli("-f", "json", *asked).stdout) == {
        "added": [{"key": "d", "value": "<ü>"}],
        "removed": [{"key": "b", "value": "gone"}],
        "modified": [{"key": "c", "old_value": "old", "new_value": "new"}],
    }
    assert [json.loads(one)["change"] for one in cli("-f", "nul", *asked).stdout.splitlines()] == [
        "removed",
        "modified",
        "added",
    ]
    assert cli(*asked, "--diff-format", "stats").stdout == "1 added, 1 removed, 1 modified\n"
    assert cli(*asked, "--start", "a", "--end", "b").stdout == "(no differences)\n"


def test_two_clusters_and_two_collections(cli: Cli, served: FakeAql) -> None:
    other = FakeAql()
    put(served, "k", "v")
    put(other, "k", "v", "copy")
    with serve_in_threads(other):
        same = cli("diff", served.address, other.address, "--other-collection", "copy")
        less = cli("diff", served.address, other.address, "--exit-code")

    assert (same.exit_code, same.stdout) == (0, "(no differences)\n")
    assert less.exit_code == 1
    assert less.stdout.endswith("0 added, 1 removed, 0 modified\n")


def test_what_cannot_be_compared_is_named(cli: Cli, tmp_path: Path) -> None:
    sound = lines(tmp_path / "a.ndjson", a="1")
    unsorted = lines(tmp_path / "b.ndjson", b="1", a="1")
    (tmp_path / "c.csv").write_text("key,value\na\n")

    for other, said in (
        (unsorted, "is not sorted by key, or holds a key twice (record 2)"),
        (str(tmp_path / "c.csv"), "c.csv: line 2: it has only 1 fields"),
        ("nothing", "neither a file that exists nor the address of a server"),
    ):
        result = cli("diff", sound, other)
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert "no file that exists" in cli("diff", "--files", sound, "localhost:1").stderr


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup as a server writes it: 5000 rows of one collection, and two of others."""
    engine = MemoryEngine()
    machine = Machine(engine)
    member = Member(NodeId(1), "n", "p:1", "c:1", disk_id="d")
    formed = Membership("cluster", (member,), ConfState((1,)), highest_id=1)
    engine.write(machine.form(formed, index=1, term=1), sync=True)
    rows = [("users", b"k%05d" % number) for number in range(5000)] + [("a", b"x"), ("usersx", b"")]
    puts = [Put(data_key(*row), stored(row[1]).SerializeToString()) for row in rows]
    data = encode_writes(ProposalId(7, 8, 9), [Write(0, puts, 0.0)], unix_ms=0)
    machine.apply([Committed(2, 5, EntryKind.NORMAL, data)])
    path = tmp_path / "backup.bin"
    with ArchiveWriter(path, backup_id=1, timestamp_ms=0) as archive:
        write_backup(machine.backup_source(), archive.write, created_unix_ms=0)
        archive.commit()
    return path


def test_a_backup_is_compared_like_a_cluster(cli: Cli, served: FakeAql, backup: Path) -> None:
    for number in range(4999):
        put(served, f"k{number:05}", f"k{number:05}", "users")
    put(served, "k00007", "other", "users")

    result = cli("-c", "users", "diff", str(backup), served.address)

    assert result.stdout.splitlines()[2:] == [
        "- k00007 = k00007",
        "+ k00007 = other",
        "- k04999 = k04999",
        "0 added, 1 removed, 1 modified",
    ]


@pytest.mark.parametrize("place", [0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_damaged_backup_is_never_taken_for_a_whole_one(backup: Path, place: float) -> None:
    data = bytearray(backup.read_bytes())
    spot = 55 + int((len(data) - 60) * place)
    data[spot] ^= 0x55
    for damaged in (bytes(data), bytes(backup.read_bytes()[:spot]), b"AMSNAP\x01"):
        with pytest.raises(CorruptedValueError, match="damaged"):
            list(rows_of_backup(io.BytesIO(damaged), "users", name="backup.bin"))


def test_a_backup_of_a_later_format_is_refused(backup: Path) -> None:
    data = b"AMSNAP\x02\x00" + backup.read_bytes()[8:]

    with pytest.raises(InvalidRequestError, match="format 2"):
        list(rows_of_backup(io.BytesIO(data), "users", name="backup.bin"))
