import re
from pathlib import Path

import pytest
from amaters_server.config.load import DEFAULT_PATH, Loaded, Sources, as_toml, load
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError


def loaded(tmp_path: Path, text: str, **sources) -> Loaded:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(Sources(path=path, **sources))


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        loaded(tmp_path, text)
    return str(raised.value)


def test_everything_has_a_default(tmp_path):
    assert loaded(tmp_path, "").settings == Settings()


def test_the_default_file_may_be_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = load(Sources(path=DEFAULT_PATH, environment={"AMATERS_LOG_LEVEL": "debug"}))

    assert result.settings.logging.level == "debug"


def test_any_other_file_must_exist(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Configuration file not found: .*other\.toml"):
        load(Sources(path=tmp_path / "other.toml"))


@pytest.mark.parametrize("key", ["webhook_url_file", "webhook_token_file"])
@pytest.mark.parametrize(
    ("name", "wrong"), [("none", "does not exist"), ("", "is a folder"), ("good", None)]
)
def test_a_file_of_the_webhook_that_cannot_be_read_is_noticed(tmp_path, key, name, wrong):
    (tmp_path / "good").touch()
    notices = loaded(tmp_path, f'[alerts]\n{key} = "{tmp_path / name}"').notices

    said = [one for one in notices if key in one]
    assert bool(said) == bool(wrong)
    assert all(f"alerts.{key}: {tmp_path / name} {wrong}" in one for one in said)


def test_flags_win_over_environment_over_file_over_default(tmp_path):
    text = '[server]\nbind_address = "127.0.0.1:1"\ndata_dir = "/file"\n[logging]\nlevel = "warn"'

    settings = loaded(
        tmp_path,
        text,
        environment={"AMATERS_BIND_ADDRESS": "127.0.0.1:2", "AMATERS_DATA_DIR": "/environment"},
        flags={"server.bind_address": "127.0.0.1:3"},
    ).settings

    assert settings.server.bind_address == "127.0.0.1:3"
    assert settings.server.data_dir == Path("/environment")
    assert settings.logging.level == "warn"
    assert settings.server.max_connections == 1000


@pytest.mark.parametrize("text", ["true", " True ", "1", "yes", "on"])
def test_tls_is_switched_on_by_the_environment(tmp_path, text):
    file = '[network]\ntls_cert = "c"\ntls_key = "k"'

    assert loaded(
        tmp_path, file, environment={"AMATERS_TLS_ENABLED": text}
    ).settings.network.tls_enabled


def test_tls_is_switched_off_by_the_environment(tmp_path):
    file = "[network]\ntls_enabled = true"

    off = loaded(tmp_path, file, environment={"AMATERS_TLS_ENABLED": "false"})

    assert not off.settings.network.tls_enabled


def test_tls_is_not_off_because_of_a_word_that_means_nothing(tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigurationError, match=r"valid boolean.*'junk' \[network.tls_enabled\]"):
        load(Sources(path=tmp_path / "config.toml", environment={"AMATERS_TLS_ENABLED": "junk"}))


def test_unknown_keys_are_named_and_ignored(tmp_path):
    result = loaded(tmp_path, "[server]\ncolour = 1\n[weather]\nrain = true\n[storage.wal]\nx = 2")

    assert [notice for notice in result.notices if "unknown" in notice] == [
        "server.colour is unknown and ignored",
        "weather is unknown and ignored",
        "storage.wal.x is unknown and ignored",
    ]


@pytest.mark.parametrize(("count", "doubted"), [(1, 0), (2, 1), (3, 0), (4, 1)])
def test_an_even_number_of_members_is_served_and_doubted(tmp_path, count, doubted):
    peers = [f"{number}:127.0.0.1:{7000 + number}" for number in range(1, count + 1)]

    notices = loaded(tmp_path, f"[cluster]\nnode_id = 1\npeers = {peers}").notices

    assert [one.partition(", ")[0] for one in notices if "cluster.peers" in one] == [
        f"cluster.peers names {count} members"
    ] * doubted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nmax_conections = 5", ": did you mean server.max_connections?"),
        ("[sever]\nmax_connections = 5", ": did you mean server?"),
        ("[storage.wal]\nsyncmode = 'always'", ": did you mean storage.wal.sync_mode?"),
        ("[networks]\ntls_cert = 'c'", ": did you mean network?"),
        ("max_connections = 5", ": did you mean server.max_connections?"),
        ("[weather]\nrain = true", ""),
        ("[server]\ntls_cert = 'c'", ""),
    ],
)
def test_an_unknown_key_is_held_against_those_there_are(tmp_path, text, said):
    [notice] = [one for one in loaded(tmp_path, text).notices if "unknown" in one]

    assert notice.partition("is unknown and ignored")[2] == said


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[server]\nbind_address = "localhost:1"',
            (
                "Invalid bind address: 'localhost:1' is not ip:port, such as 0.0.0.0:7878 "
                "[server.bind_address]"
            ),
        ),
        ('[server]\ndata_dir = ""', "Data directory cannot be empty [server.data_dir]"),
        (
            '[storage]\nengine = "paper"',
            "Invalid storage engine: paper. Must be 'memory' or 'lsm' [storage.engine]",
        ),
        (
            "[network]\ntls_enabled = true\ntls_key = 'k'",
            "TLS enabled but no certificate file specified [network.tls_cert]",
        ),
        (
            "[network]\ntls_enabled = true\ntls_cert = 'c'",
            "TLS enabled but no key file specified [network.tls_key]",
        ),
        (
            (
                "[network]\ntls_enabled = true\ntls_cert = 'c'\ntls_key = 'k'\n"
                "require_client_cert = true"
            ),
            "Client certificate required but no CA file specified [network.tls_ca]",
        ),
        ("[cluster]\nnode_id = 1", "Cluster enabled but no peers specified [cluster.peers]"),
        (
            '[logging]\nlevel = "loud"',
            "Invalid log level: loud. Must be trace, debug, info, warn or error [logging.level]",
        ),
        (
            '[metrics]\nbind_address = "9090"',
            (
                "Invalid metrics address: '9090' is not ip:port, such as 0.0.0.0:7878 "
                "[metrics.bind_address]"
            ),
        ),
        (
            '[authz]\ndefault_mode = "perhaps"',
            (
                "Invalid authorization mode: perhaps. Must be 'deny-by-default' or 'allow-by-default' "
                "[authz.default_mode]"
            ),
        ),
        (
            "[timeouts]\nrequest_timeout_ms = 60000",
            (
                "request_timeout_ms (60000) must be less than idle_connection_timeout_ms (60000) "
                "[timeouts.request_timeout_ms]"
            ),
        ),
        (
            '[cluster]\npeers = ["1:a:1", "1:b:2"]\nnode_id = 1',
            "Peer id 1 appears twice [cluster.peers]",
        ),
        (
            '[cluster]\npeers = ["nonsense"]\nnode_id = 1',
            "Invalid peer: 'nonsense' is not \"id:host:port\" with an id above 0 [cluster.peers.0]",
        ),
        (
            "[server]\nmax_connections = -1",
            "Input should be greater than or equal to 1, got -1 [server.max_connections]",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_its_key(tmp_path, text, fault):
    assert refusal(tmp_path, text) == f"Validation error: {fault}"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("[auth.jwt]\nsecret = 12345678", "12345678"),
        ('[auth.jwt]\nsecret = ["hunter2"]', "hunter2"),
        ('[alerts]\nwebhook_url = "ftp://me:hunter2@host"', "hunter2"),
    ],
)
def test_a_secret_that_is_wrong_is_not_shown_either(tmp_path, text, secret):
    said = refusal(tmp_path, text)

    assert secret not in said
    assert "secret]" in said or "webhook_url]" in said


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('server = "x"', "Input should be a table, in square brackets: [server], got 'x'"),
        ("[server]\ndata_dir = 5", 'Input should be a path, in quotes: "/…", got 5'),
        ('[cluster]\npeers = "1:a:1"', "Input should be a list, in square brackets"),
    ],
)
def test_faults_are_told_in_the_words_of_toml(tmp_path, text, fault):
    said = refusal(tmp_path, text)

    assert fault in said
    assert not {"Section", "pathlib"} & set(re.findall(r"\w+", said))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[storage]\nmemtable_size_mb = 99999999999999999999", "[storage.memtable_size_mb]"),
        ("[cluster]\nnode_id = 123456789012345678901234567890", "[cluster.node_id]"),
        ('[cluster]\npeers = ["99999999999999999999:a:1"]', "is above 9223372036854775807"),
        ('[cluster]\npeers = ["1:a:0"]', "port 0 cannot be connected to"),
        ('[cluster]\npeers = ["1:0.0.0.0:7879"]', "write the one that others reach it at"),
        ('[cluster]\nadvertise_address = "[::]:7879"', "write the one that others reach it at"),
        ('[snapshots]\ndestination = "gs://bucket"', "is not s3://BUCKET/PREFIX or /FOLDER"),
        ('[snapshots]\ndestination = "s3://"', "is not s3://BUCKET/PREFIX or /FOLDER"),
        ('[snapshots]\ndestination = "backups"', "is not s3://BUCKET/PREFIX or /FOLDER"),
        ('[snapshots]\ndestination = "s3:///prefix"', "is not s3://BUCKET/PREFIX or /FOLDER"),
        ('[snapshots]\ndestination = "/a/../b"', "has . or .. in it: write it without"),
        ('[snapshots]\nallowed_destinations = ["backups"]', "is not s3://BUCKET/PREFIX or /FOLDER"),
        ("[snapshots]\nkeep_local = 0", "snapshots.keep_local"),
    ],
)
def test_what_could_not_work_is_refused_before_the_start(tmp_path, text, fault):
    assert fault in refusal(tmp_path, text)


