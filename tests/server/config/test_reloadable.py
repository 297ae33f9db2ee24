import pytest
from amaters_server.config.load import Sources, load
from amaters_server.config.reloadable import ReloadReport, difference, merged


def settings(tmp_path, text=""):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path)).settings


def test_nothing_differs_between_equal_configurations(tmp_path):
    assert difference(settings(tmp_path), settings(tmp_path)).updated == ()
    assert difference(settings(tmp_path), settings(tmp_path)).skipped == ()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('[logging]\nlevel = "debug"', "logging"),
        ("[logging.rotation]\nmax_backups = 1", "logging"),
        ("[metrics]\nenabled = false", "metrics"),
        ("[storage.compaction]\nmax_concurrent = 3\nlevel_multiplier = 3", "compaction"),
        ("[server]\nmax_connections = 5", "rate_limit"),
        ("[resource_limits]\nmax_connections_per_client = 5", "rate_limit"),
        ('[snapshots]\ndestination = "/d"\nkeep_local = 1', "snapshots"),
        ('[snapshots]\nallowed_destinations = ["/d"]', "snapshots"),
        ('[snapshots.s3]\ncredentials_dir = "/d"', "snapshots"),
        ('[alerts]\nwebhook_url = "http://a/"\ndedup_window_secs = 5', "alerts"),
    ],
)
def test_published_sections_are_taken_over(tmp_path, text, label):
    found = difference(settings(tmp_path), settings(tmp_path, text))

    assert found.updated == (label,)
    assert found.skipped == ()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('[server]\nbind_address = "127.0.0.1:7878"', "bind_address"),
        ('[server]\nbind_address = "0.0.0.0:1"', "port"),
        ('[server]\ndata_dir = "/d"', "data_dir"),
        ('[storage]\nengine = "memory"', "storage_engine"),
        ('[metrics]\nbind_address = "0.0.0.0:1"', "metrics.bind_address"),
        ("[storage]\nmemtable_size_mb = 1", "storage.memtable_size_mb"),
        ('[snapshots]\ndir = "elsewhere"', "snapshots.dir"),
        ("[storage.compaction]\nnum_levels = 3", "storage.compaction.num_levels"),
        ('[storage.compaction]\nstrategy = "tiered"', "storage.compaction.strategy"),
        ('[cluster]\npeers = ["1:a:1"]\nnode_id = 1', "cluster"),
    ],
)
def test_all_else_waits_for_a_restart_and_is_named(tmp_path, text, label):
    found = difference(settings(tmp_path), settings(tmp_path, text))

    assert found.updated == ()
    assert found.skipped == (label,)


@pytest.mark.parametrize(
    ("key", "label"), [("tls_cert", "tls_cert_path"), ("tls_key", "tls_key_path")]
)
def test_paths_of_certificates_wait_for_a_restart(tmp_path, key, label):
    paths = {"tls_cert": "c", "tls_key": "k"}
    text = "[network]\ntls_enabled = true\ntls_cert = '{tls_cert}'\ntls_key = '{tls_key}'"

    found = difference(
        settings(tmp_path, text.format(**paths)),
        settings(tmp_path, text.format(**paths | {key: "another"})),
    )

    assert found.skipped == (label,)


def test_merging_takes_the_reloadable_and_keeps_the_rest(tmp_path):
    old = settings(tmp_path)
    new = settings(
        tmp_path,
        '[logging]\nlevel = "debug"\n[server]\nmax_connections = 5\ndata_dir = "/elsewhere"\n'
        "[resource_limits]\nmax_connections_per_client = 5\nmax_active_queries = 5",
    )

    now = merged(old, new)

    assert now.logging.level == "debug"
    assert now.server.max_connections == 5
    assert now.resource_limits.max_connections_per_client == 5
    assert now.resource_limits.max_active_queries == 1000
    assert now.server.data_dir == old.server.data_dir
    assert difference(now, new).updated == ()


def test_the_report_reads_as_published():
    good = ReloadReport(sections_updated=("logging", "metrics"), sections_skipped=("port",))
    bad = ReloadReport(errors=("no such file",))

    assert str(good) == (
        "Config reload successful. Updated: logging, metrics. Skipped (restart required): port. "
    )
    assert str(bad) == "Config reload failed. Error: no such file. "
    assert good.success
    assert not bad.success
