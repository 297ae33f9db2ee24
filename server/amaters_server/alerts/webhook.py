"""Alerts as JSON, posted to an address of the operator's choice. The one place that posts anything.

A bounded queue is between the node and the address: when it is full, because the address does not
answer, the oldest alert is dropped and counted. One alert is sent at a time, in order. A permanent
refusal ends the attempts for an alert, a temporary failure is retried a few times.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from amaters.transport.retry_policy import RetryPolicy, transient

from amaters_server.alerts.events import FiredAlert
from amaters_server.retries import retry_with_backoff

log = logging.getLogger(__name__)

QUEUE_LENGTH = 64
TOO_MANY_REQUESTS = 429
SERVER_ERRORS = 500
REFUSALS = 400


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where to post, and how patiently. `url` and `token` are secrets: they are never logged."""

    url: str = field(default="", repr=False)
    """Empty: nothing is posted, unless `url_file` is set."""
    token: str = field(default="", repr=False)
    """Sent as a bearer token; empty: none is."""
    url_file: Path | None = None
    """Holds the address, instead of `url`; read for each attempt, so that it may be corrected."""
    token_file: Path | None = None
    """Holds the token, instead of `token`; read likewise."""
    timeout: float = 5.0
    """Seconds one attempt may take."""
    attempts: int = 5
    first_wait: float = 0.5
    """Seconds before the second attempt; doubled from one to the next."""
    longest_wait: float = 30.0

    @property
    def policy(self) -> RetryPolicy:
        """The attempts and their pauses."""
        first, longest = self.first_wait * 1000, self.longest_wait * 1000
        return RetryPolicy(self.attempts, base_delay_ms=first, max_delay_ms=longest)

    @property
    def host(self) -> str:
        """Return what may be logged of the address."""
        return str(self.url_file or urlsplit(self.url).hostname or "?")

    @property
    def wanted(self) -> bool:
        """Whether anything is posted."""
        return bool(self.url or self.url_file)


@dataclass(slots=True)
class WebhookCounts:
    """Alerts by outcome; telemetry reads it."""

    delivered: int = 0
    failed: int = 0
    """Given up: refused, or not answered in all attempts."""
    dropped: int = 0
    """Never tried: too many were waiting."""


class _PassingError(Exception):
    """The address may answer better next time; the text says how it answered now."""


class Webhook:
    """One address. `run` sends what `report` queues, until it is cancelled."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.settings = settings
        """May be replaced at any time; takes effect with the next alert."""
        self.counts = WebhookCounts()
        self._waiting: asyncio.Queue[FiredAlert] = asyncio.Queue(QUEUE_LENGTH)

    def report(self, alert: FiredAlert) -> None:
        """Queue it; the oldest one goes when the queue is full."""
        if not self.settings.wanted:
            return
        if self._waiting.full():
            self._waiting.get_nowait()
            self.counts.dropped += 1
        self._waiting.put_nowait(alert)

    async def run(self) -> None:
        """Send, until cancelled; an alert that waits then is lost."""
        async with aiohttp.ClientSession() as session:
            while True:
                alert = await self._waiting.get()
                settings = self.settings
                if not settings.wanted:
                    continue
                failure = await self._send(session, settings, alert)
                if failure:
                    self.counts.failed += 1
                    facts = {"host": settings.host, "key": alert.key, "reason": failure}
                    log.warning("alert.webhook_failed", extra=facts)
                else:
                    self.counts.delivered += 1

    async def _send(
        self, session: aiohttp.ClientSession, settings: WebhookSettings, alert: FiredAlert
    ) -> str:
        """Return why it was given up; empty when it was delivered."""

        async def post() -> str:
            return await _post(session, await _present(settings), alert)

        try:
            return await retry_with_backoff(
                post, settings.policy, classify=transient(_PassingError)
            )
        except _PassingError as last:
            return f"{last} ({settings.attempts} attempts)"


async def _present(settings: WebhookSettings) -> WebhookSettings:
    """Return the settings with what their files hold now; _PassingError when one is no good."""
    url, token = settings.url, settings.token
    if settings.url_file is not None:
        url = await _content(settings.url_file)
        if not url.startswith(("http://", "https://")):
            raise _PassingError(
                f"{settings.url_file} holds no address that begins with http:// or https://: "
                "correct it"
            )
    if settings.token_file is not None:
        token = await _content(settings.token_file)
    return replace(settings, url=url, token=token)


async def _content(file: Path) -> str:
    try:
        return (await asyncio.to_thread(file.read_text)).strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise _PassingError(
            f"{file} cannot be read ({type(wrong).__name__}): correct the file or its path"
        ) from None


async def _post(
    session: aiohttp.ClientSession, settings: WebhookSettings, alert: FiredAlert
) -> str:
    """Return why it was refused for good; empty when it was taken; _PassingError otherwise."""
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    try:
        async with session.post(
            settings.url,
            json=as_json(alert),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            # What is posted is meant for that address alone.
            allow_redirects=False,
        ) as answer:
            code = answer.status
    except ValueError:
        # Its text may hold the address. Credentials in a URL and a token exclude each other, too.
        return "no request can be made of it: correct alerts.webhook_url or the token"
    except TimeoutError:
        raise _PassingError(f"no answer within {settings.timeout:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        # The error's own text may hold the address, secrets included: name its kind only.
        raise _PassingError(f"cannot be reached ({type(error).__name__})") from None
    if code >= SERVER_ERRORS or code == TOO_MANY_REQUESTS:
        raise _PassingError(f"it answered {code}")
    if code >= REFUSALS or code // 100 != 2:  # noqa: PLR2004
        return f"it answered {code}: correct alerts.webhook_url or its token"
    return ""


def as_json(alert: FiredAlert) -> Mapping[str, object]:
    """Return what is posted."""
    moment = datetime.fromtimestamp(alert.at_unix_ms / 1000, UTC)
    return {
        **asdict(alert),
        "severity": alert.severity.value,
        "at": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