@pytest.mark.parametrize("place", ["", "s3://b", "s3://b/p", "/folder", "local:///folder"])
def test_destinations_that_work(tmp_path, place):
    text = f'[snapshots]\ndestination = "{place}"'

    assert loaded(tmp_path, text).settings.snapshots.destination == place


def test_several_faults_are_several_lines(tmp_path):
    lines = refusal(tmp_path, '[storage]\nengine = "x"\n[logging]\nlevel = "y"').splitlines()

    assert len(lines) == 2


def test_a_node_that_cannot_tell_which_member_it_is_is_refused(tmp_path):
    text = '[cluster]\npeers = ["1:a:7879", "2:b:7879"]'

    assert "cluster.advertise_address" in refusal(tmp_path, text)
    flags = {"cluster.advertise_address": "b:7879"}
    assert loaded(tmp_path, text, flags=flags).settings.clustered


def test_text_that_is_not_toml_is_named(tmp_path):
    assert "is not TOML" in refusal(tmp_path, "[server")


def test_what_is_shown_loads_into_the_same_settings(tmp_path):
    settings = loaded(
        tmp_path,
        '[cluster]\npeers = ["1:a:1"]\nadvertise_address = "a:1"\ntoken = "hidden"',
    ).settings

    shown = as_toml(settings)
    again = loaded(tmp_path, shown).settings

    assert "hidden" not in shown
    assert again.cluster.peers == settings.cluster.peers
    assert again.model_copy(update={"cluster": settings.cluster}) == settings


@pytest.mark.parametrize("key", ["destination", "allowed_destinations"])
def test_an_invalid_place_with_credentials_in_it_is_not_repeated(tmp_path, key):
    place = '"s3://me:hunter2@bucket/../x"'
    text = f"[snapshots]\n{key} = {place if key == 'destination' else f'[{place}]'}"

    assert "hunter2" not in refusal(tmp_path, text)


def test_keeping_no_local_snapshot_is_refused(tmp_path):
    """It was valid once, and every backup failed after it had been written: keep_local."""
    assert "keep_local" in refusal(tmp_path, "[snapshots]\nkeep_local = 0")
