"""A client that records its history; runs on the hub, and ends when its input does.

usage: python -m faultbed.recorder HISTORY_FILE COLLECTION SEED ADDRESS...

Each node has two callers that ask nobody else and never repeat anything: one gives up soon, one
waits long enough to hear what a frozen node says when it wakes. Further callers use the client as
applications do: any node, and writes repeated under their session's request id. All share a few
keys, and every value is written once.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from amaters import AmatersClient, AmatersError, ClientOptions, OutcomeUnknownError, WriteRetries
from amaters_server.testing.history import Outcome

from faultbed.calls import Call

KEYS = tuple(f"key-{number}" for number in range(6))
SHORT, LONG = timedelta(seconds=1), timedelta(seconds=6)
SESSION_CALLERS = 6
PAUSE_SECONDS = 0.01
PAUSE_AFTER_FAILURE_SECONDS = 0.05
MOST_CALLS = 60_000
FINAL_SECONDS = 15.0


@dataclass(slots=True)
class Caller:
    """One caller: does one thing after the other."""

    number: int
    node: int
    db: AmatersClient
    collection: str
    book: TextIO
    rng: random.Random
    count: int = field(default=0)

    async def run(self) -> None:
        """Write and read until cancelled."""
        while self.count < MOST_CALLS:
            done = await self.once(self.rng.choice(KEYS), write=self.rng.random() < 0.5)
            pause = PAUSE_SECONDS if done else PAUSE_AFTER_FAILURE_SECONDS
            await asyncio.sleep(self.rng.uniform(0, 2 * pause))

    async def once(self, key: str, *, write: bool) -> bool:
        """Make one call and record its outcome."""
        self.count += 1
        value = f"{self.number}-{self.count}" if write else None
        invoked = time.monotonic()
        try:
            if value is not None:
                await self.db.set(self.collection, key, value.encode())
            else:
                found = await self.db.get(self.collection, key)
                value = None if found is None else found.decode()
        except OutcomeUnknownError as error:
            self.note(key, value, invoked, Outcome.UNKNOWN, write=write, error=error)
        except AmatersError as error:
            self.note(key, value, invoked, Outcome.FAILED, write=write, error=error)
        except asyncio.CancelledError:
            if write:
                self.note(key, value, invoked, Outcome.UNKNOWN, write=write)
            raise
        else:
            self.note(key, value, invoked, Outcome.OK, write=write)
            return True
        return False

    def note(
        self,
        key: str,
        value: str | None,
        invoked: float,
        outcome: Outcome,
        *,
        write: bool,
        error: AmatersError | None = None,
    ) -> None:
        """Write one line."""
        text = "" if error is None else f"{error.code} {error}"
        now = time.monotonic()
        call = Call(
            self.number, self.node, key, write, value, invoked, now, outcome.value, text[:300]
        )
        self.book.write(call.line())


@asynccontextmanager
async def callers(
    addresses: list[str], collection: str, book: TextIO, seed: int
) -> AsyncIterator[list[Caller]]:
    """Open every caller's own connection; nothing is dialled before it is needed."""
    made: list[Caller] = []

    def add(node: int, where: list[str], options: ClientOptions) -> None:
        number = len(made) + 1
        client = AmatersClient(where, options=options)
        rng = random.Random(seed + number)
        made.append(Caller(number, node, client, collection, book, rng))

    for node, address in enumerate(addresses, 1):
        for patience in (SHORT, LONG):
            add(node, [address], _alone(patience))
    for number in range(SESSION_CALLERS):
        retrying = ClientOptions(request_timeout=LONG, write_retries=WriteRetries.SESSIONS)
        first = number % len(addresses)
        add(0, addresses[first:] + addresses[:first], retrying)
    try:
        yield made
    finally:
        await asyncio.gather(*(one.db.close() for one in made))


def _alone(patience: timedelta) -> ClientOptions:
    return ClientOptions(
        request_timeout=patience,
        connect_timeout=SHORT,
        max_attempts=1,
        write_retries=WriteRetries.NEVER,
    )


async def read_all(everyone: list[Caller]) -> None:
    """Read every key once more through every node; a node that does not answer is told."""
    loop = asyncio.get_running_loop()
    until = loop.time() + FINAL_SECONDS
    for node in sorted({one.node for one in everyone} - {0}):
        last = [one for one in everyone if one.node == node][-1]
        for key in KEYS:
            while not await last.once(key, write=False):
                if loop.time() > until:
                    raise SystemExit(f"node {node} does not answer at the end")


async def main(book: TextIO, collection: str, seed: int, addresses: list[str]) -> None:
    """Record until the input ends."""
    async with callers(addresses, collection, book, seed) as everyone:
        tasks = [asyncio.create_task(one.run()) for one in everyone]
        print("started", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for one in ended:
            if isinstance(one, Exception):
                raise one
        await read_all(everyone)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", buffering=1) as file:
        asyncio.run(main(file, sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
