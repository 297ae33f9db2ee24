import gzip
import logging
import os

import pytest
from amaters_server.telemetry.log_file import RotatedFile, Rotation

HOUR = 3600


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def write(tmp_path):
    """Write lines to a file: `write(rotation, clock)` returns a function for one line."""
    opened = []

    def begin(rotation, clock=None):
        handler = RotatedFile(tmp_path / "log", rotation, clock or Clock(0))
        opened.append(handler)

        def line(text):
            handler.handle(logging.makeLogRecord({"msg": text}))

        line.close = handler.close
        return line

    yield begin
    for handler in opened:
        handler.close()


def files(folder):
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("seconds", [HOUR, 24 * HOUR])
def test_a_new_file_begins_with_each_interval(write, tmp_path, seconds):
    clock = Clock(seconds - 1)
    line = write(Rotation(interval_seconds=seconds, backups=2), clock)
    line("one")
    clock.now += 1
    line("two")
    clock.now += seconds - 1
    line("two too")

    found = files(tmp_path)
    assert set(found) == {"log", "log.1"}
    assert found["log"].read_text() == "two\ntwo too\n"
    assert found["log.1"].read_text() == "one\n"


def test_old_files_are_kept_by_their_number(write, tmp_path):
    clock = Clock(0)
    line = write(Rotation(interval_seconds=HOUR, backups=2), clock)
    for text in ("a", "b", "c", "d"):
        line(text)
        clock.now += HOUR

    found = files(tmp_path)
    assert {name: path.read_text() for name, path in found.items()} == {
        "log": "d\n",
        "log.1": "c\n",
        "log.2": "b\n",
    }


def test_without_backups_a_full_file_is_emptied(write, tmp_path):
    line = write(Rotation(size_bytes=31, backups=0), Clock(0))
    for number in range(20):
        line(f"line number {number:02}")

    assert set(files(tmp_path)) == {"log"}
    assert (tmp_path / "log").read_text() == "line number 18\nline number 19\n"


def test_a_file_of_an_earlier_interval_is_rotated_after_a_restart(write, tmp_path):
    (tmp_path / "log").write_text("yesterday\n")
    os.utime(tmp_path / "log", (HOUR, HOUR))
    line = write(Rotation(interval_seconds=24 * HOUR, backups=2), Clock(25 * HOUR))
    line("today")

    found = files(tmp_path)
    assert found["log"].read_text() == "today\n"
    assert found["log.1"].read_text() == "yesterday\n"


def test_size_and_interval_work_together(write, tmp_path):
    line = write(Rotation(size_bytes=20, interval_seconds=HOUR, backups=5), Clock(0))
    for number in range(4):
        line(f"line number {number}")

    assert set(files(tmp_path)) == {"log", "log.1", "log.2", "log.3"}


def test_old_files_are_compressed(write, tmp_path):
    clock = Clock(0)
    line = write(Rotation(interval_seconds=HOUR, backups=2, compress=True), clock)
    for text in ("a", "b", "c", "d"):
        line(text)
        clock.now += HOUR
    line.close()

    found = files(tmp_path)
    assert set(found) == {"log", "log.1.gz", "log.2.gz"}
    assert gzip.decompress(found["log.1.gz"].read_bytes()) == b"c\n"
    assert gzip.decompress(found["log.2.gz"].read_bytes()) == b"b\n"


def test_a_file_that_cannot_be_compressed_is_kept_as_it_is(write, tmp_path, caplog):
    clock = Clock(0)
    line = write(Rotation(interval_seconds=HOUR, backups=2, compress=True), clock)
    (tmp_path / "log.1.gz.part").mkdir()
    line("a")
    clock.now += HOUR
    line("b")
    line.close()

    assert files(tmp_path)["log.1"].read_text() == "a\n"
    assert [one.message for one in caplog.records] == ["log.write_failed"]
