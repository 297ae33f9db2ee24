"""The files of `import`, `export` and `diff`: records in NDJSON, CSV and the NUL form.

Readers and writers hold one record at a time. Bytes that are no printable text are marked as in
every other output: `BASE64:` and their base64. The NUL form holds bytes as they are.
"""

import base64
import csv
import enum
import io
import json
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO

from amaters.cli.formatting import BASE64_MARK, text_or_base64
from amaters.errors import InvalidRequestError

Record = tuple[bytes, bytes]
"""A key and its value."""

LARGEST_RECORD = 64 * 1024 * 1024
"""Bytes that a record may take in a file; a server takes less."""
_PIECE = 1024 * 1024
_QUOTED_IN_CSV = frozenset('",\n\r')


class Layout(enum.Enum):
    """How records are written to a file."""

    NDJSON = "ndjson"
    """A JSON object with `key` and `value` on each line."""
    CSV = "csv"
    """A header, then a row for each record, as RFC 4180 has it."""
    NUL = "nul"
    """`key\\0value\\0`, without any marks."""


_SUFFIXES = {
    ".ndjson": Layout.NDJSON,
    ".jsonl": Layout.NDJSON,
    ".csv": Layout.CSV,
    ".nul": Layout.NUL,
}


def layout_of(path: Path, named: str | None) -> Layout:
    """Return the layout that was named, or else that of the file's ending; NDJSON otherwise."""
    if named is not None:
        return Layout(named.lower())
    return _SUFFIXES.get(path.suffix.lower(), Layout.NDJSON)


class UnreadableRecordError(InvalidRequestError):
    """A record that cannot be read, and where it is."""

    def __init__(self, place: str, why: str) -> None:
        self.place = place
        super().__init__(f"{place}: {why}")


def read(source: IO[bytes], layout: Layout) -> Iterator[Record]:
    """Walk the records; UnreadableRecordError names the line of the first that is none."""
    return _READERS[layout](source)


def head_of(layout: Layout) -> bytes:
    """Return what a file begins with."""
    return b"key,value\n" if layout is Layout.CSV else b""


def writer(layout: Layout) -> Callable[[bytes, bytes], bytes]:
    """Return what turns a record into the bytes of a file."""
    return _WRITERS[layout]


def _read_ndjson(source: IO[bytes]) -> Iterator[Record]:
    number = 0
    while line := source.readline(LARGEST_RECORD + 1):
        number += 1
        if len(line) > LARGEST_RECORD:
            raise _too_long(f"line {number}")
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnreadableRecordError(f"line {number}", f"it is no JSON ({error})") from None
        if not isinstance(record, dict):
            raise UnreadableRecordError(
                f"line {number}", 'it is no object: write {"key": "…", "value": "…"}'
            )
        yield (
            _text(record.get("key"), "key", f"line {number}"),
            _text(record.get("value"), "value", f"line {number}"),
        )


def _text(value: object, name: str, place: str) -> bytes:
    if not isinstance(value, str):
        what = "has none" if value is None else f"is of type {type(value).__name__}"
        raise UnreadableRecordError(place, f"its {name} {what}: it must be a string")
    return _unmarked(value, name, place)


def _unmarked(text: str, name: str, place: str) -> bytes:
    if not text.startswith(BASE64_MARK):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise UnreadableRecordError(
                place, f"its {name} holds half of a letter ({error.reason}): write it as BASE64:"
            ) from None
    try:
        return base64.b64decode(text[len(BASE64_MARK) :], validate=True)
    except ValueError as error:
        raise UnreadableRecordError(
            place,
            f"its {name} begins with {BASE64_MARK} and is no base64 ({error}): text that begins so "
            "is written as base64, too",
        ) from None


def _read_csv(source: IO[bytes]) -> Iterator[Record]:
    csv.field_size_limit(LARGEST_RECORD)
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    try:
        yield from _rows(csv.reader(_lines(text), strict=True))
    finally:
        # The file belongs to the caller.
        text.detach()


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LARGEST_RECORD + 1):
        if len(line) > LARGEST_RECORD:
            raise csv.Error(f"a line has more than {LARGEST_RECORD} characters")
        yield line


def _rows(reader: "csv._reader") -> Iterator[Record]:  # type: ignore[name-defined]
    columns: tuple[int, int] | None = None
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UnreadableRecordError(place, f"it is no CSV in UTF-8 ({error})") from None
        if row is None:
            return
        if columns is None:
            columns = _columns(row)
        elif row:
            if len(row) <= max(columns):
                raise UnreadableRecordError(place, f"it has only {len(row)} fields")
            key, value = (row[one] for one in columns)
            yield _unmarked(key, "key", place), _unmarked(value, "value", place)


def _columns(header: list[str]) -> tuple[int, int]:
    names = [one.strip().lower() for one in header]
    try:
        return names.index("key"), names.index("value")
    except ValueError:
        raise UnreadableRecordError(
            "line 1",
            f"the header names {', '.join(names) or 'nothing'}: it must name key and value",
        ) from None


def _read_nul(source: IO[bytes]) -> Iterator[Record]:
    number = 0
    waiting = b""
    key: bytes | None = None
    while piece := source.read(_PIECE):
        *fields, waiting = (waiting + piece).split(b"\0")
        for field in fields:
            if key is None:
                key = field
            else:
                number += 1
                yield key, field
                key = None
        if len(waiting) > LARGEST_RECORD:
            raise _too_long(f"record {number + 1}")
    if key is not None or waiting:
        raise UnreadableRecordError(
            f"record {number + 1}", "the file ends in the middle of it: it is cut off"
        )


def _too_long(place: str) -> UnreadableRecordError:
    return UnreadableRecordError(place, f"it has more than {LARGEST_RECORD} bytes")


def _ndjson_line(key: bytes, value: bytes) -> bytes:
    shown, held = encode_basestring(text_or_base64(key)), encode_basestring(text_or_base64(value))
    return f'{{"key":{shown},"value":{held}}}\n'.encode()


def _csv_row(key: bytes, value: bytes) -> bytes:
    return f"{_csv_field(text_or_base64(key))},{_csv_field(text_or_base64(value))}\n".encode()


def _csv_field(text: str) -> str:
    # Quoted when empty, so that a line is never empty.
    if text and _QUOTED_IN_CSV.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _nul_record(key: bytes, value: bytes) -> bytes:
    if b"\0" in key or b"\0" in value:
        raise InvalidRequestError(
            f"the record of {text_or_base64(key[:80])!r} holds a NUL byte, which the nul form cannot "
            "hold: use ndjson or csv"
        )
    return key + b"\0" + value + b"\0"


_READERS: dict[Layout, Callable[[IO[bytes]], Iterator[Record]]] = {
    Layout.NDJSON: _read_ndjson,
    Layout.CSV: _read_csv,
    Layout.NUL: _read_nul,
}
_WRITERS: dict[Layout, Callable[[bytes, bytes], bytes]] = {
    Layout.NDJSON: _ndjson_line,
    Layout.CSV: _csv_row,
    Layout.NUL: _nul_record,
}
