"""The keys that verify tokens, fetched from the issuer when that is where they are.

A token that names an unknown key has them fetched again, once in 30 s at most, whatever callers
send. While the issuer is away, the keys known serve on.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from amaters_server.identity import jws
from amaters_server.identity.jws import Unverified, VerificationKey

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 30.0
"""Between two requests at least."""
REFRESH_SECONDS = 600.0
"""Between two requests at most; a key that the issuer has removed serves no longer."""
FETCH_SECONDS = 5.0
LARGEST_SET = 256 * 1024
MOST_TRIED = 8
"""Keys for one token: one that names no key may not have all of a long set tried."""


class JwksSource(Protocol):
    """Where keys come from."""

    @property
    def place(self) -> str:
        """What may be logged of it."""
        ...

    async def fetch(self) -> bytes:
        """Return the set; OSError or ValueError when it cannot be had now."""
        ...


@dataclass(frozen=True, slots=True)
class UrlSource:
    """The set at an address; equal sources have the same keys."""

    url: str
    token_file: Path | None = None
    """Sent as bearer token; read for every request, because Kubernetes replaces it."""
    ca_file: Path | None = None

    @property
    def place(self) -> str:
        """The host."""
        return urlsplit(self.url).hostname or "?"

    async def fetch(self) -> bytes:
        """Fetch it; redirects are not followed, for the token is meant for that host alone."""
        headers, context = await asyncio.to_thread(self._prepare)
        limit = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(
                    self.url, headers=headers, ssl=context, allow_redirects=False
                ) as answer,
            ):
                if answer.status != 200:  # noqa: PLR2004
                    raise ValueError(f"it answered {answer.status}")
                return await _body(answer.content)
        except aiohttp.ClientError as error:
            raise OSError(f"it cannot be reached ({type(error).__name__})") from None

    def _prepare(self) -> tuple[dict[str, str], ssl.SSLContext]:
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.token_file is None:
            return {}, context
        return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}, context


async def _body(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > LARGEST_SET:
            raise ValueError(f"its answer has more than {LARGEST_SET} bytes")
    return bytes(body)


class FetchedKeys:
    """The keys that a source published at the last fetch."""

    def __init__(self, source: JwksSource, now: Callable[[], float]) -> None:
        """`now` returns monotonic seconds."""
        self.source = source
        self.keys: tuple[VerificationKey, ...] = ()
        self.on_removal: Callable[[], None] = lambda: None
        """Called when the source no longer publishes a key."""
        self._now = now
        self._asked_at = self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Fetch them if it is time to."""
        if self._now() - self._fetched_at >= REFRESH_SECONDS:
            await self.refetch()

    async def refetch(self) -> None:
        """Fetch them, unless that was tried a moment ago; returns when the attempt is over."""
        if self._fetching is None:
            if self._now() - self._asked_at < PAUSE_SECONDS:
                return
            self._asked_at = self._now()
            self._fetching = asyncio.create_task(self._fetch(), name="jwks")
        # Not awaited itself: a caller that leaves must not take the others' answer along, and the
        # end of the task, however it comes, is no error of theirs.
        await asyncio.wait([self._fetching])

    def close(self) -> None:
        """End a request that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()

    async def _fetch(self) -> None:
        place = self.source.place
        try:
            async with asyncio.timeout(2 * FETCH_SECONDS):
                found = jws.of_jwks(await self.source.fetch())
        except (OSError, ValueError, TimeoutError) as wrong:
            reason = str(wrong) or type(wrong).__name__
            _log.warning("jwks.not_fetched", extra={"place": place, "reason": reason})
            return
        except Exception:  # noqa: BLE001 A defect here must not end what refreshes all keys.
            _log.exception("jwks.failed", extra={"place": place})
            return
        finally:
            self._fetching = None
        self._fetched_at = self._now()
        before, self.keys = self.keys, found
        if before != found:
            _log.info("jwks.changed", extra={"place": place, "keys": len(found)})
        if any(key not in found for key in before):
            self.on_removal()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one issuer: those given, and those fetched."""

    given: tuple[VerificationKey, ...] = ()
    fetched: FetchedKeys | None = None

    async def matching(self, token: Unverified) -> Sequence[VerificationKey]:
        """Return the keys that may have signed it; fetch them first if the named one is unknown."""
        found = self._matching(token)
        named = {key.id for key in found}
        if self.fetched is not None and not (found and token.key_id in {None, *named}):
            await self.fetched.refetch()
            found = self._matching(token)
        return found[:MOST_TRIED]

    def _matching(self, token: Unverified) -> list[VerificationKey]:
        fetched = () if self.fetched is None else self.fetched.keys
        return [
            key
            for key in (*self.given, *fetched)
            if token.algorithm in key.algorithms
            # A key without an id, such as one from a PEM file, may be any of that algorithm.
            and (token.key_id is None or key.id is None or key.id == token.key_id)
        ]
