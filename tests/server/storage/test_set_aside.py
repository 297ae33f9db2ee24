"""What a removed member has stored is moved as a whole, though a crash may come at any rename."""

import os
from pathlib import Path

import pytest
from amaters_server.storage import set_aside
from amaters_server.storage.set_aside import SetAside

PARTS = ["db", "db.durable", "transfers"]


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").write_bytes(b"1234")
    (tmp_path / "db.durable").write_bytes(b"56")
    (tmp_path / "snapshots").mkdir()
    return [tmp_path / one for one in PARTS]


def test_nothing_moves_without_a_request(tmp_path, parts):
    assert set_aside.carry_out(tmp_path, parts) == 0
    assert (tmp_path / "db" / "CURRENT").exists()
    assert set_aside.found(tmp_path) == ()


def test_a_request_moves_the_members_parts_and_nothing_else(tmp_path, parts):
    set_aside.request(tmp_path, 4)

    assert set_aside.carry_out(tmp_path, parts) == 4

    assert sorted(one.name for one in tmp_path.iterdir()) == ["set-aside", "snapshots"]
    assert (tmp_path / "set-aside" / "member-4" / "db" / "CURRENT").read_bytes() == b"1234"
    assert set_aside.found(tmp_path) == (SetAside(4, 6),)
    assert set_aside.carry_out(tmp_path, parts) == 0


@pytest.mark.parametrize("at", [0, 1])
def test_a_crash_between_two_renames_is_finished_by_the_next_start(
    tmp_path, parts, monkeypatch, at
):
    set_aside.request(tmp_path, 4)
    rename, done = Path.rename, []

    def failing(self, target):
        if len(done) == at:
            raise OSError(5, os.strerror(5))
        done.append(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        set_aside.carry_out(tmp_path, parts)
    monkeypatch.undo()

    assert set_aside.carry_out(tmp_path, parts) == 4
    assert set_aside.found(tmp_path) == (SetAside(4, 6),)


def test_a_second_generation_lies_beside_the_first(tmp_path, parts):
    set_aside.request(tmp_path, 4)
    set_aside.carry_out(tmp_path, parts)
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "CURRENT").write_bytes(b"789")
    set_aside.request(tmp_path, 10)
    set_aside.carry_out(tmp_path, parts)

    assert set_aside.found(tmp_path) == (SetAside(4, 6), SetAside(10, 3))
    assert set_aside.discard(tmp_path, 4)
    assert not set_aside.discard(tmp_path, 4)
    assert set_aside.found(tmp_path) == (SetAside(10, 3),)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"member": 0}', b'{"member": "4/../.."}', b"[" * 5000, b"\xff"]
)
def test_a_damaged_request_is_refused_and_moves_nothing(tmp_path, parts, content):
    (tmp_path / set_aside.REQUEST).write_bytes(content)

    with pytest.raises(ValueError, match="delete it, and ask again"):
        set_aside.carry_out(tmp_path, parts)

    assert (tmp_path / "db" / "CURRENT").exists()
