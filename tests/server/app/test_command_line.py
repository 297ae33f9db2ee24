import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from amaters_server import __version__
from amaters_server.app import lifecycle
from amaters_server.app.cli import main
from amaters_server.app.files.pidfile import PidFile
from amaters_server.config.load import Sources, load
from amaters_server.model.errors import ConfigurationError
from click.testing import CliRunner


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'[server]\ndata_dir = "{tmp_path}/data"\npid_file = "{tmp_path}/pid"\n')
    return path


@pytest.fixture
def run(monkeypatch, tmp_path):
    for name in ("AMATERS_LOG_LEVEL", "AMATERS_BIND_ADDRESS", "AMATERS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments])


def test_version(run):
    assert run("version").stdout.splitlines()[0] == f"AmateRS Server {__version__}"
    assert run("--version").stdout == f"amaters-server {__version__}\n"
    verbose = run("version", "--verbose").stdout
    assert "Component Versions:\n  amaters-native: v" in verbose
    assert "Build Information:\n  Python version: 3." in verbose


def test_a_right_configuration(run, config):
    result = run("validate-config", "--config", config)

    assert result.exit_code == 0
    assert result.stdout == "Configuration is valid\n"


def test_what_is_in_force_can_be_shown(run, config):
    result = run("--bind", "127.0.0.1:1", "validate-config", "-c", config, "--show")

    shown = result.stdout.partition("\nConfiguration:\n")[2]
    assert tomllib.loads(shown)["server"]["bind_address"] == "127.0.0.1:1"


def test_a_wrong_configuration_is_one_line_per_fault_and_exit_code_1(run, config):
    config.write_text('[storage]\nengine = "x"\n[logging]\nlevel = "y"\n')

    result = run("validate-config", "-c", config)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Error: storage.engine: Invalid storage engine: x. Must be 'memory' or 'lsm'",
        ("Error: logging.level: Invalid log level: y. Must be trace, debug, info, warn or error"),
    ]


def test_unknown_keys_are_noticed(run, config):
    config.write_text("[server]\ncolour = 1\n")

    result = run("validate-config", "-c", config)

    assert result.exit_code == 0
    unknown, exposed = result.stderr.splitlines()
    assert unknown == "Notice: server.colour is unknown and ignored"
    assert exposed.startswith("Notice: anyone who reaches 0.0.0.0:7878 can read and write all data")


def test_validation_gives_the_notices_of_a_start(run, config):
    config.write_text(
        '[storage.wal]\nsync_mode = "interval"\n[logging]\nfile_path = "/f"\n'
        "[circuit_cache]\nttl_secs = 5"
    )
    loaded = load(Sources(path=config))
    expected = [*loaded.notices, lifecycle.exposed_to(loaded.settings)]

    result = run("validate-config", "-c", config)

    assert len(expected) == 4
    assert result.stderr.splitlines() == [f"Notice: {notice}" for notice in expected]


def test_a_missing_file_is_named(run, tmp_path):
    result = run("start", "-c", tmp_path / "none.toml")

    assert result.exit_code == 1
    assert "Configuration file not found" in result.stderr


def test_a_file_that_the_environment_names_must_exist(run, tmp_path, monkeypatch):
    monkeypatch.setenv("AMATERS_CONFIG", str(tmp_path / "mistyped.toml"))
    for command in ("start", "validate-config", "status"):
        result = run(command)

        assert result.exit_code == 1
        assert f"Configuration file not found: {tmp_path}/mistyped.toml" in result.stderr
        assert "AMATERS_CONFIG" in result.stderr


def test_a_file_in_place_of_the_data_folder_is_named_with_advice(tmp_path):
    (tmp_path / "data").touch()

    for folder in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(ConfigurationError) as raised:
            lifecycle._make_folder(folder)

        assert f"data folder {folder} cannot be made" in str(raised.value)
        assert "a file is in its place: move it away, or set server.data_dir" in str(raised.value)


@pytest.mark.parametrize("arguments", [["fly"], ["start", "--wings"], ["stop", "-t", "soon"]])
def test_wrong_usage_is_exit_code_2(run, arguments):
    assert run(*arguments).exit_code == 2


def test_options_may_stand_before_or_after_the_command(run, config):
    before = run("-c", config, "-b", "127.0.0.1:5", "status", "-f", "json")
    after = run("status", "-c", config, "-b", "127.0.0.1:5", "-f", "json")

    assert before.stdout == after.stdout
    assert json.loads(after.stdout)["bind_address"] == "127.0.0.1:5"


