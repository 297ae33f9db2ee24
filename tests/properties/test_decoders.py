"""Bytes from a network, a disk or a person: what is read of them is a value or an error of ours."""

import json
from pathlib import Path

import pytest
from amaters.cli import toml_text
from amaters.cli.commands import server as cli_server
from amaters.cli.commands.data import as_key
from amaters.errors import AmatersError
from amaters_operator.controllers import secrets
from amaters_operator.kube import client as kube_client
from amaters_server.access import roles
from amaters_server.config.load import Sources, load
from amaters_server.model.errors import DatabaseError
from amaters_server.node.snapshot_transfer.files import Manifest
from amaters_server.raft.log import Log
from amaters_server.rpc.peer import messages, string_calls
from amaters_server.storage import data_format, set_aside
from amaters_server.storage.durable_mark import DurableMark
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.manifest import ManifestFile
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.rocks.log_folder import LogFolder
from amaters_server.wire.peer_pb2 import ForwardRequest, HandshakeResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

usual = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

DEEP = (b"[" * 100_000, b'{"a":' * 100_000, b"x = " + b"[" * 5000, b"1" * 5000)
numbers = st.integers() | st.floats() | st.just(10**400)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
documents = values.map(lambda value: json.dumps(value).encode())
anything = st.binary(max_size=300) | documents | st.sampled_from(DEEP)


def bounded(refused: Exception) -> None:
    """No refusal repeats what was read at length."""
    assert all(len(line) < 2000 for line in str(refused).splitlines())


def with_fields(**fields):
    """Documents in which each field is a usual value or any."""
    return st.fixed_dictionaries({}, optional={name: one | values for name, one in fields.items()})


FILE = with_fields(name=st.just("CURRENT"), size=numbers, crc32=numbers)
MANIFEST = with_fields(format=st.just(1), files=st.lists(FILE, max_size=3))


@given(anything | MANIFEST.map(lambda value: json.dumps(value).encode()))
@usual
def test_a_manifest_of_a_snapshot(encoded):
    try:
        Manifest.decode(encoded)
    except DatabaseError as refused:
        bounded(refused)


KEYS = ("raft/identity", "raft/hard_state", "raft/compacted")


@given(st.sampled_from(KEYS), anything, st.binary(max_size=30))
@usual
def test_rows_of_the_log(key, row, entry):
    engine = MemoryEngine(MemoryDisk())
    changes = Changes()
    changes.put(Space.META, key.encode(), row)
    changes.put(Space.LOG, b"\0" * 7 + b"\1", entry)
    engine.write(changes, sync=True)
    for read in (Log(engine).load, Log(engine).identity):
        try:
            read()
        except DatabaseError as refused:
            bounded(refused)


@given(anything, anything)
@usual
def test_files_that_bind_a_folder_of_logs(tmp_path, record, owner):
    (tmp_path / "wal").mkdir(exist_ok=True)
    (tmp_path / "wal" / "OWNER").write_bytes(owner)
    (tmp_path / "db.wal").write_bytes(record)
    for bound in (record, json.dumps({"folder": str(tmp_path / "wal"), "id": "x"}).encode()):
        (tmp_path / "db.wal").write_bytes(bound)
        try:
            LogFolder(tmp_path / "db", None).require_present(accept_loss=False)
        except DatabaseError as refused:
            bounded(refused)


@given(anything, anything, anything)
@usual
def test_files_beside_a_database(tmp_path, mark, current, form):
    (tmp_path / "db.durable").write_bytes(mark)
    (tmp_path / "CURRENT").write_bytes(current)
    (tmp_path / "IDENTITY").write_bytes(form)
    (tmp_path / data_format.FILE).write_bytes(form)

    file = DurableMark(tmp_path / "db.durable")
    assert file.get() is None
    file.close()
    ManifestFile(tmp_path).found()
    try:
        data_format.require_readable(tmp_path, "1.0.0")
    except DatabaseError as refused:
        bounded(refused)


@given(anything)
@usual
def test_a_request_to_set_data_aside(tmp_path, content):
    (tmp_path / set_aside.REQUEST).write_bytes(content)
    (tmp_path / "db").mkdir(exist_ok=True)
    try:
        assert set_aside.carry_out(tmp_path, ()) > 0
    except ValueError as refused:
        bounded(refused)
    assert (tmp_path / "db").exists()


@given(anything, st.sampled_from([".json", ".toml"]))
@usual
def test_a_file_of_roles(tmp_path, content, suffix):
    path = (tmp_path / "roles").with_suffix(suffix)
    path.write_bytes(content)
    try:
        roles.load(path)
    except DatabaseError as refused:
        bounded(refused)


@given(anything)
@usual
def test_a_file_of_configuration(tmp_path, content):
    path = Path(tmp_path) / "config.toml"
    path.write_bytes(content)
    try:
        load(Sources(path=path))
    except DatabaseError as refused:
        bounded(refused)


@given(st.sampled_from(["add", "identify", "failed", "leaving", "transfer", "x"]), anything)
@usual
def test_a_call_in_its_string_form(method, request):
    try:
        string_calls.typed(ForwardRequest(method=method, request=request))
    except DatabaseError as refused:
        bounded(refused)


@given(st.sampled_from(["list_members", "identify", "failed_members"]), anything)
@usual
def test_an_answer_of_a_member(field, answer):
    call = ForwardRequest()
    getattr(call, field).SetInParent()
    reply = string_calls.ForwardResponse(response=answer)
    try:
        string_calls.typed_answer(2, call, reply)
    except ConnectionError as refused:
        bounded(refused)
    try:
        messages.answered(answer, HandshakeResponse, "Handshake")
    except ConnectionError as refused:
        bounded(refused)


@given(anything)
@usual
def test_a_file_of_the_client(content):
    try:
        toml_text.parsed(content.decode(errors="replace"))
    except ValueError as refused:
        bounded(refused)


class Answers:
    """A terminal whose server answers with any bytes."""

    collection = "default"

    def __init__(self, answer):
        self._answer = answer

    def with_client(self, _):
        return self._answer


@given(anything)
@usual
def test_an_answer_to_the_client(answer):
    try:
        cli_server.ask(Answers(answer), "STATS")
    except AmatersError as refused:
        bounded(refused)


@given(anything)
@usual
def test_an_answer_of_the_kubernetes_api(content):
    assert isinstance(kube_client._parsed(content), dict)


@given(st.text(max_size=60))
@usual
def test_a_key_that_is_typed_in_base64(text):
    try:
        assert isinstance(as_key(text, as_base64=True), bytes)
    except AmatersError as refused:
        bounded(refused)


@given(st.text(max_size=60) | st.just("/w=="))
@usual
def test_a_value_of_a_secret(value):
    try:
        secrets._text({"data": {"url": value}}, "url")
    except secrets._UnusableError as refused:
        bounded(refused)


def test_the_deep_documents_break_a_plain_reader():
    with pytest.raises(RecursionError):
        json.loads(DEEP[0])
