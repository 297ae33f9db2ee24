"""Turns of walks, and what of the answers' memory they wait for; with a fake of the listener."""

import asyncio
import os

import pytest
from amaters_native.transport import Listener
from amaters_server.rpc.transport import budget as budgets
from amaters_server.rpc.transport.budget import AnswerBudget, Share
from amaters_server.rpc.transport.status import AnswersNotTakenError


class FakeSending:
    """Holds as many bytes as it is told; the contract below holds for the real one too."""

    def __init__(self) -> None:
        self.size = 0
        self.awaited = 0
        self.cuts: list[tuple[int, int]] = []
        self.slow: list[tuple[str, int]] = []
        self.released = 0

    def held(self) -> int:
        return self.size

    def wake_below(self, size: int) -> bool:
        self.awaited = 0 if self.size < size else size
        return self.size < size

    def cut_slow(self, keep: int, parts: int) -> list[tuple[str, int]]:
        self.cuts.append((keep, parts))
        if self.size <= keep:
            return []
        cut, self.slow = self.slow, []
        self.size -= sum(held for _, held in cut)
        return cut

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def sending() -> FakeSending:
    return FakeSending()


@pytest.fixture
def budget(sending):
    made = AnswerBudget(limit=100, largest=40)
    made.attach(sending, sending.release)
    yield made
    made.close()


@pytest.fixture(params=["fake", "native"])
def idle(request):
    """A listener of either kind that holds nothing."""
    if request.param == "fake":
        yield FakeSending()
        return
    event = os.eventfd(0, os.EFD_NONBLOCK)
    listener = Listener(address="127.0.0.1:0", event_fd=event)
    yield listener
    listener.close()
    os.close(event)


def test_a_listener_that_holds_nothing_says_so_and_cuts_nobody(idle):
    """What it does with answers: tests/native/test_native_transport_streams.py."""
    assert idle.held() == 0
    assert idle.wake_below(1)
    assert not idle.wake_below(0)
    assert idle.cut_slow(0, budgets.SLOW_PARTS) == []
    assert idle.cut_slow(2**62, budgets.SLOW_PARTS) == []


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Walker:
    """One walk that asks for turns as it is told."""

    def __init__(self, budget: AnswerBudget, turns: list[str], name: str, size: int = 0) -> None:
        self.name, self._budget, self._turns = name, budget, turns
        self.share = Share()
        budget.grow(self.share, size)

    def ask(self) -> "asyncio.Task[None]":
        return asyncio.get_running_loop().create_task(self._ask())

    def finish(self) -> None:
        self._budget.grow(self.share, -self.share.size)

    async def _ask(self) -> None:
        await self._budget.turn(self.share)
        self._turns.append(self.name)


async def test_walks_go_one_at_a_time_in_the_order_of_asking(budget):
    turns: list[str] = []
    asked = [Walker(budget, turns, name).ask() for name in "abc"]
    await settled()
    seen = [list(turns)]
    for _ in asked:
        budget.end_turn()
        await settled()
        seen.append(list(turns))

    assert seen == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]
    assert len(budget) == 0


async def test_no_walk_begins_until_callers_have_taken_enough(budget, sending):
    sending.size = 60
    turns: list[str] = []
    asked = Walker(budget, turns, "a").ask()
    await settled()
    waited = list(turns)
    sending.size = 59
    budget.freed()
    await settled()

    assert waited == []
    assert turns == ["a"]
    assert asked.done()


async def test_the_listener_is_asked_to_say_when_there_is_room(budget, sending):
    sending.size = 90
    asked = Walker(budget, [], "a", size=10).ask()
    await settled()

    assert sending.awaited == 50, "100 less the largest answer, less what is unfinished"
    asked.cancel()


async def test_when_unfinished_answers_fill_the_room_the_largest_of_them_goes_on(budget):
    turns: list[str] = []
    assert budget.take_turn(Share())
    walkers = [
        Walker(budget, turns, name, size) for name, size in [("a", 20), ("b", 35), ("c", 30)]
    ]
    asked = [walker.ask() for walker in walkers]
    new = Walker(budget, turns, "new").ask()
    await settled()
    budget.end_turn()
    await settled()
    assert turns == ["b"]

    walkers[1].finish()
    budget.end_turn()
    await settled()

    assert turns == ["b", "a"], "50 are unfinished now: there is room, and a was first"
    for one in (*asked, new):
        one.cancel()


async def test_no_answer_goes_on_while_as_much_is_held_as_may_be(budget, sending):
    sending.size = 80
    turns: list[str] = []
    asked = Walker(budget, turns, "a", size=20).ask()
    await settled()
    waited = list(turns)
    sending.size = 39
    budget.freed()
    await settled()

    assert (waited, turns) == ([], ["a"])
    assert asked.done()


@pytest.mark.parametrize("granted", [False, True])
async def test_a_walk_that_is_cancelled_holds_nobody_up(budget, granted):
    turns: list[str] = []
    budget.take_turn(Walker(budget, turns, "busy").share)
    gone, next_one = Walker(budget, turns, "gone").ask(), Walker(budget, turns, "next").ask()
    await settled()

    if granted:
        budget.end_turn()
    gone.cancel()
    if not granted:
        budget.end_turn()
    await settled()

    assert turns == ["next"]
    assert gone.cancelled()
    assert next_one.done()


async def test_who_takes_nothing_is_cut_when_walks_have_waited_long_enough(
    budget, sending, monkeypatch, caplog
):
    monkeypatch.setattr(budgets, "LOOK_SECONDS", 0.01)
    sending.size, sending.slow = 90, [("10.0.0.9:1", 80)]
    turns: list[str] = []

    await asyncio.wait_for(Walker(budget, turns, "a").ask(), 5)

    first, second = sending.cuts
    assert first[0] >= sending.size + 80, "the first look cuts nobody"
    assert second == (50, budgets.SLOW_PARTS)
    assert [record.message for record in caplog.records] == ["client.too_slow"]
    assert caplog.records[0].address == "10.0.0.9:1"


async def test_a_walk_that_may_not_begin_in_time_says_why_and_what_to_do(budget, sending):
    sending.size = 100

    with pytest.raises(AnswersNotTakenError) as raised:
        await budget.admit(asyncio.get_running_loop().time() + 0.01)

    assert raised.value.code == "answers_not_taken"
    assert raised.value.retry_after_seconds == 5
    assert "100 bytes" in str(raised.value)
    assert "retry after 5 s or on another node" in str(raised.value)
    assert len(budget) == 0


async def test_memory_goes_back_once_after_much_was_held(budget, sending, monkeypatch):
    monkeypatch.setattr(budgets, "LARGE_BYTES", 50)
    monkeypatch.setattr(budgets, "CALM_BYTES", 10)
    monkeypatch.setattr(budgets, "RELEASE_SECONDS", 0.0)
    sending.size = 55
    await budget.admit(asyncio.get_running_loop().time() + 5)
    await settled()
    early = sending.released

    sending.size = 0
    budget.freed()
    await asyncio.sleep(0.01)
    budget.freed()
    await asyncio.sleep(0.01)

    assert (early, sending.released) == (0, 1)


async def test_without_a_listener_only_unfinished_answers_count():
    budget = AnswerBudget(limit=100, largest=40)
    with budget.share() as share:
        budget.grow(share, 99)

        assert budget.held == 99
        assert not budget.take_turn(share)
    assert budget.held == 0
