"""Each engine against a dict, with views, reopening and crashes as steps of their own."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

pytestmark = pytest.mark.slow

KEYS = st.binary(max_size=2) | st.sampled_from([b"\xff\xff", b"a", b"b", b"ab"])
SPACES = st.sampled_from(list(Space))
OPERATIONS = st.lists(st.tuples(SPACES, KEYS, st.none() | st.binary(max_size=3)), max_size=12)
RANGES = st.lists(st.tuples(SPACES, KEYS, KEYS), max_size=2)
TOP = b"\xff" * 8
SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)

Model = dict[tuple[Space, bytes], bytes]


class EngineStates(RuleBasedStateMachine):
    """Whatever was done, the engine holds what the dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Model = {}
        self.views: list[tuple[Any, Model]] = []
        self.engine: Engine

    def open(self) -> Engine:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.engine = self.open()

    @rule(operations=OPERATIONS, cleared=RANGES, sync=st.booleans())
    def write(self, operations: list[Any], cleared: list[Any], sync: bool) -> None:
        self.engine.write(Changes(list(operations), list(cleared)), sync=sync)
        for space, start, end in cleared:
            for key in [k for k in self.model if k[0] is space and start <= k[1] < end]:
                del self.model[key]
        for space, key, value in operations:
            if value is None:
                self.model.pop((space, key), None)
            else:
                self.model[space, key] = value

    @rule(space=SPACES, keys=st.lists(KEYS, max_size=5))
    def read(self, space: Space, keys: list[bytes]) -> None:
        wanted = [self.model.get((space, key)) for key in keys]
        assert [self.engine.get(space, key) for key in keys] == wanted
        assert self.engine.get_many(space, keys) == wanted

    @precondition(lambda self: len(self.views) < 4)
    @rule()
    def freeze(self) -> None:
        self.views.append((self.engine.view(), dict(self.model)))

    @precondition(lambda self: self.views)
    @rule(space=SPACES, start=KEYS, end=KEYS)
    def read_frozen(self, space: Space, start: bytes, end: bytes) -> None:
        for view, model in self.views:
            assert list(view.scan(space, start, end)) == _range(model, space, start, end)
            assert view.get(space, start) == model.get((space, start))

    @precondition(lambda self: self.views)
    @rule()
    def let_go(self) -> None:
        self.views.pop(0)[0].close()

    @rule()
    def flush(self) -> None:
        self.engine.flush()

    @rule()
    def compact(self) -> None:
        self.engine.compact()

    @rule()
    def reopen(self) -> None:
        self.views.clear()
        self.engine.close()
        self.engine = self.open()

    @invariant()
    def holds_what_the_dict_holds(self) -> None:
        if not hasattr(self, "engine"):
            return
        view = self.engine.view()
        for space in Space:
            assert list(view.scan(space, b"", TOP)) == _range(self.model, space, b"", TOP)
        view.close()

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()


def _range(model: Model, space: Space, start: bytes, end: bytes) -> list[tuple[bytes, bytes]]:
    return sorted((k[1], v) for k, v in model.items() if k[0] is space and start <= k[1] < end)


class MemoryStates(EngineStates):
    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()
        self.synced: Model = {}

    def open(self) -> Engine:
        return MemoryEngine(self.disk)

    @rule(operations=OPERATIONS, lost=st.lists(OPERATIONS, max_size=3), keep=st.integers(0, 3))
    def crash(self, operations: list[Any], lost: list[Any], keep: int) -> None:
        """Everything up to the last synced write survives, and the oldest of those after it."""
        self.write(operations, [], sync=True)
        for number, unsynced in enumerate(lost):
            before = dict(self.model)
            self.write(unsynced, [], sync=False)
            if number >= keep:
                self.model = before
        self.views.clear()
        self.disk.crash(keep=keep)
        self.engine = self.open()


class RocksStates(EngineStates):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="amaters-states-"))

    def open(self) -> Engine:
        return RocksEngine(self.folder / "db", SMALL)

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder, ignore_errors=True)


TestMemoryStates = MemoryStates.TestCase
TestMemoryStates.settings = settings(max_examples=60, stateful_step_count=25)
TestRocksStates = RocksStates.TestCase
TestRocksStates.settings = settings(max_examples=12, stateful_step_count=25)
