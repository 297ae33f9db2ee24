"""What has no effect because of another key is noticed, and so is what may be lost."""

import re

import pytest
from amaters_server.config.load import Sources, load
from amaters_server.config.security import protection
from amaters_server.model.errors import ConfigurationError


def notices(tmp_path, text: str) -> tuple[str, ...]:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path)).notices


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        (
            '[storage]\nengine = "memory"\nmemtable_size_mb = 1\n[storage.wal]\nsync_mode = "none"',
            'storage.memtable_size_mb, storage.wal.sync_mode have no effect while storage.engine is "memory"',
        ),
        (
            '[logging]\nfile_path = "/f"',
            "logging.file_path has no effect while logging.file_enabled is false",
        ),
        (
            (
                '[logging]\nfile_path = "/f"\nfile_enabled = true\n'
                "rotation = {enabled = false, max_backups = 1}"
            ),
            "logging.rotation.max_backups has no effect while logging.rotation.enabled is false",
        ),
        (
            "[cluster]\nenabled = false\nnode_id = 3",
            "cluster.node_id has no effect while cluster.enabled is false",
        ),
        (
            "[alerts]\nenabled = false\ndedup_window_secs = 3",
            "alerts.dedup_window_secs has no effect while alerts.enabled is false",
        ),
        (
            "[storage.wal]\nsync_interval_ms = 3",
            'storage.wal.sync_interval_ms has no effect while storage.wal.sync_mode is "always"',
        ),
    ],
)
def test_a_key_that_another_one_switches_off_is_noticed(tmp_path, text, notice):
    assert notices(tmp_path, text) == (notice,)


@pytest.mark.parametrize(
    "text",
    [
        '[logging]\nfile_path = "/f"\nfile_enabled = true\nrotation = {max_backups = 1}',
        "[logging.rotation]\nenabled = true",
        '[cluster]\nenabled = false\nbind_address = "127.0.0.1:1"',
        "[storage]\nmemtable_size_mb = 1",
        '[storage]\nengine = "memory"\nmemtable_size_mb = 64',
    ],
)
def test_a_key_with_effect_is_not_noticed(tmp_path, text):
    assert notices(tmp_path, text) == ()


def test_what_an_interval_may_lose_is_noticed_in_milliseconds(tmp_path):
    text = '[storage.wal]\nsync_mode = "interval"\nsync_interval_ms = 25'

    [notice] = notices(tmp_path, text)

    assert "may lose the writes acknowledged in its last 25 ms" in notice


def test_what_the_operating_system_may_lose_is_noticed_in_milliseconds(tmp_path, monkeypatch):
    [notice] = notices(tmp_path, '[storage.wal]\nsync_mode = "none"')
    assert re.search(r"acknowledged in its last \d+ ms, by the settings of this host", notice)

    monkeypatch.setattr(protection, "KERNEL_SETTINGS", tmp_path)
    (tmp_path / "dirty_expire_centisecs").write_text("100\n")
    (tmp_path / "dirty_writeback_centisecs").write_text("50\n")
    [notice] = notices(tmp_path, '[storage.wal]\nsync_mode = "none"')
    assert "its last 1500 ms" in notice


def test_by_default_nothing_acknowledged_is_lost(tmp_path):
    assert notices(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("enabled = false", "storage.wal.enabled"),
        ("segment_size_mb = 65", "storage.wal.segment_size_mb"),
    ],
)
def test_what_the_engine_does_not_have_is_refused(tmp_path, text, key):
    with pytest.raises(ConfigurationError, match=rf"^{key}: .*: remove it, "):
        notices(tmp_path, f"[storage.wal]\n{text}")
