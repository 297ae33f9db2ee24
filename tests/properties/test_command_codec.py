"""Log entries survive their encoding, whatever they carry; other bytes fail in one way only."""

import contextlib

import pytest
from amaters_server.machine.codec import (
    Command,
    ProposalId,
    decode_entry,
    encode_restore,
    encode_writes,
)
from amaters_server.machine.machine import Machine
from amaters_server.machine.membership import decode_record
from amaters_server.machine.restore import RestoreKind, RestoreStep
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import MalformedError, StorageCorruptedError
from amaters_server.model.keys import DataKey, data_key, split_data_key
from amaters_server.model.queries import Columns, Get, Put, Remove, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.raft.raft_node import entry_fault
from amaters_server.storage.memory import MemoryEngine
from hypothesis import example, given, settings
from hypothesis import strategies as st

NORMAL, CONF_CHANGE = 0, 2
KEYS = st.builds(data_key, st.text(max_size=3), st.binary(max_size=4))
PUTS = st.builds(Put, KEYS, st.binary(max_size=6))
COLUMNS = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=6)), min_size=1, max_size=3).map(
    lambda rows: Columns([key for key, _ in rows], [value for _, value in rows])
)
OPERATIONS = st.one_of(
    PUTS,
    st.builds(Remove, KEYS),
    st.builds(Get, KEYS),
    st.builds(Scan, KEYS, KEYS, st.none() | st.integers(0, 5)),
)
WRITES = st.builds(
    Write,
    ticket=st.just(0),
    operations=st.lists(PUTS, min_size=1, max_size=1)
    | st.lists(OPERATIONS, min_size=1, max_size=3)
    | COLUMNS,
    deadline=st.just(0.0),
    session=st.just(b"") | st.binary(max_size=4),
    session_sequence=st.integers(0, 9),
)
COUNTS = st.integers(0, 2**64 - 1)
PROPOSALS = st.builds(ProposalId, COUNTS, COUNTS, COUNTS)


def normal(operation: object) -> object:
    """A limit of none is what it is; of 0, it is an empty range."""
    if isinstance(operation, Scan) and operation.limit == 0:
        return Scan(operation.start, operation.start, None)
    return operation


def decoded_or_corrupted(data: bytes) -> list[Command | MalformedError]:
    """Nothing but StorageCorruptedError may come of bytes that are no entry."""
    with contextlib.suppress(StorageCorruptedError):
        return list(decode_entry(data, index=7).in_order())
    return []


@pytest.mark.slow
@given(PROPOSALS, st.lists(WRITES, max_size=8))
def test_decoding_gives_the_writes_back_in_order(proposal: ProposalId, writes: list[Write]) -> None:
    entry = decode_entry(encode_writes(proposal, writes, unix_ms=5), index=1)

    assert entry.proposal == proposal
    assert [
        (list(map(normal, one.operations)), one.session, one.session_sequence if one.session else 0)
        for one in entry.in_order()
        if isinstance(one, Command)
    ] == [
        (list(map(normal, one.operations)), one.session, one.session_sequence if one.session else 0)
        for one in writes
    ]


@given(st.sampled_from(RestoreKind), COUNTS, st.lists(PUTS, max_size=4), st.integers(0, 9))
def test_restore_steps_survive(kind: RestoreKind, number: int, puts: list[Put], count: int) -> None:
    step = RestoreStep(kind, number, tuple(puts), count)

    entry = decode_entry(encode_restore(ProposalId(1, 2, 3), step, unix_ms=5), index=1)

    assert list(entry.in_order()) == [Command((), restore=step)]
    assert entry_fault(NORMAL, encode_restore(ProposalId(1, 2, 3), step, unix_ms=5), b"") is None


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_called_corrupted(data: bytes) -> None:
    assert all(isinstance(one, Command | MalformedError) for one in decoded_or_corrupted(data))


@pytest.mark.slow
@given(PROPOSALS, st.lists(WRITES, min_size=1, max_size=3), st.data())
def test_damaged_entries_decode_or_are_called_corrupted(
    proposal: ProposalId, writes: list[Write], data: st.DataObject
) -> None:
    whole = bytearray(encode_writes(proposal, writes, unix_ms=5))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])

    for damaged in (bytes(whole), cut):
        decoded_or_corrupted(damaged)


@pytest.mark.slow
@given(PROPOSALS, st.lists(WRITES, max_size=8))
def test_what_members_propose_is_let_into_every_log(proposal: ProposalId, writes: list[Write]):
    assert entry_fault(NORMAL, encode_writes(proposal, writes, unix_ms=5), b"") is None


