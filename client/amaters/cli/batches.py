"""Files of writes: lines to operations, operations to the cluster, and a count of what became of them."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amaters.cli.plain import Plain, text_or_base64
from amaters.client import AmatersClient
from amaters.errors import AmatersError, InvalidRequestError
from amaters.keys import as_bytes
from amaters.values import Delete, Set


@dataclass(frozen=True, slots=True)
class Line:
    """One line that means something."""

    number: int
    operation: Set | Delete

    @property
    def spoken(self) -> str:
        """The line as it is confirmed."""
        verb = "put" if isinstance(self.operation, Set) else "delete"
        return f"{verb} {text_or_base64(as_bytes(self.operation.key))}"


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line that means nothing."""

    number: int
    text: str


@dataclass(slots=True)
class Tally:
    """What became of the lines."""

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """Every line that was no comment and not empty."""
        return self.succeeded + self.failed + self.skipped

    def as_plain(self) -> dict[str, Plain]:
        """Spell it for machine formats."""
        return {
            "status": "error" if self.failed else "success",
            "operation": "batch",
            "total": self.total,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped,
        }


@dataclass(frozen=True, slots=True)
class LineReport:
    """Tells what became of each line: successes on stdout if wanted, the rest on stderr."""

    shown: bool

    def succeeded(self, line: Line) -> None:
        """Confirm a line."""
        if self.shown:
            print(f"OK: {line.spoken}")

    def failed(self, line: Line, error: AmatersError) -> None:
        """Say why a line failed."""
        print(f"ERROR: line {line.number}: {error}", file=sys.stderr)

    def skipped(self, line: Malformed) -> None:
        """Say that a line means nothing."""
        print(f"SKIP: malformed line {line.number}: {line.text}", file=sys.stderr)


def parse(lines: Iterable[bytes], *, collection: str) -> Iterator[Line | Malformed]:
    """Read `put KEY VALUE` (the value goes to the line's end) and `delete KEY`."""
    for number, raw in enumerate(lines, 1):
        text = raw.rstrip(b"\r\n")
        if not text.strip() or text.lstrip().startswith(b"#"):
            continue
        words = text.strip().split(maxsplit=2)
        match words:
            case [verb, key, value] if verb.lower() in (b"put", b"set"):
                yield Line(number, Set(collection, key, value))
            case [verb, key] if verb.lower() == b"delete":
                yield Line(number, Delete(collection, key))
            case _:
                yield Malformed(number, text.decode(errors="replace"))


async def run_batch(
    client: AmatersClient,
    source: Iterable[bytes],
    *,
    collection: str,
    chunk: int,
    report: LineReport,
) -> Tally:
    """Carry the lines out in order, so many at a time together."""
    tally = Tally()
    waiting: list[Line] = []
    for line in parse(source, collection=collection):
        if isinstance(line, Malformed):
            tally.skipped += 1
            report.skipped(line)
            continue
        waiting.append(line)
        if len(waiting) == chunk:
            await _write(client, waiting, tally, report)
            waiting = []
    await _write(client, waiting, tally, report)
    return tally


async def _write(
    client: AmatersClient, lines: list[Line], tally: Tally, report: LineReport
) -> None:
    """Write the lines together; when one makes no sense, write them one by one to find it."""
    try:
        await client.batch([one.operation for one in lines])
    except InvalidRequestError as error:
        if len(lines) > 1:
            for one in lines:
                await _write(client, [one], tally, report)
        else:
            _count_failed(lines, error, tally, report)
    except AmatersError as error:
        _count_failed(lines, error, tally, report)
    else:
        tally.succeeded += len(lines)
        for one in lines:
            report.succeeded(one)


def _count_failed(lines: list[Line], error: AmatersError, tally: Tally, report: LineReport) -> None:
    tally.failed += len(lines)
    for one in lines:
        report.failed(one, error)
