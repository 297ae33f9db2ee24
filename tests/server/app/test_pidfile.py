import fcntl
import os
import re
import subprocess
import sys

import pytest
from amaters_server.app.files.pidfile import PidFile
from amaters_server.model.errors import ConfigurationError

HOLD = """
import sys, pathlib
from amaters_server.app.files.pidfile import PidFile
PidFile(pathlib.Path(sys.argv[1])).claim()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "pid"


@pytest.fixture
def holder(path):
    """Another process that holds the file until its stdin closes."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_file_holds_the_decimal_id_and_nothing_else(path):
    file = PidFile(path)
    file.claim()

    assert path.read_text() == str(os.getpid())
    file.release()
    assert not path.exists()


def test_nobody_runs_without_a_file(path):
    assert PidFile(path).running() is None


@pytest.mark.parametrize("content", ["", "junk", "-1", "1", str(os.getpid())])
def test_a_leftover_is_nobody_whatever_number_it_holds(path, content):
    path.parent.mkdir()
    path.write_text(content)

    assert PidFile(path).running() is None
    file = PidFile(path)
    file.claim()
    file.release()


def test_the_one_that_holds_the_file_runs(path, holder):
    assert PidFile(path).running() == holder.pid
    said = f"Server is already running: process {holder.pid} holds {path}"
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        PidFile(path).claim()
    assert path.read_text() == str(holder.pid)


def test_two_that_ask_at_once_do_not_take_each_other_for_the_server(path):
    path.parent.mkdir()
    path.write_text("1")
    with path.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)

        assert PidFile(path).running() is None


def test_a_killed_one_runs_no_more(path, holder):
    holder.kill()
    holder.wait()

    assert path.exists()
    assert PidFile(path).running() is None


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"set server\.pid_file"):
        PidFile(tmp_path / "file" / "pid").claim()


def test_a_full_disk_is_said_in_one_line_and_leaves_no_file(full_disk):
    file = PidFile(full_disk / "run" / "pid")

    with pytest.raises(ConfigurationError) as refused:
        file.claim()

    assert str(refused.value) == (
        f"pid file {file.path} cannot be written (No space left on device): make room on that "
        "disk, or set server.pid_file to a path on another one"
    )
    assert not file.path.exists()
    file.release()


def test_a_leftover_on_a_full_disk_goes_too(full_disk, path):
    """An empty file says nothing; the number in the old one was nobody's."""
    (full_disk / "pid").touch()

    with pytest.raises(ConfigurationError):
        PidFile(full_disk / "pid").claim()

    assert not (full_disk / "pid").exists()


def test_a_file_that_its_holder_removes_while_it_is_waited_for_is_not_taken(path, monkeypatch):
    """Two would run: the lock of a removed file says nothing to a third."""
    first, second = PidFile(path), PidFile(path)
    first.claim()
    locked, flock = [], fcntl.flock

    def release_first(file, kind):
        if not locked:
            first.release()
        locked.append(file)
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", release_first)
    second.claim()

    assert path.read_text() == str(os.getpid())
    assert len(locked) == 2
    assert second.running() == os.getpid()
    second.release()


def test_releasing_what_was_never_held_removes_nothing(path, holder):
    PidFile(path).release()

    assert path.exists()
