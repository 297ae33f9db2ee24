import json
import os
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from amaters_server.access.audit import Audit, Event, EventType, MainLog, Outcome, Tally, as_line
from amaters_server.access.audit_file import AuditFile
from amaters_server.access.decision import Administer, Method
from amaters_server.access.gate import Gate
from amaters_server.config.security.authorization import AuditSection, AuthzSection, faults
from amaters_server.model.errors import NotAuditedError, PermissionDeniedError
from amaters_server.model.keys import data_key
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.model.queries import Columns, Get, Put, Remove
from amaters_server.rpc.transport.status import response

ANN = Principal("ann", PrincipalKind.JWT, ("clerk",), id="7")
EVENT = Event(
    EventType.AUTHORIZATION,
    Outcome.DENIED,
    ANN,
    "clerk",
    "Read",
    'Collection("c")',
    "no",
    "10.0.0.1",
    (("query", "3"),),
)


def other(number: int) -> Event:
    return EVENT._replace(resource=f"Collection({number})")


class Disk:
    """Takes lines, or fails while `full`."""

    def __init__(self) -> None:
        self.full = False
        self.lines: list[dict] = []
        self.closed = False
        self.tries = 0

    def write(self, lines: bytes) -> None:
        self.tries += 1
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines += map(json.loads, lines.splitlines())

    def close(self) -> None:
        self.closed = True


def written(event: Event, at: float = 0.0) -> bytes:
    return as_line(Tally(event, at))


