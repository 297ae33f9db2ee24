"""A steady client that records the answers it got, and checks the cluster against it.

Every writer owns one key and writes the numbers 1, 2, 3 … to it, one after the other. That makes
the check complete and cheap: a read that began after write n was acknowledged must return n or
more, no read may return less than an earlier finished read of the same key did, and nothing may
be returned that was never attempted. At the end every key must hold at least its last
acknowledged number. A broken promise is listed in the summary and makes the exit code 1.

Each time the lap file appears, a lap ends: the summary lists the longest gap between writes of
every lap.

Runs anywhere the client is installed: beside local nodes (`make demo`), in a pod (`make e2e`).
Prints one line of JSON: the summary.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from amaters import AmatersClient, AmatersError, TlsFiles

COLLECTION = "workload"


@dataclass(slots=True)
class Register:
    """One key with its single writer: what was attempted, acknowledged and seen."""

    key: str
    attempted: int = 0
    acknowledged: int = 0
    seen: int = 0


@dataclass(slots=True)
class Gap:
    """The longest time between two successes of any caller."""

    last: float
    longest: float = 0.0
    lap: float = 0.0
    """The longest of the lap that runs."""
    laps: list[float] = field(default_factory=list)

    def success(self, now: float) -> None:
        """Note that a call succeeded now."""
        self._note(now)
        self.last = now

    def close(self, now: float) -> None:
        """Count the time since the last success too: a service that never came back is a gap."""
        self._note(now)

    def next_lap(self, now: float) -> None:
        """End a lap; a gap that still lasts counts in both."""
        self._note(now)
        self.laps.append(self.lap)
        self.lap = 0.0

    def _note(self, now: float) -> None:
        self.longest = max(self.longest, now - self.last)
        self.lap = max(self.lap, now - self.last)


@dataclass(slots=True)
class Record:
    """Everything the summary is made from."""

    writes: Gap
    reads: Gap
    acknowledged: int = 0
    read: int = 0
    failed_writes: int = 0
    failed_reads: int = 0
    violations: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def failure(self, error: AmatersError) -> None:
        """Count a failed call by its stable code."""
        self.errors[error.code] = self.errors.get(error.code, 0) + 1

    def summary(self) -> dict[str, object]:
        """Return what is printed."""
        laps = [round(one * 1000) for one in self.writes.laps]
        return {
            "acknowledged": self.acknowledged,
            "read": self.read,
            "failed_writes": self.failed_writes,
            "failed_reads": self.failed_reads,
            "longest_write_gap_ms": round(self.writes.longest * 1000),
            "longest_read_gap_ms": round(self.reads.longest * 1000),
            "errors": self.errors,
            "violations": self.violations,
            **({"write_gaps_of_laps_ms": laps} if laps else {}),
        }


async def write(db: AmatersClient, register: Register, record: Record, pause: float) -> None:
    """Count the register up until cancelled."""
    while True:
        register.attempted += 1
        number = register.attempted
        try:
            await db.set(COLLECTION, register.key, str(number).encode())
        except AmatersError as error:
            record.failed_writes += 1
            record.failure(error)
        else:
            register.acknowledged = number
            record.acknowledged += 1
            record.writes.success(time.monotonic())
        await asyncio.sleep(pause)


async def check(
    db: AmatersClient, registers: list[Register], record: Record, pause: float, seed: int
) -> None:
    """Read random registers until cancelled, and hold every answer against the record."""
    chance = random.Random(seed)
    while True:
        register = chance.choice(registers)
        least = max(register.acknowledged, register.seen)
        try:
            value = await db.get(COLLECTION, register.key)
        except AmatersError as error:
            record.failed_reads += 1
            record.failure(error)
        else:
            found = int(value or b"0")
            judge(register, found=found, least=least, record=record)
            register.seen = max(register.seen, found)
            record.read += 1
            record.reads.success(time.monotonic())
        await asyncio.sleep(pause)


def judge(register: Register, *, found: int, least: int, record: Record) -> None:
    """List a violation when the number found breaks a promise."""
    if found < least:
        record.violations.append(f"stale read of {register.key}: {found} after {least}")
    if found > register.attempted:
        record.violations.append(f"{register.key} holds {found}, never written")


async def verify(db: AmatersClient, registers: list[Register], record: Record) -> None:
    """Read everything back once the writers have stopped."""
    for register in registers:
        value = await db.get(COLLECTION, register.key)
        found = int(value or b"0")
        if found < register.acknowledged:
            record.violations.append(
                f"lost write: {register.key} holds {found}, {register.acknowledged} was acknowledged"
            )
        judge(register, found=found, least=register.seen, record=record)


async def wait_for_end(options: argparse.Namespace, record: Record) -> None:
    """Return when the time is up or the stop file appears; end a lap when its file does."""
    end = time.monotonic() + options.seconds
    lap = Path(options.lap_file)
    while time.monotonic() < end and not Path(options.stop_file).exists():
        if lap.exists():
            lap.unlink()
            record.writes.next_lap(time.monotonic())
        await asyncio.sleep(0.1)


async def run(options: argparse.Namespace) -> Record:
    """Drive the writers and the checkers, then verify."""
    tls = None
    if options.tls:
        folder = Path(options.tls)
        tls = TlsFiles(ca=folder / "ca.crt", certificate=folder / "tls.crt", key=folder / "tls.key")
    async with await AmatersClient.connect(options.endpoint, credentials=tls) as db:
        registers = [Register(f"{options.prefix}-{number}") for number in range(options.writers)]
        now = time.monotonic()
        record = Record(writes=Gap(now), reads=Gap(now))
        pause = options.writers / options.rate
        tasks = [asyncio.create_task(write(db, one, record, pause)) for one in registers]
        tasks += [
            asyncio.create_task(check(db, registers, record, pause, seed))
            for seed in range(options.readers)
        ]
        print("started", file=sys.stderr, flush=True)
        await wait_for_end(options, record)
        for gap in (record.writes, record.reads):
            gap.close(time.monotonic())
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()
        await verify(db, registers, record)
        return record


def main() -> int:
    """Parse the arguments, run, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--endpoint", action="append", required=True, help="host:port, repeatable")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=100.0, help="writes per second, all writers")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--prefix", default="register", help="keys start with it")
    parser.add_argument("--stop-file", default="/tmp/stop", help="ends the run when it appears")
    parser.add_argument("--lap-file", default="/tmp/lap", help="ends a lap when it appears")
    parser.add_argument("--tls", help="folder with ca.crt, tls.crt and tls.key")
    record = asyncio.run(run(parser.parse_args()))
    print(json.dumps(record.summary()), flush=True)
    return 1 if record.violations else 0


if __name__ == "__main__":
    sys.exit(main())
