"""The writer of the audit log: what is lost, hidden or torn, and what must not be."""

import json
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from amaters_server.access.audit import Audit, Event, EventType, MainLog, Outcome, Tally, as_line
from amaters_server.access.audit_file import AuditFile
from amaters_server.model.principal import Principal, PrincipalKind

ANN = Principal("ann", PrincipalKind.JWT, ("clerk",))
DENIED = Event(EventType.AUTHORIZATION, Outcome.DENIED, ANN, resource='Collection("secret")')


class Slow:
    """Takes lines when it may."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.lines: list[dict] = []

    def write(self, lines: bytes) -> None:
        self.entered.set()
        assert self.released.wait(5)
        self.lines += map(json.loads, lines.splitlines())

    def close(self) -> None:
        pass


@pytest.fixture
def disk() -> Slow:
    return Slow()


@pytest.fixture
def audit(disk, monkeypatch) -> Audit:
    monkeypatch.setattr("amaters_server.access.audit.GATHER_SECONDS", 0.05)
    return Audit(disk, on_failure="drop")


def written(audit: Audit, disk: Slow) -> list[dict]:
    disk.released.set()
    audit.close()
    return disk.lines


def test_events_that_come_during_the_last_write_are_written_too(audit, disk):
    audit.record(DENIED)
    assert disk.entered.wait(5)
    audit.record(DENIED._replace(resource="later"))
    closing = threading.Thread(target=audit.close)
    closing.start()
    disk.released.set()
    closing.join()

    assert [line["resource"] for line in disk.lines] == ['Collection("secret")', "later"]
    assert audit.dropped == 0


def test_many_permitted_operations_do_not_hide_what_was_denied(audit, disk):
    """Else a caller wrote to 20 collections of its own first, and its denials had no resource."""
    for number in range(30):
        audit.record(Event(EventType.AUTHORIZATION, Outcome.SUCCESS, ANN, resource=str(number)))
    audit.record(DENIED)

    denied = [line for line in written(audit, disk) if line["result"] == "denied"]
    assert [line["resource"] for line in denied] == ['Collection("secret")']


def test_administration_is_never_summarized(audit, disk):
    for number in range(100):
        audit.record(
            Event(EventType.ADMIN, Outcome.SUCCESS, ANN, details=(("operation", str(number)),))
        )

    lines = written(audit, disk)
    assert [line["metadata"]["operation"] for line in lines] == list(map(str, range(100)))


def test_the_summary_of_an_unknown_caller_has_its_address(audit, disk):
    for number in range(30):
        failed = Event(EventType.AUTHENTICATION, Outcome.FAILURE, error=str(number))
        audit.record(failed._replace(source_ip="192.0.2.1"))

    lines = written(audit, disk)
    assert {line["source_ip"] for line in lines} == {"192.0.2.1"}
    assert Counter("metadata" in line for line in lines) == {False: 20, True: 1}


def test_an_unfinished_line_of_a_killed_process_spoils_no_other(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": 2, "resu')
    AuditFile(path, max_bytes=1000, backups=1).write(b'{"id": 3}\n')

    assert path.read_bytes() == b'{"id": 1}\n{"id": 2, "resu\n{"id": 3}\n'


def test_an_empty_file_begins_with_a_line(tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    path.touch()
    AuditFile(path, max_bytes=1000, backups=1).write(b'{"id": 3}\n')

    assert path.read_bytes() == b'{"id": 3}\n'


def test_lines_are_on_the_disk_when_they_are_written(tmp_path: Path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    file = AuditFile(tmp_path / "a", max_bytes=1000, backups=1)
    file.write(b"1\n")
    file.write(b"2\n")

    assert len(synced) == 2


def test_a_disk_that_cannot_sync_has_not_taken_the_lines(tmp_path: Path, monkeypatch):
    def broken(_file: int) -> None:
        raise OSError(5, "Input/output error")

    file = AuditFile(tmp_path / "a", max_bytes=1000, backups=1)
    file.write(b"1\n")
    monkeypatch.setattr("os.fdatasync", broken)

    with pytest.raises(OSError, match="Input/output"):
        file.write(b"2\n")
    assert (tmp_path / "a").read_bytes() == b"1\n"


def test_two_processes_do_not_write_one_file(tmp_path: Path):
    first = AuditFile(tmp_path / "a", max_bytes=1000, backups=1)
    second = AuditFile(tmp_path / "a", max_bytes=1000, backups=1)
    first.write(b"1\n")

    with pytest.raises(OSError, match="another process"):
        second.write(b"2\n")
    first.close()
    second.write(b"2\n")

    assert (tmp_path / "a").read_bytes() == b"1\n2\n"


def test_the_logs_throttle_takes_no_denial_for_a_permitted_call(caplog):
    """It limits each event by its name."""
    caplog.set_level("INFO")
    permitted = DENIED._replace(outcome=Outcome.SUCCESS, resource='"result":"success"')
    failed = Event(EventType.AUTHENTICATION, Outcome.FAILURE, error='"result":"success"')
    MainLog().write(b"".join(as_line(Tally(one, 0)) for one in (permitted, DENIED, failed)))

    assert [record.message for record in caplog.records] == [
        "audit.event",
        "audit.refused",
        "audit.refused",
    ]


def test_equal_events_gather_for_a_while(audit, disk):
    disk.released.set()
    audit.record(DENIED)
    time.sleep(0.01)
    audit.record(DENIED)

    assert [line["metadata"] for line in written(audit, disk)] == [{"count": "2"}]


def test_a_file_is_rotated_only_when_it_would_be_too_large(tmp_path: Path):
    file = AuditFile(tmp_path / "a", max_bytes=4, backups=1)
    file.write(b"1\n")
    file.write(b"2\n")
    assert not (tmp_path / "a.1").exists()

    file.write(b"3\n")

    assert (tmp_path / "a.1").read_bytes() == b"1\n2\n"


class Full:
    """Takes nothing, and counts how often it was tried."""

    def __init__(self) -> None:
        self.tries = 0
        self.full = True

    def write(self, lines: bytes) -> None:
        self.tries += 1
        if self.full:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


def test_a_full_disk_is_tried_seldom_and_logged_once(monkeypatch, caplog):
    monkeypatch.setattr("amaters_server.access.audit.GATHER_SECONDS", 0.01)
    monkeypatch.setattr("amaters_server.access.audit.RETRY_SECONDS", 0.05)
    disk = Full()
    audit = Audit(disk, on_failure="block")
    audit.record(DENIED)
    time.sleep(0.5)
    tries, disk.full = disk.tries, False
    audit.close()

    assert 2 <= tries <= 12
    assert [record.message for record in caplog.records] == [
        "audit.write_failed",
        "audit.recovered",
    ]


def test_a_writer_without_events_uses_no_processor_time(audit, disk):
    disk.released.set()
    audit.record(DENIED)
    time.sleep(0.2)

    began = time.process_time()
    time.sleep(0.3)

    assert time.process_time() - began < 0.1
    audit.close()