def until(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("amaters_server.access.audit.GATHER_SECONDS", 0.01)
    monkeypatch.setattr("amaters_server.access.audit.RETRY_SECONDS", 0.01)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_a_line_has_the_published_fields_in_their_order():
    line = json.loads(written(EVENT, 1_700_000_000.5))

    assert list(line) == [
        "id",
        "timestamp",
        "event_type",
        "result",
        "principal",
        "auth_method",
        "action",
        "resource",
        "error",
        "metadata",
        "source_ip",
    ]
    assert line["timestamp"] == "2023-11-14T22:13:20.500Z"
    assert line["principal"] == {"id": "7", "name": "ann", "role": "clerk"}
    assert (line["event_type"], line["result"]) == ("authorization", "denied")
    assert (line["auth_method"], line["metadata"]) == ("JWT", {"query": "3"})


def test_what_is_not_known_is_left_out():
    line = json.loads(written(Event(EventType.AUTHENTICATION, Outcome.FAILURE)))

    assert list(line) == ["id", "timestamp", "event_type", "result"]


@pytest.mark.parametrize(
    ("kind", "method"),
    [("certificate", "mTLS"), ("kubernetes", "JWT"), ("api_key", "API Key"), ("anonymous", None)],
)
def test_the_methods_have_their_published_names(kind, method):
    event = EVENT._replace(principal=Principal("a", PrincipalKind(kind)))

    assert json.loads(written(event)).get("auth_method") == method


def test_a_hostile_name_stays_one_short_line():
    event = EVENT._replace(principal=Principal("a\n{}\ud800" * 10_000, PrincipalKind.JWT))

    lines = written(event)

    assert lines.count(b"\n") == 1
    assert len(lines) < 6000


def test_equal_events_are_one_line_with_their_count_since_the_first(disk):
    audit = Audit(disk, on_failure="drop", unix_time=iter(range(9)).__next__)
    for n in range(5):
        audit.record(other(n % 2))
    audit.close()

    first, second = disk.lines
    assert first["metadata"] == {"query": "3", "count": "3"}
    assert second["metadata"] == {"query": "3", "count": "2"}
    assert first["timestamp"] < second["timestamp"] < "1970-01-01T00:00:02"


def test_every_event_is_counted_once(disk):
    audit = Audit(disk, on_failure="drop")
    for n in range(1000):
        audit.record(other(n % 7))
    audit.close()

    counts = Counter()
    for line in disk.lines:
        counts[line["resource"]] += int(line["metadata"].get("count", 1))
    assert sum(counts.values()) == 1000
    assert len(counts) == 7
    assert disk.closed
    assert audit.dropped == 0


def test_a_caller_that_asks_for_ever_other_things_gets_few_lines(disk):
    audit = Audit(disk, on_failure="drop", capacity=1000)
    bob = Principal("bob", PrincipalKind.JWT)
    for n in range(500):
        audit.record(other(n))
    audit.record(EVENT._replace(principal=bob))
    audit.close()

    ann = [one for one in disk.lines if one["principal"]["name"] == "ann"]
    summaries = [one for one in ann if one.get("metadata", {}).get("summary")]
    assert len(ann) <= 60, "20 and a summary, in each of very few moments"
    assert sum(int(one["metadata"].get("count", 1)) for one in ann) == 500
    assert summaries
    assert "resource" not in summaries[0]
    assert disk.lines[-1]["resource"] == 'Collection("c")'


def test_drop_counts_what_a_full_disk_did_not_take_and_heals(disk):
    audit = Audit(disk, on_failure="drop")
    disk.full = True
    audit.record(EVENT)
    until(lambda: audit.dropped == 1)
    assert "No space" in audit.failing
    disk.full = False
    audit.record(EVENT)
    until(lambda: disk.lines)

    assert (audit.failing, audit.dropped) == ("", 1)
    audit.close()


def test_block_turns_calls_away_until_the_disk_takes_lines_and_loses_none(disk):
    audit = Audit(disk, on_failure="block")
    disk.full = True
    audit.record(EVENT)
    until(lambda: audit.failing)
    with pytest.raises(NotAuditedError, match="No space left") as caught:
        audit.record(EVENT)
    assert (response(caught.value).code, response(caught.value).category) == (7001, 1)
    disk.full = False
    until(lambda: not audit.failing)
    audit.record(other(2))
    audit.close()

    assert len(disk.lines) == 2
    assert audit.dropped == 0


@pytest.mark.parametrize("on_failure", ["drop", "block"])
def test_a_disk_that_hangs_costs_a_bounded_queue_and_no_time(on_failure):
    released = threading.Event()

    class Hanging(Disk):
        def write(self, lines: bytes) -> None:
            released.wait(5)

    audit = Audit(Hanging(), on_failure=on_failure, capacity=10)
    refused = 0
    began = time.monotonic()
    for n in range(1000):
        try:
            audit.record(EVENT._replace(principal=Principal(str(n), PrincipalKind.JWT)))
        except NotAuditedError:
            refused += 1
    taken = time.monotonic() - began
    released.set()
    audit.close()

    assert taken < 0.5
    assert (audit.dropped if on_failure == "drop" else refused) >= 970


def test_closing_does_not_wait_for_a_full_disk(disk):
    audit = Audit(disk, on_failure="block")
    disk.full = True
    audit.record(EVENT)
    until(lambda: audit.failing)

    began = time.monotonic()
    audit.close()

    assert time.monotonic() - began < 1
    assert audit.dropped == 1


def test_without_a_file_events_go_to_the_log(caplog):
    caplog.set_level("INFO")
    MainLog().write(written(EVENT))

    assert json.loads(caplog.records[0].audit)["result"] == "denied"


# The file


def test_the_file_and_its_folder_are_for_their_owner_alone(tmp_path: Path):
    os.umask(0)
    try:
        file = AuditFile(tmp_path / "new" / "audit.jsonl", max_bytes=100, backups=1)
        file.write(b"a\n")
    finally:
        os.umask(0o022)
    file.close()

    assert stat.S_IMODE((tmp_path / "new" / "audit.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    path.touch(mode=0o644)
    AuditFile(path, max_bytes=100, backups=1).write(b"a\n")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotation_keeps_so_many_files_and_the_newest_lines(tmp_path: Path):
    file = AuditFile(tmp_path / "a", max_bytes=10, backups=2)
    for n in range(8):
        file.write(b"line%d\n" % n)

    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a": b"line7\n", "a.1": b"line6\n", "a.2": b"line5\n"}


def test_without_backups_the_file_starts_anew(tmp_path: Path):
    file = AuditFile(tmp_path / "a", max_bytes=3, backups=0)
    file.write(b"1\n")
    file.write(b"2\n")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"2\n"}


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path):
    file = AuditFile(tmp_path / "a", max_bytes=100, backups=2)
    file.write(b"1\n")
    (tmp_path / "a").rename(tmp_path / "b")
    file.write(b"2\n")

    assert (tmp_path / "a").read_bytes() == b"2\n"
    assert (tmp_path / "b").read_bytes() == b"1\n"


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path, monkeypatch):
    file = AuditFile(tmp_path / "a", max_bytes=100, backups=2)
    file.write(b"whole\n")
    write = os.write
    left = [3]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, bytes(data)[: left[0]])
        left[0] = 0
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.write(b"broken\n")

    assert (tmp_path / "a").read_bytes() == b"whole\n"


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_regular_file_is_not_written_to(tmp_path: Path, kind):
    path = tmp_path / "a"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()

    with pytest.raises(OSError):  # noqa: PT011 Each kind has another reason.
        AuditFile(path, max_bytes=100, backups=2).write(b"1\n")
    assert not (tmp_path / "elsewhere").exists()


