"""A Raft group in memory, and a gRPC server that answers from an event loop."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaters_native.consensus import (
    ENTRY_CONF_CHANGE,
    ConfState,
    Entry,
    Message,
    RaftNode,
    Ready,
    Snapshot,
)
from amaters_native.transport import Call, Channel, Connector, Ended, Listener

NOBODY: ConfState = ([], [], [], [], False)


@dataclass
class Disk:
    """What survives a crash."""

    hard_state: tuple[int, int, int] = (0, 0, 0)
    conf_state: ConfState = NOBODY
    log: dict[int, Entry] = field(default_factory=dict)
    base: tuple[int, int] = (0, 0)

    @classmethod
    def of_founder(cls, *ids: int) -> "Disk":
        """The disk of a first member: as if entry 1 had been compacted already."""
        return cls((1, 0, 1), (list(ids), [], [], [], False), {}, (1, 1))

    def persist(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            index, term, self.conf_state, _ = ready.snapshot
            self.base, self.log = (index, term), {}
        if ready.entries:
            first = ready.entries[0][0]
            self.log = {at: entry for at, entry in self.log.items() if at < first}
            self.log |= {entry[0]: entry for entry in ready.entries}
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state


class Member:
    """One node with a disk.

    `slow_disk` leaves its readies undone until `flush`, `slow_install` those from a snapshot on.
    """

    def __init__(self, number: int, disk: Disk, **settings: Any) -> None:
        self.id, self.disk, self.settings = number, disk, settings
        self.applied: list[tuple[int, bytes]] = []
        self.reads: list[tuple[int, bytes]] = []
        self.slow_disk = False
        self.slow_install = False
        self.in_flight: deque[Ready] = deque()
        self.outgoing: list[Message] = []
        self.node = self._start(0)

    def _start(self, applied: int) -> RaftNode:
        timeout = 10 + self.id * 3
        settings = {
            "election_tick": 10,
            "heartbeat_tick": 2,
            "min_election_tick": timeout,
            "max_election_tick": timeout + 1,
            "check_entries": False,
        } | self.settings
        return RaftNode(
            id=self.id,
            applied=applied,
            hard_state=self.disk.hard_state,
            conf_state=self.disk.conf_state,
            snapshot_index=self.disk.base[0],
            snapshot_term=self.disk.base[1],
            entries=[self.disk.log[index] for index in sorted(self.disk.log)],
            **settings,
        )

    def crash(self) -> None:
        """Start again from the disk, having applied nothing since the last compaction."""
        self.in_flight.clear()
        self.outgoing.clear()
        self.applied = [entry for entry in self.applied if entry[0] <= self.disk.base[0]]
        self.node = self._start(self.disk.base[0])

    def work(self) -> bool:
        busy = False
        while self.node.has_ready():
            busy = True
            ready = self.node.ready()
            self.outgoing += ready.messages
            self.in_flight.append(ready)
            self.reads += ready.read_states
            if ready.snapshot is None:
                self.apply(ready.committed)
            if not self.slow_disk:
                self.flush()
        return busy

    def flush(self) -> None:
        while self.in_flight:
            if self.slow_install and self.in_flight[0].snapshot is not None:
                return
            ready = self.in_flight.popleft()
            self.disk.persist(ready)
            self.outgoing += ready.persisted_messages
            self.node.on_persist_ready(ready.number)
            if ready.snapshot is not None:
                self.install(ready.snapshot)

    def install(self, snapshot: Snapshot) -> None:
        index, _, _, data = snapshot
        self.applied = [(index, data)]
        self.node.advance_apply_to(index)

    def apply(self, committed: list[Entry]) -> None:
        for index, _, kind, data, _context in committed:
            if kind == ENTRY_CONF_CHANGE:
                self.disk.conf_state = self.node.apply_conf_change(data)
            elif data:
                self.applied.append((index, data))
        if committed:
            self.node.advance_apply_to(committed[-1][0])


class Group:
    """Members and a network that delivers in order, except to `cut` members and `lost` kinds."""

    def __init__(self, *ids: int, **settings: Any) -> None:
        self.settings = settings
        self.members = {number: Member(number, Disk.of_founder(*ids), **settings) for number in ids}
        self.offering = False
        self.cut: set[int] = set()
        self.lost: set[str] = set()
        self.kinds: list[str] = []

    def __getitem__(self, number: int) -> RaftNode:
        return self.members[number].node

    def join(self, number: int) -> Member:
        """Start an empty member; from now on leaders make the snapshots that members need."""
        self.offering = True
        self.members[number] = Member(number, Disk(), **self.settings)
        return self.members[number]

    def settle(self, limit: int = 1000) -> None:
        """Deliver everything until nobody has work."""
        for _ in range(limit):
            busy = [member.work() for member in list(self.members.values())]
            if self.offering:
                busy += [self.offer(member) for member in self.members.values()]
            if not self.deliver() and not any(busy):
                return
        raise AssertionError(f"no rest after {limit} rounds")

    def offer(self, member: Member) -> bool:
        """Make the snapshot others wait for, and report at once that it has arrived."""
        node = member.node
        requests = node.take_snapshot_requests()
        if requests:
            data = b"|".join(data for _, data in member.applied)
            node.set_snapshot(node.applied, node.term_of(node.applied), node.conf_state(), data)
            for _ in range(3):
                node.tick()
        for other in node.status().progress:
            if other.state == "snapshot":
                node.report_snapshot(other.id, ok=True)
        return bool(requests)

    def deliver(self) -> bool:
        moved = False
        for member in self.members.values():
            outgoing, member.outgoing = member.outgoing, []
            for to, kind, message in outgoing:
                moved = True
                if to not in self.members or {to, member.id} & self.cut:
                    continue
                self.kinds.append(kind)
                if kind not in self.lost:
                    assert self.members[to].node.step(message)[0] == kind
        return moved

    def tick(self, times: int) -> None:
        for _ in range(times):
            for member in self.members.values():
                member.node.tick()
            self.settle()

    def elect(self, number: int) -> RaftNode:
        self[number].campaign()
        self.settle()
        assert self[number].is_leader
        return self[number]

    def propose(self, number: int, *values: bytes) -> None:
        for value in values:
            self[number].propose(b"", value)
        self.settle()

    def values(self, number: int) -> list[bytes]:
        return [data for _, data in self.members[number].applied]


@pytest.fixture
def group() -> Callable[..., Group]:
    return Group


type_of_answer = Callable[["Server", Call], None]


class Server:
    """A listener on the running event loop. `answer` sees every call once."""

    def __init__(self, answer: type_of_answer, **settings: Any) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.cancelled: list[int] = []
        self.writable: list[int] = []
        self.messages: list[tuple[int, list[bytes], bool]] = []
        self.reading = True
        self.closed = False
        self.changed = asyncio.Event()
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        settings = {"address": "127.0.0.1:0"} | settings
        self.listener = Listener(event_fd=self.event_fd, **settings)
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.event_fd, self.wake)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def wake(self) -> None:
        os.eventfd_read(self.event_fd)
        self.wake_now()

    def wake_now(self) -> None:
        for call in self.listener.take():
            self.calls.append(call)
            self.answer(self, call)
        if self.reading:
            self.messages += self.listener.take_messages()
        self.cancelled += self.listener.take_cancelled()
        self.writable += self.listener.take_writable()
        self.changed.set()

    def received(self) -> bytes:
        """Everything that inbound streams have brought, in one."""
        return b"".join(b"".join(messages) for _, messages, _ in self.messages)

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something to become true at one of the wake-ups."""
        async with asyncio.timeout(60):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def close(self, grace: float = 0.0) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            await asyncio.to_thread(self.listener.close, grace)
        finally:
            self.loop.remove_reader(self.event_fd)
            os.close(self.event_fd)


