import asyncio
import hashlib
import signal

import pytest
from amaters_server.app.reload import PAUSE_SECONDS, Reloadable, Reloader, Reloading
from amaters_server.config.load import Sources, load
from amaters_server.model.errors import ConfigurationError, StorageError


class Counted:
    """A reloader that only counts."""

    digest = "d"

    def __init__(self) -> None:
        self.times = 0

    def reload(self) -> None:
        self.times += 1


class Process:
    """What a reload acts on, as the test sees it."""

    def __init__(self, path) -> None:
        self.path = path
        self.applied = []
        self.certificate_errors = []
        self.refusal = None
        path.write_text("")
        sources = Sources(path=path)
        parts = Reloadable(self.apply, lambda: self.certificate_errors)
        self.reloader = Reloader(sources, load(sources).settings, parts)

    def apply(self, settings) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.applied.append(settings)


@pytest.fixture
def process(tmp_path):
    return Process(tmp_path / "config.toml")


def test_what_may_change_is_applied_and_the_rest_named(process):
    process.path.write_text(
        '[logging]\nlevel = "debug"\n[server]\nmax_connections = 5\ndata_dir = "/x"'
    )

    report = process.reloader.reload()

    assert report.sections_updated == ("logging", "rate_limit")
    assert report.sections_skipped == ("data_dir",)
    assert process.applied[0].logging.level == "debug"
    assert str(process.reloader.settings.server.data_dir) == "data"


def test_every_reload_names_all_keys_that_wait_for_a_restart(process):
    process.path.write_text(
        "[storage]\nmemtable_size_mb = 1\n"
        '[storage.compaction]\nstrategy = "tiered"\nnum_levels = 3\nmax_concurrent = 2\n'
        '[server]\ndata_dir = "/x"\nbind_address = "127.0.0.1:1"'
    )

    reports = [process.reloader.reload() for _ in range(3)]

    assert [one.sections_updated for one in reports] == [("compaction",), (), ()]
    assert {one.sections_skipped for one in reports} == {
        (
            "bind_address",
            "port",
            "data_dir",
            "storage.memtable_size_mb",
            "storage.compaction.strategy",
            "storage.compaction.num_levels",
        )
    }
    in_force = process.reloader.settings.storage.compaction
    assert (in_force.strategy, in_force.num_levels, in_force.max_concurrent) == ("leveled", 7, 2)


def test_a_faulty_file_changes_nothing(process):
    before = process.reloader.settings
    process.path.write_text('[logging]\nlevel = "loud"\n[metrics]\nenabled = false')

    report = process.reloader.reload()

    assert not report.success
    assert len(report.errors) == 1
    assert process.applied == []
    assert process.reloader.settings is before


@pytest.mark.parametrize("kind", [ConfigurationError, StorageError])
def test_a_refusal_while_applying_keeps_the_old_settings(process, kind):
    before = process.reloader.settings
    process.refusal = kind("no such folder")
    process.path.write_text('[logging]\nlevel = "debug"')

    report = process.reloader.reload()

    assert report.errors == ("no such folder",)
    assert process.reloader.settings is before


def test_certificates_that_are_no_good_fail_the_reload_but_not_the_rest(process):
    process.certificate_errors = ["expired"]
    process.path.write_text('[logging]\nlevel = "debug"')

    report = process.reloader.reload()

    assert report.errors == ("expired",)
    assert report.sections_updated == ("logging",)


async def test_asking_raises_the_signal_and_returns_its_report(process):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, process.reloader.reload)
    process.path.write_text('[logging]\nlevel = "debug"')

    async with asyncio.timeout(5):
        report = await process.reloader.ask()

    loop.remove_signal_handler(signal.SIGHUP)
    assert report.sections_updated == ("logging",)


def test_the_digest_is_of_the_file_that_is_in_force(process):
    good = '[logging]\nlevel = "debug"\n'
    process.path.write_text(good)
    process.reloader.reload()
    taken_over = process.reloader.digest

    process.path.write_text("[logging\n")
    process.reloader.reload()

    assert taken_over == hashlib.sha256(good.encode()).hexdigest()
    assert process.reloader.digest == taken_over


@pytest.mark.slow
async def test_many_requests_at_once_are_one_reload_and_those_that_follow_one_more():
    reloading, reloader = Reloading(), Counted()
    reloading.begin(reloader)

    for _ in range(1000):
        reloading.ask_soon()
    await asyncio.sleep(0.05)
    at_once = reloader.times
    for _ in range(1000):
        reloading.ask_soon()
    await asyncio.sleep(0.05)
    during_the_pause = reloader.times
    await asyncio.sleep(PAUSE_SECONDS)

    assert (at_once, during_the_pause, reloader.times) == (1, 1, 2)


async def test_a_request_before_there_is_anything_to_reload_is_not_forgotten():
    reloading, reloader = Reloading(), Counted()

    reloading.ask_soon()
    reloading.begin(reloader)
    await asyncio.sleep(0.05)

    assert reloader.times == 1