# What the gate records

PUT, GET = Put(data_key("prices", b"key"), b"secret"), Get(data_key("prices", b"key"))
OWN = Put(data_key("team-a", b"key"), b"secret")


def recorded(access, record: str, act) -> list[dict]:
    disk = Disk()
    audit = Audit(disk, on_failure="drop")
    act(Gate(access, audit, record))
    audit.close()
    return disk.lines


def several(gate: Gate, ann: Principal) -> None:
    gate.ask(ann, GET, "10.0.0.9")
    gate.ask(ann, OWN, "10.0.0.9")
    gate.ask_all(ann, [OWN, Remove(OWN.key), GET], "10.0.0.9")
    gate.ask_all(ann, Columns([OWN.key] * 3, [b"", None, None]), "10.0.0.9")
    with pytest.raises(PermissionDeniedError):
        gate.ask(ann, PUT, "10.0.0.9")
    with pytest.raises(PermissionDeniedError):
        gate.ask_all(ann, [GET, PUT], "10.0.0.9")


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        ("denied", {}),
        ("changes", {("Write", "team-a"): 3, ("Delete", "team-a"): 2}),
        ("all", {("Write", "team-a"): 3, ("Delete", "team-a"): 2, ("Read", "prices"): 2}),
    ],
)
def test_what_is_recorded_is_chosen_and_denials_always_are(access, caller, record, counts):
    lines = recorded(access, record, lambda gate: several(gate, caller("clerk")))

    found = Counter()
    for line in lines:
        collection = line["resource"].removeprefix('Collection("').removesuffix('")')
        key = (line["action"], collection)
        if line["result"] == "success":
            found[key] += int(line.get("metadata", {}).get("count", 1))
    denied = [line for line in lines if line["result"] == "denied"]
    assert found == counts
    assert [one["resource"] for one in denied] == ['Collection("prices")'] * 2
    assert denied[1]["metadata"] == {"query": "1"}
    assert all(line["source_ip"] == "10.0.0.9" for line in lines)
    assert "secret" not in json.dumps(lines)
    assert '"key"' not in json.dumps(lines)


def test_administration_is_recorded_with_its_name_whatever_is_chosen(access, caller):
    def act(gate: Gate) -> None:
        gate.ask(caller("admin"), Method("AddMember"))
        gate.ask(caller("watcher"), Administer("METRICS"))
        with pytest.raises(PermissionDeniedError):
            gate.ask(caller("watcher"), Method("AddMember"))

    lines = recorded(access, "denied", act)

    found = [(one["event_type"], one["result"], one["metadata"]["operation"]) for one in lines]
    assert found == [
        ("admin", "success", "AddMember"),
        ("admin", "success", "METRICS"),
        ("authorization", "denied", "AddMember"),
    ]
    assert {(one["action"], one["resource"]) for one in lines} == {("Admin", "Server")}


def test_a_gate_without_an_audit_decides_all_the_same(access, caller):
    gate = Gate(access, None, "all")

    gate.ask(caller("clerk"), GET)
    with pytest.raises(PermissionDeniedError):
        gate.ask(caller("clerk"), PUT)


# Configuration


@pytest.mark.parametrize(
    ("authz", "audit", "key"),
    [
        ({"policies_file": "p"}, {}, "authz.policies_file"),
        ({"collection_permissions": False}, {}, "authz.collection_permissions"),
        ({"audit_enabled": False}, {"max_backups": 3}, "audit.max_backups"),
        ({}, {"on_failure": "block"}, "audit.on_failure"),
    ],
)
def test_keys_without_effect_are_refused(authz, audit, key):
    found = list(faults(AuthzSection(**authz), AuditSection(**audit)))

    assert [fault.key for fault in found] == [key]


def test_the_defaults_and_a_file_for_block_have_no_fault():
    block = AuthzSection(audit_log_path="a"), AuditSection(on_failure="block")

    assert not list(faults(AuthzSection(), AuditSection()))
    assert not list(faults(*block))
