"""What the gate lets through, against the real machine: nothing else changes, nothing else is seen.

Every value names its own data key, so whatever an answer holds says where it comes from. What is
granted is judged by a second, slow definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from zlib import crc32

import pytest
from amaters.wire.query_pb2 import (
    DeleteQuery,
    FilterQuery,
    GetQuery,
    KeyValue,
    Query,
    RangeQuery,
    SetQuery,
)
from amaters.wire.types_pb2 import (
    CipherBlob,
    CipherMetadata,
    ColumnRef,
    GtePredicate,
    Key,
    NotPredicate,
    Predicate,
)
from amaters_server.access.access import Access
from amaters_server.access.decision import Administer
from amaters_server.access.gate import Gate
from amaters_server.access.roles import Level, Rule
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import PermissionDeniedError
from amaters_server.model.keys import DATA_KEYS_END, DataKey, data_key, split_data_key
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.rpc.aql import decode
from amaters_server.rpc.aql.commands.line import verb_of
from amaters_server.rpc.aql.pending import UpdateLimits
from amaters_server.rpc.aql.queries import filter_walk
from amaters_server.rpc.aql.scans import Reading, Walk
from amaters_server.storage.engine import Space
from amaters_server.storage.memory import MemoryEngine
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

COLLECTIONS = st.sampled_from(["", "a", "ab", "b", "a-x", "\0\1a", "é"])
COMMANDS = st.sampled_from(["METRICS", "stats", "NODES x", "CLUSTER_INFO", "BACKUP /tmp", "", " "])
KEYS = st.sampled_from(
    [b"", b"\0", b"a", b"a\0", b"a/", b"a/1", b"a0", b"b", b"\xfe", b"\xff", b"\xff\xff"]
)
PREFIXES = st.sampled_from([b"\0", b"a", b"a/", b"a0", b"b", b"\xff"])
PATTERNS = st.sampled_from(["collection:*", "collection:a", "collection:a*", "collection:*b", "*"])
LEVELS = st.sampled_from(Level)


def blob(data: bytes) -> CipherBlob:
    """A value that says which data key it is for."""
    metadata = CipherMetadata(size=len(data), checksum=crc32(data), created_at=1)
    return CipherBlob(data=data, metadata=metadata)


@st.composite
def rules(draw: st.DrawFn, levels: st.SearchStrategy[Level] = LEVELS) -> Rule:
    resource = draw(PATTERNS | st.just("server"))
    whole = resource in {"*", "server"}
    prefixes = () if whole else tuple(draw(st.lists(PREFIXES, max_size=2)))
    return Rule(resource, draw(levels), prefixes)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A message of any kind, administrative keys among them."""
    collection, key = draw(COLLECTIONS), Key(data=draw(KEYS))
    match draw(st.integers(0, 5)):
        case 0:
            value = blob(data_key(collection, key.data))
            return Query(set=SetQuery(collection=collection, key=key, value=value))
        case 1:
            return Query(delete=DeleteQuery(collection=collection, key=key))
        case 2:
            return Query(get=GetQuery(collection=collection, key=key))
        case 3:
            command = Key(data=decode.ADMIN_PREFIX + draw(COMMANDS).encode())
            return Query(get=GetQuery(collection=collection, key=command))
        case 4:
            end = Key(data=draw(KEYS | st.just(b"\xff" * 32)))
            limit = draw(st.none() | st.integers(0, 3))
            return Query(range=RangeQuery(collection=collection, start=key, end=end, limit=limit))
        case _:
            test = GtePredicate(column=ColumnRef(name="v"), value=blob(draw(KEYS)))
            predicate = Predicate(gte=test)
            if draw(st.booleans()):
                predicate = Predicate(**{"not": NotPredicate(predicate=predicate)})
            return Query(filter=FilterQuery(collection=collection, predicate=predicate))


CALLS = st.lists(
    st.tuples(st.just("unary"), queries())
    | st.tuples(st.just("stream"), queries())
    | st.tuples(st.just("batch"), st.lists(queries(), max_size=4)),
    max_size=12,
)


