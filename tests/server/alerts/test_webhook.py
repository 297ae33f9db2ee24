"""The webhook against a real HTTP server: up, slow, failing, refusing, gone."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from amaters_server.alerts.events import NodeFailed
from amaters_server.alerts.rules import RuleEngine
from amaters_server.alerts.view import ClusterView
from amaters_server.alerts.webhook import QUEUE_LENGTH, Webhook, WebhookSettings, as_json
from amaters_server.testing.ports import free_ports

VIEW = ClusterView(1, "demo-0", True, 1, True)
SECRET = "hunter2-secret"


def alert(node: int):
    [made] = RuleEngine(60).fire([NodeFailed(node)], VIEW, now=0, unix_ms=1_750_000_000_123)
    return made


@dataclass
class Address:
    """A server that answers as it is told: codes in turn, the last one for ever."""

    codes: list[int] = field(default_factory=lambda: [200])
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    delay: float = 0.0
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        return web.Response(status=code, headers={"Location": "/elsewhere"})


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    one = Address()
    application = web.Application()
    application.router.add_post("/{path:.*}", one.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}"
    yield one
    await runner.cleanup()


@asynccontextmanager
async def posting(settings: WebhookSettings) -> AsyncIterator[Webhook]:
    webhook = Webhook(settings)
    task = asyncio.create_task(webhook.run())
    try:
        yield webhook
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def quick(url: str, **settings) -> WebhookSettings:
    return replace(WebhookSettings(url, first_wait=0.001, timeout=1.0), **settings)


async def test_an_alert_arrives_as_json_with_the_token(address):
    async with posting(quick(address.url, token="t0ken")) as webhook:
        webhook.report(alert(3))
        await until(lambda: webhook.counts.delivered == 1)

    assert address.bodies == [json.loads(json.dumps(as_json(alert(3))))]
    assert address.bodies[0]["key"] == "node_failed:3"
    assert address.bodies[0]["severity"] == "critical"
    assert address.bodies[0]["at"] == "2025-06-15T15:06:40.123Z"
    assert address.bodies[0]["facts"] == {"node": 3}
    assert address.headers[0]["Authorization"] == "Bearer t0ken"


async def test_an_address_and_a_token_that_are_corrected_in_their_files_are_used(
    address, tmp_path, caplog
):
    where, token = tmp_path / "url", tmp_path / "token"
    where.write_text(f"nonsense-{SECRET}")
    token.write_text("old\n")
    settings = quick("", url_file=where, token_file=token, attempts=2)

    async with posting(settings) as webhook:
        webhook.report(alert(3))
        await until(lambda: webhook.counts.failed == 1)
        where.unlink()
        webhook.report(alert(4))
        await until(lambda: webhook.counts.failed == 2)
        where.write_text(f"{address.url}\n")
        token.write_text("new\n")
        webhook.report(alert(5))
        await until(lambda: webhook.counts.delivered == 1)

    reasons = [one.reason for one in caplog.records if one.message == "alert.webhook_failed"]
    assert address.headers[0]["Authorization"] == "Bearer new"
    assert "holds no address that begins with http" in reasons[0]
    assert "cannot be read (FileNotFoundError)" in reasons[1]
    assert SECRET not in caplog.text


@pytest.mark.parametrize("code", [500, 503, 429])
async def test_what_may_pass_is_tried_again(address, code):
    address.codes = [code, code, 200]

    async with posting(quick(address.url)) as webhook:
        webhook.report(alert(3))
        webhook.report(alert(4))
        await until(lambda: webhook.counts.delivered == 2)

    keys = [one["key"] for one in address.bodies]
    assert keys == ["node_failed:3"] * 3 + ["node_failed:4"]


async def test_an_address_that_fails_for_ever_is_given_up_and_the_next_alert_is_sent(address):
    address.codes = [500, 500, 500, 204]

    async with posting(quick(address.url, attempts=3)) as webhook:
        webhook.report(alert(3))
        webhook.report(alert(4))
        await until(lambda: webhook.counts.delivered == 1)

    assert webhook.counts.failed == 1
    assert len(address.bodies) == 4


@pytest.mark.parametrize("code", [302, 400, 401, 404])
async def test_a_refusal_and_a_redirection_are_not_tried_again(address, code):
    address.codes = [code]

    async with posting(quick(address.url)) as webhook:
        webhook.report(alert(3))
        await until(lambda: webhook.counts.failed == 1)

    assert len(address.bodies) == 1


@pytest.mark.parametrize("where", ["down", "slow", "refusing", "no url", "two secrets"])
async def test_failures_are_logged_without_the_address_or_the_token(address, caplog, where):
    address.delay = 5 if where == "slow" else 0
    address.codes = [403]
    url = {
        "down": f"http://127.0.0.1:{free_ports(1)[0]}/{SECRET}",
        "two secrets": f"http://me:{SECRET}@127.0.0.1:{free_ports(1)[0]}/",
        "no url": f"http://:{SECRET}",
    }.get(where, address.url)

    with caplog.at_level(logging.DEBUG):
        async with posting(quick(url, attempts=2, timeout=0.05, token=SECRET)) as webhook:
            webhook.report(alert(3))
            await until(lambda: webhook.counts.failed == 1)

    [said] = [one for one in caplog.records if one.message == "alert.webhook_failed"]
    ours = [one for one in caplog.records if one.name != "aiohttp.access"]
    assert SECRET not in " ".join(str(vars(one)) for one in ours)
    assert said.reason
    assert said.key == "node_failed:3"


async def test_telling_never_waits_and_the_oldest_goes_when_too_many_wait(address):
    address.delay = 0.2

    async with posting(quick(address.url)) as webhook:
        for node in range(3 * QUEUE_LENGTH):
            webhook.report(alert(node))
        assert webhook.counts.dropped == 2 * QUEUE_LENGTH
        await until(lambda: len(address.bodies) == 1)

    assert address.bodies[0]["key"] == f"node_failed:{2 * QUEUE_LENGTH}"


async def test_another_address_is_used_from_the_next_alert_on(address):
    async with posting(WebhookSettings()) as webhook:
        webhook.report(alert(3))
        webhook.settings = quick(address.url)
        webhook.report(alert(4))
        await until(lambda: webhook.counts.delivered == 1)

    assert [one["key"] for one in address.bodies] == ["node_failed:4"]


async def test_stopping_does_not_wait_for_the_address(address):
    address.delay = 30
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async with posting(quick(address.url, timeout=30)) as webhook:
        webhook.report(alert(3))
        await asyncio.sleep(0.05)

    assert loop.time() - begun < 5