def test_status_of_a_stopped_server(run, config, tmp_path):
    result = run("status", "-c", config)

    assert result.exit_code == 0
    assert result.stdout == (
        "AmateRS Server Status\n"
        "=====================\n"
        "Status: Stopped\n"
        f"PID file: {tmp_path}/pid\n"
        f"Data directory: {tmp_path}/data\n"
        "Bind address: 0.0.0.0:7878\n"
    )


def test_stopping_nobody_is_fine_and_reloading_nobody_is_not(run, config):
    assert run("stop", "-c", config).exit_code == 0
    assert run("reload", "-c", config).exit_code == 1


@pytest.mark.parametrize("address", ["127.0.0.1:7879", "192.0.2.1:7878", "nowhere.invalid:7878"])
def test_a_server_elsewhere_is_not_stopped_from_here(run, config, address):
    result = run("stop", "-c", config, "--addr", address)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing was stopped" in result.stderr


def test_the_server_of_this_host_may_be_named_by_its_address(run, config):
    result = run("stop", "-c", config, "--addr", "localhost:7878")

    assert (result.exit_code, result.stderr) == (0, "Server is not running\n")
    assert run("stop", "-c", config, "--addr", "banana").exit_code == 2


def test_nobody_answers_at_an_address_nobody_listens_on(run, config):
    result = run("status", "-c", config, "--addr", "127.0.0.1:1")

    assert result.exit_code == 0
    assert "Status: Stopped" in result.stdout
    assert "PID file" not in result.stdout
    assert "Data directory" not in result.stdout