@dataclass
class Served:
    """The machine with all keys of all collections, and the gate before it."""

    rules: list[Rule]
    engine: MemoryEngine = field(default_factory=MemoryEngine)

    def __post_init__(self) -> None:
        self.machine = Machine(self.engine)
        formed = self.machine.form(Membership("c", highest_id=3), index=1, term=1)
        self.engine.write(formed, sync=True)
        self.index = 1
        # As the strategies above: these are what a caller could reach for.
        names = ["", "a", "ab", "b", "a-x", "\0\1a", "é", "other"]
        keys = [b"", b"a", b"a/1", b"a0", b"b", b"\xfe", b"\xff", b"\xff\xff"]
        everything = [data_key(name, key) for name in names for key in keys]
        self._apply([Put(key, blob(key).SerializeToString()) for key in everything])
        access = Access(AuthzSection(default_role="r"), {"r": tuple(self.rules)})
        self.gate = Gate(access, None, "denied")
        self.caller = Principal("ann", PrincipalKind.JWT)

    def state(self) -> dict[tuple[Space, bytes], bytes]:
        view = self.engine.view()
        found = {
            (space, key): value
            for space in Space
            for key, value in view.scan(space, b"", b"\xff" * 9)
        }
        view.close()
        return found

    def call(self, kind: str, asked: Query | list[Query]) -> tuple[set[bytes], set[str]]:
        """Carry out a call; returns the data keys in its answer, and the verbs it answered."""
        if isinstance(asked, list):
            return self._batch(asked)
        which = asked.WhichOneof("query")
        if kind == "unary" and asked.get.key.data.startswith(decode.ADMIN_PREFIX):
            self.gate.ask(self.caller, Administer(verb_of(asked.get.key.data)))
            return set(), {verb_of(asked.get.key.data)}
        if which == "filter":
            return self._walk(filter_walk(asked)), set()
        if kind == "stream" and which in {"get", "range"}:
            one = decode.operation(asked, UpdateLimits(), unix_seconds=0)
            if isinstance(one, Get):
                one = Scan(one.key, DataKey(one.key + b"\0"), None)
            return self._walk(Walk(one.start, one.end, 0, limit=one.limit)), set()
        return self._perform(
            [decode.operation(asked, UpdateLimits(), unix_seconds=0)], lone=True
        ), set()

    def _batch(self, asked: list[Query]) -> tuple[set[bytes], set[str]]:
        operations, verbs = [], []
        for query in asked:
            if query.get.key.data.startswith(decode.ADMIN_PREFIX):
                verbs.append(verb_of(query.get.key.data))
            elif not query.HasField("filter"):
                operations.append(decode.operation(query, UpdateLimits(), unix_seconds=0))
        for verb in verbs:
            self.gate.ask(self.caller, Administer(verb))
        return self._perform(operations), set(verbs)

    def _perform(self, operations: list[Operation], *, lone: bool = False) -> set[bytes]:
        if operations and all(isinstance(one, Put | Remove) for one in operations) and not lone:
            values = [getattr(one, "value", None) for one in operations]
            operations = Columns([one.key for one in operations], values)
        if lone:
            self.gate.ask(self.caller, operations[0])
        else:
            self.gate.ask_all(self.caller, operations)
        if any(isinstance(one, Put | Remove) for one in operations):
            return seen(self._apply(operations))
        return seen(
            self.machine.get(one.key) if isinstance(one, Get) else self.machine.scan(one)
            for one in operations
        )

    def _walk(self, walk: Walk) -> set[bytes]:
        self.gate.ask(self.caller, Scan(DataKey(walk.start), DataKey(walk.end), walk.limit))
        view = self.machine.view()
        reading, found = Reading(view, walk), set()
        while not reading.ended:
            found |= {KeyValue.FromString(row).value.data for row in reading.slice()}
        view.close()
        return found

    def _apply(self, operations: list[Operation]) -> list[object]:
        self.index += 1
        command = encode_writes(
            ProposalId(1, 7, self.index), [Write(0, operations, 0.0)], unix_ms=0
        )
        applied = self.machine.apply([Committed(self.index, 1, EntryKind.NORMAL, command)])
        self.engine.write(applied.changes, sync=False)
        self.machine.written(applied.version)
        return list(applied.outcomes[0].results[0])

    def granted(self, level: Level, key: bytes) -> bool:
        """The slow definition."""
        collection, own = split_data_key(key)
        return any(
            rule.level >= level
            and (
                rule.resource == "*"
                or (
                    rule.resource.startswith("collection:")
                    and fnmatchcase(collection, rule.resource.removeprefix("collection:"))
                    and (not rule.key_prefixes or own.startswith(rule.key_prefixes))
                )
            )
            for rule in self.rules
        )


