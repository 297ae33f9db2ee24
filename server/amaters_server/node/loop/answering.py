"""Answers reads from a state machine: many gets in one look-up, long scans in a thread."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import Answer, Answers, Get, Read, Result, Row, Scan
from amaters_server.node.ports import DataView

SHORT_SCAN_ROWS = 100
"""Scans limited to this many rows are answered at once; longer ones go to a worker thread."""

TicketAnswers = list[tuple[int, Answer]]


class Reader:
    """Answers for one node: long scans in a worker thread, everything else at once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._slow: set[asyncio.Future[None]] = set()

    def answer(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer reads from the state as it is now."""
        keys = lone_gets(reads)
        if keys is not None:
            answers(answer_gets(self._machine, reads, keys))
            return
        quick = [read for read in reads if is_quick(read)]
        if quick:
            answers(answer_quick(self._machine, quick))
        if len(quick) < len(reads):
            self._answer_slowly([read for read in reads if not is_quick(read)], answers)

    async def ended(self, seconds: float) -> None:
        """Return once no worker thread reads any more, or after that time."""
        if self._slow:
            await asyncio.wait(self._slow, timeout=seconds)

    def _answer_slowly(self, reads: Sequence[Read], answers: Answers) -> None:
        try:
            view = self._machine.view()
        except DatabaseError as error:
            answers([(read.ticket, error) for read in reads])
            return
        event_loop = asyncio.get_running_loop()
        answered = event_loop.run_in_executor(None, answer_slow, view, reads)
        finished = asyncio.ensure_future(_hand_over(answered, answers))
        self._slow.add(finished)
        finished.add_done_callback(self._slow.discard)


async def _hand_over(answered: asyncio.Future[TicketAnswers], answers: Answers) -> None:
    answers(await answered)


def is_quick(read: Read) -> bool:
    """Whether answering takes no longer than a few look-ups."""
    for operation in read.operations:
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


def answer_gets(machine: Machine, reads: Sequence[Read], keys: Sequence[bytes]) -> TicketAnswers:
    """Answer reads of one key each from the newest state, in one look-up."""
    try:
        values = machine.get_many(keys)
    except DatabaseError as error:
        return [(read[0], error) for read in reads]
    return [(read[0], [value]) for read, value in zip(reads, values, strict=True)]


def answer_quick(machine: Machine, reads: Sequence[Read]) -> TicketAnswers:
    """Answer reads from the newest state: all their gets are one look-up."""
    keys = [
        operation.key for read in reads for operation in read.operations if type(operation) is Get
    ]
    try:
        values = iter(machine.get_many(keys))
        return [(read.ticket, _results(machine, read, values)) for read in reads]
    except DatabaseError as error:
        return [(read.ticket, error) for read in reads]


def answer_slow(view: DataView, reads: Sequence[Read]) -> TicketAnswers:
    """Answer reads from a view, which is closed afterwards; meant for a worker thread."""
    try:
        return [(read.ticket, _from_view(view, read)) for read in reads]
    finally:
        view.close()


def _results(machine: Machine, read: Read, values: Iterator[bytes | None]) -> list[Result]:
    results: list[Result] = []
    for operation in read.operations:
        if type(operation) is Get:
            results.append(next(values))
        elif type(operation) is Scan:
            results.append(machine.scan(operation))
    return results


def _from_view(view: DataView, read: Read) -> Answer:
    results: list[Result] = []
    try:
        for operation in read.operations:
            if isinstance(operation, Get):
                results.append(view.get(operation.key))
            elif isinstance(operation, Scan):
                results.append(_rows(view, operation))
    except DatabaseError as error:
        return error
    return results


def _rows(view: DataView, scan: Scan) -> list[Row]:
    return list(islice(view.scan(scan.start, scan.end), scan.limit))
