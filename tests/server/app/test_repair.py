"""A log that no member can apply is reported, repaired on request, and serves again."""

import os
import re
import shutil

import pytest
from amaters_server.app import repair
from amaters_server.app.cli import main
from amaters_server.app.files.engine import database_folder, open_engine
from amaters_server.config.load import Sources, load
from amaters_server.machine.machine import Machine
from amaters_server.node.joining import founding
from amaters_server.node.settings import InitialMember
from amaters_server.raft.log import HIGHEST_TERM, Identity, Log
from amaters_server.raft.raft_node import ENTRY_NORMAL
from amaters_server.storage.engine import Changes
from amaters_server.storage.rocks.engine import RocksEngine
from click.testing import CliRunner

GARBAGE = b"\xff" * 7


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    return ["--config", str(tmp_path / "empty.toml"), "--data-dir", str(tmp_path / "data")]


@pytest.fixture
def settings(tmp_path, arguments):
    flags = {"server.data_dir": str(tmp_path / "data")}
    return load(Sources(path=tmp_path / "empty.toml", environment={}, flags=flags)).settings


@pytest.fixture
def disk(settings):
    """Write a log: index, term and data of each entry, and the term."""

    def write(entries, term=3):
        engine = open_engine(settings)
        log, changes = Log(engine), Changes()
        log.put_identity(changes, Identity("c", 2, "d"))
        log.restart_at(changes, 1, 1)
        log.append(changes, [(at, of, ENTRY_NORMAL, data, b"") for at, of, data in entries])
        log.put_hard_state(changes, (term, 1, entries[-1][0]))
        engine.write(changes, sync=True)
        engine.close()

    return write


def run(*arguments):
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_a_sound_log_needs_nothing(disk, arguments):
    disk([(2, 2, b""), (3, 3, b"")])

    assert run("repair", *arguments) == (
        0,
        "Member 2, log up to entry 3, term 3\nNothing to repair\n",
    )


def test_the_report_names_the_entry_and_the_command_and_changes_nothing(disk, arguments):
    disk([(2, 2, b""), (3, 3, GARBAGE), (4, 3, b"")])

    first, second = run("repair", *arguments), run("repair", *arguments)

    assert first == second
    code, text = first
    assert code == 0
    assert re.search(r"entry 3: .*7 bytes.* does not decode", text)
    assert text.endswith("amaters-server repair --drop-entry 3\n")


def test_a_dropped_entry_keeps_its_place_and_does_nothing(disk, arguments, settings):
    disk([(2, 2, b""), (3, 3, GARBAGE), (4, 3, b"")])

    code, text = run("repair", "--drop-entry", "3", *arguments)

    engine = open_engine(settings)
    stored = Log(engine).load()
    engine.close()
    assert (code, text.splitlines()[-1]) == (0, "Nothing to repair")
    assert stored.entries[1] == (3, 3, ENTRY_NORMAL, b"", b"")
    assert [one[0] for one in stored.entries] == [2, 3, 4]


def test_a_sound_entry_cannot_be_dropped(disk, arguments):
    disk([(2, 2, b""), (3, 3, GARBAGE)])

    assert run("repair", "--drop-entry", "2", *arguments) == (
        1,
        "Error: entry 2 is sound or not in the log: it stays\n",
    )


def test_a_term_beyond_reason_becomes_one_that_no_vote_was_given_in(disk, arguments, settings):
    disk([(2, 2, b"")], term=HIGHEST_TERM + 1)

    report = run("repair", *arguments)[1]
    code, _ = run("repair", "--reset-term", *arguments)

    engine = open_engine(settings)
    stored = Log(engine).load()
    engine.close()
    assert "--reset-term" in report
    assert code == 0
    assert stored.hard_state == (2 + repair.TERM_MARGIN, 0, 2)


def test_a_term_within_reason_stays(disk, arguments):
    disk([(2, 2, b"")])

    assert run("repair", "--reset-term", *arguments)[0] == 1


def test_an_entry_that_some_member_may_have_applied_stays(disk, arguments):
    unusual = b"\x08\x02\xa3\x01\xa4\x01"  # Members refuse groups from others, and can apply them.
    disk([(2, 2, b""), (3, 3, unusual)])

    assert run("repair", *arguments)[1].endswith("Nothing to repair\n")
    assert run("repair", "--drop-entry", "3", *arguments)[0] == 1


def test_a_log_whose_own_terms_are_beyond_reason_needs_a_backup(disk, arguments):
    disk([(2, HIGHEST_TERM + 1, b"")], term=HIGHEST_TERM + 1)

    code, text = run("repair", "--reset-term", *arguments)

    assert code == 1
    assert "restore the newest backup" in text


def test_a_folder_in_use_or_of_nobody_is_refused(disk, arguments, settings):
    assert run("repair", *arguments)[0] == 1
    disk([(2, 2, b"")])
    engine = open_engine(settings)

    code, text = run("repair", *arguments)

    engine.close()
    assert code == 1
    assert "another process has it open: stop that process first" in text


def cut_log(folder):
    """Lose the end of what was synced last."""
    newest = max(folder.glob("*.log"), key=lambda path: path.stat().st_size)
    os.truncate(newest, newest.stat().st_size - 3)


def form(settings, members):
    """Leave a disk as a killed process leaves it: copied while it is open."""
    folder = database_folder(settings)
    live = folder.with_name("live")
    engine = RocksEngine(live)
    machine, log = Machine(engine), Log(engine)
    initial = tuple(InitialMember(one, f"n{one}:1") for one in range(1, members + 1))
    disks = {one.id: f"disk-{one.id}" for one in initial}
    changes = Changes()
    formed = founding.membership_of("cluster", initial, disks)
    changes.extend(machine.form(formed, index=1, term=1))
    log.restart_at(changes, 1, 1)
    log.put_identity(changes, Identity("cluster", 1, "disk-1"))
    engine.write(changes, sync=True)
    changes = Changes()
    log.put_hard_state(changes, (2, 1, 1))
    engine.write(changes, sync=True)
    shutil.copytree(live, folder)
    shutil.copy(live.with_name("live.durable"), folder.with_name("db.durable"))
    engine.close()


def test_a_lone_node_may_go_on_with_less_than_it_acknowledged(arguments, settings):
    form(settings, 1)
    cut_log(database_folder(settings))

    refused = run("repair", *arguments)
    code, text = run("repair", "--accept-loss", *arguments)

    assert refused[0] == 1
    assert "holds less than was acknowledged" in refused[1]
    assert "repair --accept-loss" in refused[1]
    assert (code, text.splitlines()[-1]) == (0, "Nothing to repair")


def test_a_member_of_several_must_not_go_on_with_less(arguments, settings):
    form(settings, 3)
    cut_log(database_folder(settings))

    code, text = run("repair", "--accept-loss", *arguments)

    assert code == 1
    assert "one of 3 members" in text
    assert "Remove the member and add it again" in text
    assert run("repair", *arguments)[0] == 1