def seen(results: object) -> set[bytes]:
    """The data keys that answers tell of, by their values and by the keys of rows."""

    def told() -> Iterator[bytes]:
        for result in results:
            if isinstance(result, bytes):
                yield CipherBlob.FromString(result).data
            for key, value in result if isinstance(result, list) else ():
                yield bytes(key)
                yield CipherBlob.FromString(value).data

    return set(told())


@given(st.lists(rules(), max_size=3), CALLS)
@settings(max_examples=300)
def test_no_caller_sees_or_changes_a_key_outside_its_grants(granted, calls):
    served = Served(granted)
    for kind, asked in calls:
        before = served.state()
        try:
            keys, verbs = served.call(kind, asked)
        except PermissionDeniedError:
            assert served.state() == before, "what is refused has no effect at all"
            continue

        assert [key for key in keys if not served.granted(Level.READ, key)] == []
        after = served.state()
        changed = {
            key
            for space, key in before.keys() | after.keys()
            if space is Space.DATA and before.get((space, key)) != after.get((space, key))
        }
        assert [key for key in changed if not served.granted(Level.WRITE, key)] == []
        on_server = max(
            (one.level for one in granted if one.resource in {"*", "server"}), default=0
        )
        assert not verbs or on_server
        assert not verbs - {"METRICS", "STATS", "NODES"} or on_server is Level.ADMIN
        if "STATS" in verbs:
            every = data_key("no role names it", b"\xee")
            assert served.granted(Level.READ, every) or any(
                one.resource == "collection:*" and not one.key_prefixes for one in granted
            )


@given(st.lists(rules(st.just(Level.READ)), max_size=3), CALLS)
@settings(max_examples=200)
def test_no_sequence_of_calls_of_a_reader_changes_the_state(granted, calls):
    served = Served([*granted, Rule("*", Level.READ)])
    before, index = served.state(), served.index
    for kind, asked in calls:
        try:
            served.call(kind, asked)
        except PermissionDeniedError:
            continue

    assert served.state() == before
    assert served.index == index, "nothing was even proposed"


@given(st.lists(rules(), max_size=3), COLLECTIONS, KEYS, LEVELS)
@settings(max_examples=300)
def test_a_single_key_is_refused_if_and_only_if_it_is_not_granted(granted, collection, key, level):
    served = Served.__new__(Served)
    served.rules = granted
    access = Access(AuthzSection(default_role="r"), {"r": tuple(granted)})
    gate, caller = Gate(access, None, "denied"), Principal("ann", PrincipalKind.JWT)
    target = data_key(collection, key)
    asked = Get(target) if level is Level.READ else Put(target, b"")
    try:
        gate.ask(caller, asked)
        passed = True
    except PermissionDeniedError:
        passed = False

    wanted = Level.READ if level is Level.READ else Level.WRITE
    assert passed == served.granted(wanted, target)


@given(st.lists(rules(), max_size=3), COLLECTIONS, KEYS, KEYS)
@settings(max_examples=300)
def test_a_range_passes_if_and_only_if_every_key_of_it_is_granted(granted, collection, one, other):
    """Prefixes of the same level only, for every key that can lie between two known ones."""
    start, end = sorted((data_key(collection, one), data_key(collection, other)))
    access = Access(AuthzSection(default_role="r"), {"r": tuple(granted)})
    served = Served.__new__(Served)
    served.rules = granted
    passed = access.grants(Principal("ann", PrincipalKind.JWT)).span(Level.READ, start, end)
    tails = [b"", b"\0", b"\1", b"/", b"0", b"a", b"\x7f", b"\xff", b"\xff\xff\xff"]
    firsts = [bytes([n]) for n in range(256)] + [b"a/", b"a.", b"a0", b"a1", b"\xff\xff", b""]
    inside = [
        key
        for key in (data_key(collection, first + tail) for first in firsts for tail in tails)
        if start <= key < end
    ]

    if passed:
        assert all(served.granted(Level.READ, key) for key in inside)
    elif inside:
        assert not all(served.granted(Level.READ, key) for key in inside)


def test_the_whole_data_of_a_server_passes_for_everything_alone():
    for granted in ([Rule("collection:a*", Level.ADMIN)], [Rule("server", Level.ADMIN)]):
        access = Access(AuthzSection(default_role="r"), {"r": tuple(granted)})
        grants = access.grants(Principal("ann", PrincipalKind.JWT))
        assert not grants.span(Level.READ, b"", DATA_KEYS_END)