@pytest.mark.slow
@given(PROPOSALS, st.lists(WRITES, min_size=1, max_size=3), st.data())
def test_what_is_let_into_a_log_decodes(
    proposal: ProposalId, writes: list[Write], data: st.DataObject
) -> None:
    whole = bytearray(encode_writes(proposal, writes, unix_ms=5))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(whole), bytes(whole[: data.draw(st.integers(0, len(whole)))])):
        if damaged and entry_fault(NORMAL, damaged, b"") is None:
            decode_entry(damaged, index=7)


@given(st.binary(min_size=1, max_size=200))
@example(b"\x32\x01a\x3a\x01v\x42\x01\x09")
def test_any_bytes_that_are_let_into_a_log_decode(data: bytes) -> None:
    if entry_fault(NORMAL, data, b"") is None:
        decode_entry(data, index=7)
    if entry_fault(CONF_CHANGE, b"", data) is None:
        decode_record(data, index=7)


NUMBERS = st.integers(0, 3) | st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
PADDING = st.sampled_from([0] * 8 + [1, 4, 5])
"""Bytes by which a number is longer than it has to be."""


def varint(value: int, padding: int = 0) -> bytes:
    out = bytearray()
    while value > 0x7F or padding > 0:
        out.append(value & 0x7F | 0x80)
        padding -= value <= 0x7F
        value >>= 7
    return bytes([*out, value])


def field(number: int, wire: int, padding: int, content: bytes) -> bytes:
    return varint(number << 3 | wire, padding) + content


def wire_fields(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Fields that an entry has, and some that it has not, in protobuf's own encoding."""
    numbers = st.integers(1, 10) | st.sampled_from([20, 2**29 - 1])
    texts = (
        inner | st.sampled_from([b"\1ab", b"\1ac", b"", b"\xff", b"\0\1"]) | st.binary(max_size=4)
    )
    sized = st.builds(lambda text, padding: varint(len(text), padding) + text, texts, PADDING)
    one = (
        st.builds(field, numbers, st.just(2), PADDING, sized)
        | st.builds(field, numbers, st.just(0), PADDING, st.builds(varint, NUMBERS, PADDING))
        | st.builds(field, numbers, st.sampled_from([1, 3, 4, 5]), PADDING, st.binary(max_size=8))
        | st.builds(lambda depth: b"\xa3\1" * depth + b"\xa4\1" * depth, st.integers(1, 101))
    )
    return st.lists(one, max_size=4).map(b"".join)


SCAN_OF_TOO_MUCH = b'*\x12\n\x10"\x0e\x12\x01z\x18' + varint(2**63)
"""A scan with a limit that no counter holds."""
CHANGED = ConfState((1, 2, 3))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.recursive(st.binary(max_size=4), wire_fields, max_leaves=12))
@example(SCAN_OF_TOO_MUCH)
def test_whatever_is_let_into_a_log_is_applied_and_read_back(data: bytes) -> None:
    engine = MemoryEngine()
    machine = Machine(engine)
    entries: list[Committed] = []
    if data and entry_fault(NORMAL, data, b"") is None:
        entries.append(Committed(1, 1, EntryKind.NORMAL, data))
    if entry_fault(CONF_CHANGE, b"", data) is None:
        place = len(entries) + 1
        entries.append(Committed(place, 1, EntryKind.CONF_CHANGE, b"", data, CHANGED))

    engine.write(machine.apply(entries).changes, sync=True)

    assert Machine(engine).applied_index == len(entries)


@given(st.text(max_size=20), st.binary(max_size=20))
def test_data_keys_come_apart_again(collection: str, key: bytes) -> None:
    assert split_data_key(data_key(collection, key)) == (collection, key)


@given(st.text(max_size=5), st.binary(max_size=5), st.text(max_size=5), st.binary(max_size=5))
def test_data_keys_never_collide(one: str, key: bytes, other: str, other_key: bytes) -> None:
    same = (one, key) == (other, other_key)

    assert (data_key(one, key) == data_key(other, other_key)) is same


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff\xff\xff", b"\xff\xff\xff\xff"])
def test_a_key_outside_the_data_keyspace_is_that_commands_error(key: bytes) -> None:
    writes = [Write(0, [Put(DataKey(one), b"v")], 0.0) for one in (b"\0\0good", key)]

    entry = decode_entry(encode_writes(ProposalId(1, 1, 1), writes, unix_ms=0), index=1)

    good, bad = entry.in_order()
    assert isinstance(good, Command)
    assert isinstance(bad, MalformedError)
    assert not entry.only_sound_puts
