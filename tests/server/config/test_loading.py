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
    with pytest.raises(
        ConfigurationError, match=r"network.tls_enabled: true or false belongs here, not 'junk'"
    ):
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
                "server.bind_address: Invalid bind address: 'localhost:1' is not ip:port: write one such "
                "as 0.0.0.0:7878"
            ),
        ),
        (
            '[server]\ndata_dir = ""',
            "server.data_dir: Data directory cannot be empty: name a folder",
        ),
        (
            '[storage]\nengine = "paper"',
            "storage.engine: Invalid storage engine: paper. Must be 'memory' or 'lsm'",
        ),
        (
            "[network]\ntls_enabled = true\ntls_key = 'k'",
            "network.tls_cert: TLS enabled but no certificate file specified: set it",
        ),
        (
            "[network]\ntls_enabled = true\ntls_cert = 'c'",
            "network.tls_key: TLS enabled but no key file specified: set it",
        ),
        (
            (
                "[network]\ntls_enabled = true\ntls_cert = 'c'\ntls_key = 'k'\n"
                "require_client_cert = true"
            ),
            "network.tls_ca: Client certificate required but no CA file specified: set it",
        ),
        (
            "[cluster]\nnode_id = 1",
            "cluster.peers: Cluster enabled but no peers specified: set it, or cluster.join",
        ),
        (
            '[logging]\nlevel = "loud"',
            "logging.level: Invalid log level: loud. Must be trace, debug, info, warn or error",
        ),
        (
            '[metrics]\nbind_address = "9090"',
            (
                "metrics.bind_address: Invalid metrics address: '9090' is not ip:port: write one such as "
                "0.0.0.0:7878"
            ),
        ),
        (
            '[authz]\ndefault_mode = "perhaps"',
            (
                "authz.default_mode: Invalid authorization mode: perhaps. Must be 'deny-by-default' or "
                "'allow-by-default'"
            ),
        ),
        (
            "[timeouts]\nrequest_timeout_ms = 60000",
            (
                "timeouts.request_timeout_ms: its value (60000) must be less than "
                "idle_connection_timeout_ms (60000): lower this, or raise that"
            ),
        ),
        (
            '[cluster]\npeers = ["1:a:1", "1:b:2"]\nnode_id = 1',
            "cluster.peers: Peer id 1 appears twice: remove one",
        ),
        (
            '[cluster]\npeers = ["nonsense"]\nnode_id = 1',
            (
                "cluster.peers.0: Invalid peer: 'nonsense' is not \"id:host:port\" with an id above 0: "
                "write one such as 1:node-1:7879"
            ),
        ),
        (
            "[server]\nmax_connections = -1",
            "server.max_connections: -1 is less than 1: write 1 or more",
        ),
        (
            "[server]\nmax_connections = 9000000000000",
            (
                "server.max_connections: 9000000000000 is more than 1099511627776: write 1099511627776 "
                "or less"
            ),
        ),
        (
            '[storage.wal]\nsync_mode = "intervall"',
            (
                "storage.wal.sync_mode: 'intervall' is none of the choices: did you mean 'interval'? "
                "Write 'always', 'interval' or 'none'"
            ),
        ),
        (
            "[logging]\nfile_enabled = 3",
            "logging.file_enabled: true or false belongs here, not 3: write one of them, without quotes",
        ),
        (
            "[server]\nmax_connections = 2.5",
            (
                "server.max_connections: a whole number belongs here, not 2.5: write one without quotes, "
                "point and unit"
            ),
        ),
        (
            "[server]\nmax_connections = inf",
            (
                "server.max_connections: a whole number belongs here, not inf: write one without quotes, "
                "point and unit"
            ),
        ),
        (
            "[server]\nmax_connections = 1979-05-27",
            (
                "server.max_connections: a whole number belongs here, not 1979-05-27: "
                "write one without quotes, point and unit"
            ),
        ),
        (
            'server = "x"',
            (
                "server: a table belongs here, not 'x': write its name in square brackets, and its keys "
                "below"
            ),
        ),
        (
            "[server]\ndata_dir = 5",
            "server.data_dir: a path belongs here, not 5: write it in quotes",
        ),
        (
            '[server]\ndata_dir = "a\\u0000b"',
            "server.data_dir: no path, name or address holds a NUL byte: remove it",
        ),
        (
            '[cluster]\npeers = "1:a:1"',
            'cluster.peers: a list belongs here: write it in square brackets, such as ["…", "…"]',
        ),
        (
            '[auth.mtls]\nroles = ["x"]',
            'auth.mtls.roles: a table belongs here: write it in braces, such as {"…" = ["…"]}',
        ),
        (
            "[auth.mtls]\nroles = {a = [1]}",
            "auth.mtls.roles.a.0: text belongs here: write it in quotes",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_its_key(tmp_path, text, fault):
    assert refusal(tmp_path, text) == fault


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
    assert said.startswith(("auth.jwt.secret: ", "alerts.webhook_url: "))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[storage]\nmemtable_size_mb = 99999999999999999999", "storage.memtable_size_mb: "),
        ("[cluster]\nnode_id = 123456789012345678901234567890", "cluster.node_id: "),
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
