"""Entries written by earlier versions mean the same for ever; so do those this version writes."""

import pytest
from amaters_server.machine.codec import (
    Command,
    ProposalId,
    decode_entry,
    encode_restore,
    encode_writes,
)
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.errors import MalformedError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan, Write
from amaters_server.wire import command_pb2

A, B, C, D, E = (data_key("c", name) for name in (b"a", b"b", b"c", b"d", b"e"))
PROPOSAL = ProposalId(3, 7, 11)
LONE_PUTS = "08031007180b20053204000163613204000163623a01313a01324a004a017352020004"
OPERATIONS = (
    "08031007180b20052a380a0b0a090a04000163611201310a0812060a04000163620a081a060a0400016363"
    "0a10220e0a040001636412040001636518021201731804"
)
BETWEEN = (
    "08031007180b20052a170a0b0a090a04000163621201320a0812060a04000163613204000163613204000163"
    "633a01313a0133420101"
)
RESTORE = "08031007180b20052a132211080210091a090a04000163611201312001"
COLUMNS = "08031007180b20052a2112017318042a04000163612a04000163622a0400016363320131320032003a0101"


def write(*operations: Operation, session: tuple[bytes, int] = (b"", 0)) -> Write:
    return Write(0, operations, 0.0, *session)


def columns() -> Write:
    return Write(0, Columns([A, B, C], [b"1", None, b""]), 0.0, b"s", 4)


def rest() -> list[Operation]:
    return [Put(A, b"1"), Remove(B), Get(C), Scan(D, E, 2)]


@pytest.mark.parametrize(
    ("stored", "commands"),
    [
        (LONE_PUTS, [((Put(A, b"1"),), b"", 0), ((Put(B, b"2"),), b"s", 4)]),
        (OPERATIONS, [(tuple(rest()), b"s", 4)]),
        (
            BETWEEN,
            [
                ((Put(A, b"1"),), b"", 0),
                ((Put(B, b"2"), Remove(A)), b"", 0),
                ((Put(C, b"3"),), b"", 0),
            ],
        ),
        (COLUMNS, [((Put(A, b"1"), Remove(B), Put(C, b"")), b"s", 4)]),
    ],
)
def test_stored_entries_mean_what_they_meant(stored: str, commands: list[object]) -> None:
    entry = decode_entry(bytes.fromhex(stored), index=1)

    assert entry.proposal == PROPOSAL
    assert [
        (tuple(one.operations), one.session, one.session_sequence)
        for one in entry.in_order()
        if isinstance(one, Command)
    ] == commands


def test_a_stored_restore_means_what_it_meant() -> None:
    entry = decode_entry(bytes.fromhex(RESTORE), index=1)

    step = RestoreStep(RestoreKind.LOAD, 9, (Put(A, b"1"),), 1)
    assert list(entry.in_order()) == [Command((), restore=step)]
    assert encode_restore(PROPOSAL, step, unix_ms=5).hex() == RESTORE


@pytest.mark.parametrize(
    ("writes", "stored"),
    [
        ([write(Put(A, b"1")), write(Put(B, b"2"), session=(b"s", 4))], LONE_PUTS),
        ([write(*rest(), session=(b"s", 4))], OPERATIONS),
        ([write(Put(A, b"1")), write(Put(B, b"2"), Remove(A)), write(Put(C, b"3"))], BETWEEN),
        ([columns()], COLUMNS),
    ],
)
def test_entries_are_written_as_they_were(writes: list[Write], stored: str) -> None:
    assert encode_writes(PROPOSAL, writes, unix_ms=5).hex() == stored


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (command_pb2.Command(keys=[A, B], values=[b"1"]), "differ in length"),
        (command_pb2.Command(keys=[A], values=[b""], removed=[1]), "differ in length"),
        (command_pb2.Command(keys=[A, b"\0"], values=[b"1", b"2"]), "no key of the data keyspace"),
        (command_pb2.Command(values=[b"1"]), "without operations"),
        (
            command_pb2.Command(
                keys=[A], values=[b"1"], operations=[command_pb2.Operation(remove={"key": A})]
            ),
            "both operations and columns",
        ),
    ],
)
def test_columns_that_make_no_sense_are_their_commands_error(
    command: command_pb2.Command, why: str
) -> None:
    entry = decode_entry(command_pb2.Entry(commands=[command]).SerializeToString(), index=1)

    [refused] = entry.in_order()
    assert isinstance(refused, MalformedError)
    assert why in str(refused)
