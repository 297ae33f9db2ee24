"""Ports for servers that are started later, and that nothing takes in the meantime."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_RANGE = "32768 60999"


def free_ports(count: int) -> list[int]:
    """Return that many different ports of 127.0.0.1 nothing listens on at this moment.

    They lie below those the kernel gives to outgoing connections: of such a port, one that was
    free a moment ago may belong to a neighbour's connection when its server binds it.
    """
    found: list[int] = []
    candidates = _candidates()
    while len(found) < count:
        port = next(candidates)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def has_ipv6() -> bool:
    """Whether something can listen at ::1 of this host."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _candidates() -> Iterator[int]:
    text = _RANGE.read_text() if _RANGE.exists() else _USUAL_RANGE
    beyond = max(int(text.split()[0]), _LOWEST + 1000)
    # Two programs that look for ports at the same time must not look in the same order.
    chance = random.SystemRandom()
    while True:
        yield chance.randrange(_LOWEST, beyond)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
