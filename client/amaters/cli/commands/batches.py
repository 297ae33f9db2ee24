"""Files of writes: checked as a whole, then executed, with a count of the results."""

import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from tempfile import SpooledTemporaryFile
from typing import IO

from amaters.cli.formatting import JsonValue, text_or_base64
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, InvalidRequestError
from amaters.keys import as_bytes
from amaters.values import Delete, Set

QUOTES = (b"'", b'"')
MOST_NAMED = 10
LONGEST_SHOWN = 80
COPY_IN_MEMORY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line with an operation."""

    number: int
    operation: Set | Delete

    @property
    def shown_as(self) -> str:
        """The line as it is confirmed."""
        verb = "put" if isinstance(self.operation, Set) else "delete"
        return f"{verb} {text_or_base64(as_bytes(self.operation.key))}"


@dataclass(slots=True)
class Tally:
    """The results of the lines."""

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Every line that was no comment and not empty."""
        return self.succeeded + self.failed

    def to_json(self) -> dict[str, JsonValue]:
        """Return it for machine formats; `skipped` is kept for scripts."""
        return {
            "status": "error" if self.failed else "success",
            "operation": "batch",
            "total": self.total,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": 0,
        }


@dataclass(frozen=True, slots=True)
class LineReport:
    """Reports the result of each line: successes on stdout if wanted, failures on stderr."""

    shown: bool

    def succeeded(self, line: Line) -> None:
        """Confirm a line."""
        if self.shown:
            print(f"OK: {line.shown_as}")

    def failed(self, line: Line, error: AmatersError) -> None:
        """Report why a line failed."""
        print(f"ERROR: line {line.number}: {error}", file=sys.stderr)


@contextmanager
def rereadable(source: IO[bytes]) -> Iterator[IO[bytes]]:
    """Open the source so that it can be read twice; a pipe is copied, a large one to disk."""
    if source.seekable():
        yield source
        return
    with SpooledTemporaryFile(max_size=COPY_IN_MEMORY) as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield copy


def require_well_formed(source: IO[bytes]) -> None:
    """Read all of it, and rewind; InvalidRequestError names every invalid line."""
    begin = source.tell()
    wrong: list[str] = []
    count = 0
    for number, text in _meaningful(source):
        try:
            _operation(text, collection="")
        except ValueError as why:
            count += 1
            if count <= MOST_NAMED:
                wrong.append(f"line {number}: {why}: {_shown(text)}")
    source.seek(begin)
    if not count:
        return
    more = [f"and {count - MOST_NAMED} more"] if count > MOST_NAMED else []
    raise InvalidRequestError(
        f"nothing was written, for {count} of the lines cannot be carried out: write each as "
        "`put KEY VALUE` or `delete KEY`; what begins with a quote, or a key with a blank in it, "
        "is quoted as in a shell\n" + "\n".join([*wrong, *more])
    )


def parse(lines: Iterable[bytes], *, collection: str) -> Iterator[Line]:
    """Read `put KEY VALUE` (an unquoted value goes to the line's end) and `delete KEY`."""
    for number, text in _meaningful(lines):
        try:
            yield Line(number, _operation(text, collection=collection))
        except ValueError as why:
            # It was valid when all lines were checked.
            raise InvalidRequestError(
                f"line {number} changed while the file was read ({why}): what precedes it may "
                "be written, look and run it again"
            ) from why


def _meaningful(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, raw in enumerate(lines, 1):
        text = raw.strip()
        if text and not text.startswith(b"#"):
            yield number, text


def _operation(text: bytes, *, collection: str) -> Set | Delete:
    """Return the line's operation; ValueError names what is wrong."""
    verb, rest = first_word(text)
    if verb.lower() not in {b"put", b"set", b"delete"}:
        raise ValueError("it begins neither with put nor with delete")
    if not rest:
        raise ValueError("it has no key")
    key, rest = first_word(rest)
    if verb.lower() == b"delete":
        if rest:
            raise ValueError("something follows the key")
        return Delete(collection, key)
    if not rest:
        raise ValueError("it has no value")
    return Set(collection, key, unquoted(rest))


def unquoted(rest: bytes) -> bytes:
    """Return the value at the end of a line: as it is, or without the quotes around it."""
    if not rest.startswith(QUOTES):
        return rest
    value, beyond = first_word(rest)
    if beyond:
        raise ValueError("something follows the quoted value")
    return value


def first_word(text: bytes) -> tuple[bytes, bytes]:
    """Take a word off the front: up to the next blank, or quoted as a shell would have it."""
    if not text.startswith(QUOTES):
        word, *rest = text.split(maxsplit=1)
        return word, rest[0] if rest else b""
    # One character for each byte: what is quoted need not be text.
    beyond = StringIO(text.decode("latin-1"))
    words = shlex.shlex(beyond, posix=True)
    words.whitespace_split, words.commenters = True, ""
    try:
        quoted = words.get_token() or ""
    except ValueError as wrong:
        raise ValueError("a quote is not closed") from wrong
    return quoted.encode("latin-1"), beyond.read().encode("latin-1").strip()


def _shown(text: bytes) -> str:
    shown = text_or_base64(text[:LONGEST_SHOWN])
    return shown if len(text) <= LONGEST_SHOWN else f"{shown}…"


async def run_batch(
    client: AmatersClient,
    source: Iterable[bytes],
    *,
    collection: str,
    chunk: int,
    report: LineReport,
) -> Tally:
    """Execute the lines in order, in chunks."""
    tally = Tally()
    waiting: list[Line] = []
    for line in parse(source, collection=collection):
        waiting.append(line)
        if len(waiting) == chunk:
            await _write(client, waiting, tally, report)
            waiting = []
    await _write(client, waiting, tally, report)
    return tally


async def _write(
    client: AmatersClient, lines: list[Line], tally: Tally, report: LineReport
) -> None:
    """Write the lines together; when one is invalid, write them one by one to find it."""
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