def echo(server: Server, call: Call) -> None:
    server.listener.reply([(call[0], call[2])])


def ignore(server: Server, call: Call) -> None:
    pass


@pytest.fixture
def serving() -> Callable[..., Any]:
    @asynccontextmanager
    async def serve(answer: type_of_answer = echo, **settings: Any) -> AsyncIterator[Server]:
        server = Server(answer, **settings)
        try:
            yield server
        finally:
            await server.close()

    return serve


class Outgoing:
    """A connector on the running event loop."""

    def __init__(self) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.connector = Connector(event_fd=self.event_fd)
        self.ended: dict[int, Ended] = {}
        self.changed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.event_fd, self.wake)

    def wake(self) -> None:
        os.eventfd_read(self.event_fd)
        for outcome in self.connector.take():
            assert outcome[0] not in self.ended
            self.ended[outcome[0]] = outcome
        self.changed.set()

    def to(self, target: str, **settings: Any) -> Channel:
        return self.connector.connect(target, **settings)

    async def outcome(self, call_id: int) -> tuple[int, str, bytes | None]:
        """Wait for the end of a call: (code, text, message)."""
        async with asyncio.timeout(60):
            while call_id not in self.ended:
                self.changed.clear()
                await self.changed.wait()
        return self.ended[call_id][1:]

    async def close(self) -> None:
        self.loop.remove_reader(self.event_fd)
        await asyncio.to_thread(self.connector.close)
        os.close(self.event_fd)


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    made = Outgoing()
    yield made
    await made.close()
