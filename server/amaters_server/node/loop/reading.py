"""One read from a state machine: what it takes, and that it ends where no message would hold it."""

from collections.abc import Iterator, Sequence
from itertools import islice

from amaters_server.machine.machine import Machine
from amaters_server.machine.updates.evaluation import Filtering
from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import Answer, Filter, Get, Operation, Read, Result, Row, Scan
from amaters_server.node.ports import DataView

SHORT_SCAN_ROWS = 100
"""Scans limited to this many rows are answered at once; longer ones go to a worker thread."""

TOGETHER = 4
"""So many values are looked up before their sizes are known: each may be as large as a message."""

TicketAnswers = list[tuple[int, Answer]]


def is_quick(read: Read) -> bool:
    """Whether answering takes no longer than a few look-ups."""
    for operation in read.operations:
        if isinstance(operation, Filter):
            return False
        if isinstance(operation, Scan):
            limit = operation.limit
            if limit is None or limit > SHORT_SCAN_ROWS:
                return False
    return True


def lone_gets(reads: Sequence[Read]) -> list[bytes] | None:
    """Return the keys when every read is the Get of one key, as nearly all are."""
    keys: list[bytes] = []
    for _, operations, _, _ in reads:
        if len(operations) != 1 or type(get := operations[0]) is not Get:
            return None
        keys.append(get[0])
    return keys


def size_of(answer: Answer) -> int:
    """Return how many bytes of values an answer holds."""
    if not isinstance(answer, list):
        return 0
    return sum(map(_size, answer))


def _size(result: Result) -> int:
    if isinstance(result, bytes):
        return len(result)
    if isinstance(result, list):
        return sum(len(key) + len(value) for key, value in result)
    return 0


def answered_at_once(machine: Machine, read: Read, largest: int) -> Answer | None:
    """Answer a read from the newest state; None when that is larger than a message may be."""
    keys = [operation.key for operation in read.operations if type(operation) is Get]
    results: list[Result] = []
    size = 0
    try:
        if len(keys) < len(read.operations):
            return answered_from(machine.view(), read, largest)
        for at in range(0, len(keys), TOGETHER):
            values = machine.get_many(keys[at : at + TOGETHER])
            results += values
            size += sum(map(_size, values))
            if size > largest:
                return None
    except DatabaseError as error:
        return error
    return results


def answered_from(view: DataView, read: Read, largest: int) -> Answer | None:
    """Answer a read from a view and close that; None as `answered_at_once`. On any thread."""
    results: list[Result] = []
    size = 0
    try:
        for operation in read.operations:
            result = _answered(view, operation, largest - size)
            if result is None and not isinstance(operation, Get):
                return None
            results.append(result)
            size += _size(result)
            if size > largest:
                return None
    except DatabaseError as error:
        return error
    finally:
        view.close()
    return results


def _answered(view: DataView, operation: Operation, most: int) -> Result:
    """Answer one operation; None when its rows take more than `most` bytes."""
    if isinstance(operation, Get):
        return view.get(operation.key)
    if isinstance(operation, Scan):
        return _rows(view.scan(operation.start, operation.end), operation.limit, most)
    if isinstance(operation, Filter):
        filtering = Filtering(operation, most)
        rows = view.scan(operation.start, operation.end)
        while filtering.some(rows):
            pass
        return None if filtering.is_too_large else filtering.found
    raise TypeError(f"{type(operation).__name__} is no read")


def _rows(rows: Iterator[tuple[bytes, bytes]], limit: int | None, most: int) -> list[Row] | None:
    """Gather rows; None once they take more than `most` bytes."""
    gathered: list[Row] = []
    for row in islice(rows, limit):
        most -= len(row[0]) + len(row[1])
        if most < 0:
            return None
        gathered.append(row)
    return gathered
