"""Probes while the event loop does something else for seconds."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from amaters_server.http import busy_loop
from amaters_server.http.busy_loop import BusyLoopAnswers
from amaters_server.http.connections import listening


def spin(seconds: float) -> None:
    """Keep the interpreter busy, as a long turn of the loop does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Probes(threading.Thread):
    """Asks one page again and again from outside the loop."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{port}{path}"
        self.answers: list[tuple[int, dict[str, object], float]] = []
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    code, page = answer.status, answer.read()
            except urllib.error.HTTPError as refused:
                with refused:
                    code, page = refused.code, refused.read()
            self.answers.append((code, json.loads(page), time.monotonic() - began))


@pytest.fixture
async def doors():
    made = listening("127.0.0.1", 0)
    yield made
    for door in made:
        door.close()


@pytest.fixture
async def answers(doors):
    one = BusyLoopAnswers(lambda *, alive: {"alive": alive})
    one.start(doors)
    yield one
    one.close()


@pytest.mark.parametrize("busy", [time.sleep, spin])
async def test_liveness_does_not_wait_for_a_busy_loop(answers, doors, busy):
    probes = Probes(doors[0].getsockname()[1], "/livez")
    probes.start()
    # The last one is asked while the loop is still busy: nothing else answers here.
    ending = threading.Timer(1.5, probes.ending.set)
    ending.start()
    busy(2.5)
    await asyncio.to_thread(probes.join)
    ending.join()

    assert {code for code, _, _ in probes.answers} == {200}
    assert len(probes.answers) >= 3
    assert max(took for _, _, took in probes.answers) < 1.0


async def test_other_pages_are_refused_meanwhile(answers, doors):
    probes = Probes(doors[0].getsockname()[1], "/readyz")
    probes.start()
    probes.ending.set()
    time.sleep(1.0)
    await asyncio.to_thread(probes.join)

    [(code, page, _)] = probes.answers
    assert code == 503
    assert "event loop has been busy" in page["error"]


async def test_a_loop_that_is_stuck_is_not_alive(answers, doors, monkeypatch):
    monkeypatch.setattr(busy_loop, "STUCK_SECONDS", 0.1)
    probes = Probes(doors[0].getsockname()[1], "/healthz")
    probes.start()
    probes.ending.set()
    time.sleep(1.0)
    await asyncio.to_thread(probes.join)

    assert [(code, page) for code, page, _ in probes.answers] == [(503, {"alive": False})]


async def test_a_caller_that_sends_nothing_holds_no_probe_up_for_long(answers, doors):
    silent = socket.create_connection(doors[0].getsockname())
    probes = Probes(doors[0].getsockname()[1], "/livez")
    probes.start()
    probes.ending.set()
    time.sleep(1.5)
    await asyncio.to_thread(probes.join)
    silent.close()

    assert probes.answers[0][0] == 200
    assert probes.answers[0][2] < 1.5


async def test_nothing_is_answered_while_the_loop_is_on_time(answers, doors):
    silent = socket.create_connection(doors[0].getsockname())
    silent.settimeout(0)
    silent.sendall(b"GET /livez HTTP/1.1\r\n\r\n")

    await asyncio.sleep(1.2)

    with pytest.raises(BlockingIOError):
        silent.recv(1)
    silent.close()
