"""Where the internal listener is when nobody says: where this member is reached."""

import tomllib

import pytest
from amaters_server.app import from_settings
from amaters_server.app.cli import main
from amaters_server.config.addresses import beside, host_port
from amaters_server.config.load import Sources, load
from click.testing import CliRunner

PEERS = """[cluster]
peers = ["1:127.0.0.1:7001", "2:127.0.0.2:7002", "3:[::1]:7003", "4:192.0.2.1:7004",
    "5:db-0.db.svc:7005", "6:[2001:db8::1]:7006"]
"""


def settings(tmp_path, text, **flags):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(Sources(path=path, flags=flags)).settings


@pytest.mark.parametrize(
    ("number", "address"),
    [(1, "127.0.0.1:7001"), (2, "127.0.0.2:7002"), (4, "0.0.0.0:7004"), (5, "0.0.0.0:7005")],
)
def test_it_is_the_members_own_entry(tmp_path, number, address):
    made = settings(tmp_path, f"{PEERS}node_id = {number}")

    assert from_settings.internal_address(made) == address
    assert from_settings.in_force(made).cluster.bind_address == address


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:1", "[::1]:1"),
        ("192.0.2.1:1", "0.0.0.0:1"),
        ("[2001:db8::1]:1", "[::]:1"),
        ("localhost:1", "0.0.0.0:1"),
        ("db-0.db.svc:1", "0.0.0.0:1"),
    ],
)
def test_addresses_of_this_host_alone_are_listened_on(entry, address):
    here = {"127.0.0.1", "::1"}.__contains__

    assert str(beside(host_port(entry), is_here=here)) == address


@pytest.mark.parametrize(
    ("entry", "address"),
    [("127.0.0.2:7002", "127.0.0.2:7002"), ("db-9.db.svc:7009", "0.0.0.0:7009")],
)
def test_a_member_known_by_its_address_listens_there(tmp_path, entry, address):
    made = settings(tmp_path, PEERS, **{"cluster.advertise_address": entry})

    assert from_settings.internal_address(made) == address


def test_what_is_said_counts(tmp_path):
    made = settings(tmp_path, f'{PEERS}node_id = 1\nbind_address = "0.0.0.0:7999"')

    assert from_settings.internal_address(made) == "0.0.0.0:7999"


def test_a_node_alone_serves_its_administrators_on_loopback(tmp_path):
    assert from_settings.internal_address(settings(tmp_path, "")) == "127.0.0.1:7879"


def test_what_is_in_force_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.toml"
    path.write_text(f"{PEERS}node_id = 2")

    result = CliRunner().invoke(main, ["validate-config", "--config", str(path), "--show"])

    shown = tomllib.loads(result.stdout.partition("\nConfiguration:\n")[2])
    assert shown["cluster"]["bind_address"] == "127.0.0.2:7002"