def test_a_default_file_that_cannot_be_written_is_said_without_a_traceback(run, tmp_path):
    (tmp_path / "file").write_text("")

    result = run("start", "--generate-config", "--config", tmp_path / "file" / "config.toml")

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path}/file/config.toml cannot be written (")


def test_a_default_file_on_a_full_disk_is_not_left_empty(run, full_disk):
    path = full_disk / "config.toml"

    result = run("start", "--generate-config", "--config", path)

    assert (result.exit_code, path.exists()) == (1, False)
    assert result.stderr.startswith(f"Error: {path} cannot be written (No space left on device)")


@pytest.mark.slow
def test_a_start_on_a_full_disk_says_what_to_do_in_one_line(config, full_disk, tmp_path):
    config.write_text(f'[server]\ndata_dir = "{full_disk}/data"\npid_file = "{tmp_path}/pid"\n')
    command = [sys.executable, "-m", "amaters_server.app.cli", "start", "-c", str(config)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    line, *more = ended.stderr.splitlines()
    assert not more
    assert line.startswith(
        f"Error: the disk of {full_disk}/data is full: make room, or enlarge the volume, then start "
        "this server again ("
    )
    assert "by itself" not in line
    assert not (tmp_path / "pid").exists()


def test_an_address_that_is_none_is_misuse_not_a_stopped_server(run, config):
    result = run("status", "-c", config, "--addr", "banana")

    assert result.exit_code == 2
    assert "'banana' is not host:port" in result.stderr


def test_tls_files_that_are_not_there_are_told_with_a_right_configuration(run, config):
    config.write_text('[network]\ntls_enabled = true\ntls_cert = "no.crt"\ntls_key = "no.key"\n')

    result = run("validate-config", "-c", config)

    assert (result.exit_code, result.stdout) == (0, "Configuration is valid\n")
    assert "a server would not start here: certificate no.crt cannot be read" in result.stderr


@pytest.mark.parametrize(("set_by_user", "used"), [(None, "NONE"), ("DEBUG", "DEBUG")])
def test_grpc_writes_nothing_of_its_own_unless_the_user_wants_it(set_by_user, used):
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if set_by_user is not None:
        environment["GRPC_VERBOSITY"] = set_by_user
    # What it finds when it is imported is what it keeps to.
    asked = (
        "import builtins, os, sys\n"
        "real = builtins.__import__\n"
        "def spy(name, *rest, **named):\n"
        "    if name == 'grpc' and 'grpc' not in sys.modules:\n"
        "        print(os.environ.get('GRPC_VERBOSITY'))\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = spy\n"
        "import amaters_server.app.cli, amaters_server.rpc.aql.probe\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=environment
    )

    assert answer.stdout.split() == [used]


MOST_IMPORTED = 230
"""Modules that a program has loaded when it says its version; 150 of them are Python's own."""


@pytest.mark.parametrize(
    "program",
    [
        "from amaters.cli.main import cli as main; sys.argv = ['amaters-cli', '--version']",
        "from amaters_server.app.cli import main; sys.argv = ['amaters-server', 'version']",
    ],
)
def test_a_version_is_told_without_loading_what_commands_need(program: str):
    asked = (
        f"import sys; {program}\n"
        "try:\n    main()\nfinally:\n    print(len(sys.modules), *sys.modules, file=sys.stderr)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, check=True, text=True
    )

    count, *modules = answer.stderr.split()
    assert "0.3" in answer.stdout
    assert {"grpc", "pydantic", "rich", "cryptography", "asyncio"}.isdisjoint(modules)
    assert int(count) < MOST_IMPORTED


def test_a_running_server_needs_no_grpcio():
    asked = "import sys, amaters_server.app.composition.server, amaters_server.app.lifecycle; "

    answer = subprocess.run(
        [sys.executable, "-c", asked + "print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert "grpc" not in answer.stdout.split()


@pytest.mark.parametrize("entry", ["amaters_server.app.entry", "amaters_operator.entry"])
def test_signals_are_caught_before_anything_that_takes_time_is_imported(entry: str):
    """Whatever comes before is lost to process 1 of a container."""
    slow = {"asyncio", "click", "grpc", "kopf", "logging", "pydantic", "typing", "uvloop"}
    asked = f"import sys, {entry}; print(*sys.modules)"

    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, check=True, text=True
    )

    assert slow.isdisjoint(answer.stdout.split())


MOST_TO_START = 960
"""Modules that are loaded when a server begins to start: 235 of them ours, 245 Python's own."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "needless"),
    [
        ("amaters_server.app.commands", {"amaters_server.app.lifecycle", "aiohttp", "grpc"}),
        ("amaters_server.app.lifecycle", {"boto3", "botocore", "prometheus_client", "tenacity"}),
    ],
)
def test_starting_loads_nothing_that_only_other_work_needs(entry: str, needless: set[str]):
    asked = f"import sys, {entry}; print(*sys.modules)"

    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, check=True, text=True
    )

    modules = answer.stdout.split()
    assert needless.isdisjoint(modules)
    assert len(modules) < MOST_TO_START


@pytest.fixture
def pod(monkeypatch, tmp_path):
    """A container: the image names the file, which is complete only with the pod's own flags."""
    path = tmp_path / "etc" / "config.toml"
    path.parent.mkdir()
    path.write_text(
        f'[server]\npid_file = "{tmp_path}/pid"\n'
        '[cluster]\nenabled = true\njoin = ["orders-1.orders-peers.shop.svc:7879"]\n'
    )
    monkeypatch.setenv("AMATERS_CONFIG", str(path))
    return path


@pytest.fixture
def hung_up(tmp_path):
    """A server runs here, in this process; how often it was told to reload."""
    told: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: told.append(number))
    file = PidFile(tmp_path / "pid")
    file.claim()
    yield told
    file.release()
    signal.signal(signal.SIGHUP, before)


def arrived(signals: list[int]) -> int:
    """Count the signals: one that another thread received reaches this one a moment later."""
    end = time.monotonic() + 5
    while not signals and time.monotonic() < end:
        time.sleep(0.001)
    return len(signals)


def test_the_server_of_a_pod_is_reloaded_without_naming_its_file_or_flags(run, pod, hung_up):
    result = run("reload")

    assert result.exit_code == 0, result.stderr
    assert arrived(hung_up) == 1
    assert f"process {os.getpid()}" in result.stderr
    assert "Status: Running" in run("status").stdout


def test_a_server_is_found_also_when_its_file_has_become_wrong(run, pod, hung_up):
    pod.write_text(pod.read_text() + "[logging]\nlevel = 'loud'\n")

    assert "Status: Running" in run("status").stdout
    assert run("reload").exit_code == 0
    assert arrived(hung_up) == 1


def test_a_server_that_is_not_there_is_named_by_its_pid_file(run, pod, tmp_path):
    result = run("reload")

    assert result.exit_code == 1
    assert f"no process holds {tmp_path}/pid" in result.stderr


def test_the_file_that_the_image_names_is_in_the_image():
    dockerfile = (Path(__file__).parents[3] / "Dockerfile.server").read_text()

    [named] = re.findall(r"AMATERS_CONFIG=(\S+)", dockerfile)
    assert f"/dev/null {named}" in dockerfile
