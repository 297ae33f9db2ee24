"""Ports for servers of tests: free, different, and never those of outgoing connections."""

import socket
from pathlib import Path

import pytest
from amaters_server.testing import ports


def test_ports_lie_below_those_of_outgoing_connections(monkeypatch, tmp_path: Path):
    outgoing = tmp_path / "range"
    outgoing.write_text("11000\t60999\n")
    monkeypatch.setattr(ports, "_RANGE", outgoing)

    found = ports.free_ports(100)

    assert len(set(found)) == 100
    assert all(10_000 <= port < 11_000 for port in found)


def test_a_port_that_is_listened_on_is_not_given(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        (port,) = ports.free_ports(1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        monkeypatch.setattr(ports, "_candidates", lambda: iter((port, 1 + port, 2 + port)))

        assert port not in ports.free_ports(1)
