"""The five ways around etcd's permissions that were published in 2026, in the terms of this server.

Each was a check that looked at less than what was carried out, or did not run at all.
"""

import inspect

import pytest
from amaters.wire import admin_pb2, aql_pb2, query_pb2
from amaters_server.access.access import Access
from amaters_server.access.audit import Audit
from amaters_server.access.decision import Administer, Method, all_permitted, permitted
from amaters_server.access.gate import Gate
from amaters_server.machine.execute import Workspace
from amaters_server.machine.overlay import Overlay
from amaters_server.model.errors import NotAuditedError, PermissionDeniedError
from amaters_server.model.keys import DATA_KEYS_END, DataKey, data_key
from amaters_server.model.principal import ANONYMOUS
from amaters_server.model.queries import Columns, Get, Put, Remove, Scan
from amaters_server.rpc.aql import decode
from amaters_server.storage.memory import MemoryEngine

MINE, OTHERS = data_key("team-a", b"k"), data_key("secrets", b"k")


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "hidden",
    [
        Get(OTHERS),
        Put(OTHERS, b""),
        Remove(OTHERS),
        Scan(OTHERS, DataKey(OTHERS + b"\0"), 1),
        Scan(MINE, OTHERS, 0),
    ],
    ids=["get", "put", "remove", "scan", "scan across"],
)
def test_nested_transactions__no_place_in_a_batch_escapes(access, caller, at, hidden):
    batch = [Put(MINE, b""), Get(MINE), Remove(MINE)]
    batch.insert(at, hidden)

    index, permission = all_permitted(access.grants(caller("clerk")), batch)

    assert (index, bool(permission)) == (at, False)


def test_nested_transactions__nor_does_the_fast_form_of_a_batch(access, caller):
    for at in range(3):
        keys = [MINE, MINE]
        keys.insert(at, OTHERS)
        values = [b""] * 3
        assert all_permitted(access.grants(caller("clerk")), Columns(keys, values))[0] == at


def test_nested_transactions__the_published_batch_cannot_nest():
    fields = {field.message_type for field in query_pb2.Query.DESCRIPTOR.fields}

    assert query_pb2.Query.DESCRIPTOR not in fields
    assert aql_pb2.BatchRequest.DESCRIPTOR not in fields


def methods() -> list[str]:
    files = [admin_pb2.DESCRIPTOR, aql_pb2.DESCRIPTOR]
    services = [service for file in files for service in file.services_by_name.values()]
    return sorted({name for service in services for name in service.methods_by_name})


@pytest.mark.parametrize("name", [*methods(), "AMethodOfTomorrow"])
def test_unauthenticated_methods__a_stranger_may_ask_for_health_alone(access, name):
    assert bool(permitted(access.grants(ANONYMOUS), Method(name))) is (name == "HealthCheck")


@pytest.mark.parametrize("verb", ["METRICS", "NODES", "STATS", "CLUSTER_INFO", "BACKUP", ""])
def test_unauthenticated_methods__nor_for_a_command_in_a_key(access, caller, verb):
    assert not permitted(access.grants(ANONYMOUS), Administer(verb))
    assert not permitted(access.grants(caller("clerk")), Administer(verb))


def test_earlier_values__a_write_answers_a_count_and_nothing_of_what_was_there():
    engine = MemoryEngine()
    workspace = Workspace(Overlay(), engine)
    workspace.run([Put(OTHERS, b"earlier")])

    assert workspace.run([Put(OTHERS, b"new"), Remove(OTHERS)]) == [1, 1]


def test_earlier_values__a_read_beside_a_permitted_write_needs_its_own_permission(access, caller):
    grants = access.grants(caller("clerk"))

    assert not all_permitted(grants, [Put(MINE, b""), Get(OTHERS)])[1]


@pytest.mark.parametrize(
    "end",
    [b"", b"\0", b"\xff", b"\xff" * 64, b"eu0\0", b"eu"],
    ids=["none", "zero", "ff", "many ff", "one key too many", "before it"],
)
def test_open_ends__a_range_is_never_what_its_start_suggests(access, caller, end):
    grants = access.grants(caller("clerk"))
    start = data_key("orders", b"u")

    assert not permitted(grants, Scan(start, data_key("orders", b"v\0" + end), None))
    if not end.startswith(b"eu"):
        asked = Scan(data_key("orders", b"eu/"), data_key("orders", end), None)
        assert not permitted(grants, asked)


def test_open_ends__nor_does_an_end_without_a_collection_pass(access, caller):
    grants = access.grants(caller("clerk"))

    for end in (DATA_KEYS_END, b"", b"\0", b"\xff"):
        assert not permitted(grants, Scan(data_key("prices", b""), DataKey(end), None))


def test_open_ends__a_filter_is_its_whole_collection(access, caller):
    start, end = decode.whole_collection(data_key("orders", b""))

    assert not permitted(access.grants(caller("clerk")), Scan(DataKey(start), DataKey(end), 1))


def test_full_disk__the_decision_takes_no_state():
    assert list(inspect.signature(permitted).parameters) == ["grants", "asked"]
    assert list(inspect.signature(all_permitted).parameters) == ["grants", "operations"]


class FullDisk:
    def write(self, lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("on_failure", ["block", "drop"])
def test_full_disk__a_record_that_cannot_be_written_opens_nothing(
    access: Access, caller, on_failure
):
    audit = Audit(FullDisk(), on_failure=on_failure, capacity=1)
    gate = Gate(access, audit, "all")
    for _ in range(10):
        with pytest.raises((PermissionDeniedError, NotAuditedError)):
            gate.ask(caller("clerk"), Get(OTHERS))
    audit.close()
