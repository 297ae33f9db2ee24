import pytest
from amaters_server.config import aliases
from amaters_server.config.keys import section_of
from amaters_server.config.load import Sources, load
from amaters_server.config.settings import Settings


def loaded(tmp_path, text, environment=None):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path, environment=environment or {}))


def test_the_readme_file_of_the_first_version_is_understood(tmp_path):
    result = loaded(
        tmp_path,
        """
        [server]
        log_level = "debug"
        [storage]
        wal_dir = "/w"
        cache_size_mb = 1024
        compaction_threads = 2
        [middleware]
        rate_limit_rps = 5
        cors_origins = ["*"]
        [health]
        http_port = 9191
        [network]
        max_connections = 7
        [observability]
        log_format = "json"
        """,
    )
    settings = result.settings

    assert settings.logging.level == "debug"
    assert str(settings.storage.wal.dir) == "/w"
    assert settings.storage.block_cache_size_mb == 1024
    assert settings.storage.compaction.max_concurrent == 2
    assert settings.metrics.bind_address == "127.0.0.1:9191"
    assert settings.server.max_connections == 7
    assert settings.logging.format == "json"
    assert settings.gateway.cors_origins == ("*",)
    assert "gateway.cors_origins has no effect while gateway.enabled is false" in result.notices
    assert not [notice for notice in result.notices if "unknown" in notice]


def test_a_transport_that_was_chosen_is_told_to_have_no_effect(tmp_path):
    result = loaded(tmp_path, '[network]\ntransport = "grpcio"\nmax_message_bytes = 2048')

    assert result.settings.network.max_message_bytes == 2048
    assert result.notices == (
        "network.transport has no effect: there is one transport, so remove the key",
    )


def test_the_network_library_table_is_understood(tmp_path):
    settings = loaded(
        tmp_path,
        '[net]\nbind_addr = "127.0.0.1:5"\n[net.tls]\nenabled = false\n'
        '[net.logging]\nverbosity = "detailed"',
    ).settings

    assert settings.server.bind_address == "127.0.0.1:5"
    assert settings.logging.level == "debug"


def test_the_cluster_library_keys_are_understood(tmp_path):
    settings = loaded(
        tmp_path, 'node_id = 2\npeers = ["1=a:1", "2=b:1"]\ncompaction_threshold = 5'
    ).settings

    assert settings.cluster is not None
    assert settings.cluster.node_id == 2
    assert settings.cluster.peers == ("1:a:1", "2:b:1")
    assert settings.cluster.log_retention_entries == 5


def test_a_list_of_peers_in_the_environment_makes_a_cluster(tmp_path):
    settings = loaded(
        tmp_path, "", {"AMATERS_PEERS": "1=a:1, 2=b:1", "AMATERS_NODE_ID": "2"}
    ).settings

    assert settings.cluster is not None
    assert settings.cluster.peers == ("1:a:1", "2:b:1")
    assert settings.cluster.node_id == 2


def test_a_name_alone_does_not_make_a_cluster(tmp_path):
    assert loaded(tmp_path, "", {"AMATERS_NODE_NAME": "x"}).settings.cluster is None


def test_the_name_of_today_wins_with_a_notice(tmp_path):
    result = loaded(tmp_path, '[server]\nlog_level = "debug"\n[logging]\nlevel = "warn"')

    assert result.settings.logging.level == "warn"
    assert result.notices == (
        "server.log_level is ignored: logging.level, its name today, is set too",
    )


@pytest.mark.parametrize(
    "key", [alias.today for alias in (*aliases.KEYS.values(), *aliases.ENVIRONMENT.values())]
)
def test_every_older_name_leads_to_a_key_that_exists(key):
    section = Settings
    *tables, last = key.split(".")
    for name in tables:
        section = section_of(section.model_fields[name].annotation)

    assert last in section.model_fields
