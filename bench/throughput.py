"""Calls per second beside etcd and bare grpcio: every target is measured in turn, round by round."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import dialects, ghz, protos, targets
from bench.dialects import Load, WrongAnswerError
from bench.effort import Effort
from bench.ghz import Measurement, Order
from bench.processes import Program
from bench.report import Report
from bench.targets import Target
from bench.throughput_tables import Entry, Sample, figures

READ_BACK = 20
PROBE_SECONDS = 0.1
SPREAD_CALLERS = 3
"""Fewer callers than members cannot be spread over them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What every measurement of a run shares."""

    folder: Path
    protos: Path
    seconds: float
    say: Callable[[str], None]


async def run(
    contenders: Sequence[Target], effort: Effort, folder: Path, say: Callable[[str], None]
) -> Report:
    """Measure all targets under all loads."""
    samples = await sampled(contenders, _loads(effort), effort, folder, say)
    return Report(
        scenario="throughput",
        tables=figures(samples),
        notes=("Median of the rounds. CPU is the server processes' own, over all members.",),
        raw=raw(samples),
    )


async def sampled(
    contenders: Sequence[Target],
    loads: Sequence[tuple[Load, int]],
    effort: Effort,
    folder: Path,
    say: Callable[[str], None],
) -> dict[Entry, list[Sample]]:
    """Measure every target in each round; each is started once and stays up throughout."""
    stage = Stage(folder, protos.copy_readable_by_ghz(folder), effort.seconds, say)
    samples: dict[Entry, list[Sample]] = {}
    try:
        for target in contenders:
            say(f"starting {target.name}")
            await target.start()
            await _fill(target, stage)
        for load, callers in loads:
            for number in range(effort.rounds):
                say(f"{load.value}, {callers} callers, round {number + 1} of {effort.rounds}")
                for entry in _entries(contenders, load, callers):
                    sample = await _sample(entry, _named(contenders, entry), stage, f"{number}")
                    samples.setdefault(entry, []).append(sample)
                    say(f"  {entry.label}: {sample.sentence()}")
    finally:
        for target in contenders:
            target.stop()
    return samples


def raw(samples: Mapping[Entry, Sequence[Sample]]) -> dict[str, object]:
    """Return every single measurement, for programs."""
    return {"samples": [_raw(entry, taken) for entry, taken in samples.items()]}


def _loads(effort: Effort) -> list[tuple[Load, int]]:
    single = [(load, callers) for load in (Load.SET, Load.GET) for callers in effort.callers]
    return [*single, *((Load.BATCH, callers) for callers in effort.batch_callers)]


def _entries(contenders: Sequence[Target], load: Load, callers: int) -> list[Entry]:
    found: list[Entry] = []
    for target in contenders:
        found.append(Entry(load, callers, target.name, spread=False))
        if len(target.programs) > 1 and callers >= SPREAD_CALLERS:
            found.append(Entry(load, callers, target.name, spread=True))
    return found


def _named(contenders: Sequence[Target], entry: Entry) -> Target:
    return next(target for target in contenders if target.name == entry.target)


async def _fill(target: Target, stage: Stage) -> None:
    """Write every key that will be read, so that no Get is a miss."""
    leader, *_ = await target.addresses()
    entry = Entry(Load.SET, 20, target.name, spread=False)
    await _measure(entry, target, stage, "fill", (leader,))


async def _sample(entry: Entry, target: Target, stage: Stage, tag: str) -> Sample:
    everyone = await target.addresses()
    addresses = everyone if entry.spread else everyone[:1]
    _require_alive(target.programs)
    before = targets.cpu_seconds(target)
    if entry.load is Load.GET and target.dialect.hides_failures:
        measured = await _watched(entry, target, stage, addresses)
    else:
        measured = await _measure(entry, target, stage, f"{tag}/{entry}", addresses)
    used = targets.cpu_seconds(target) - before
    if measured.failures:
        raise WrongAnswerError(f"{entry}: calls failed: {measured.failures}")
    return Sample(measured, cpu_us=used / measured.calls * 1e6)


async def _measure(
    entry: Entry, target: Target, stage: Stage, tag: str, addresses: tuple[str, ...]
) -> Measurement:
    data = stage.folder / "calls.json"
    data.write_text(json.dumps(target.dialect.messages(entry.load, tag)))
    measured = await ghz.measure(
        Order(
            protos=stage.protos,
            proto=target.dialect.proto,
            method=target.dialect.method(entry.load),
            data=data,
            addresses=addresses,
            callers=entry.callers,
            seconds=stage.seconds,
            metadata=target.dialect.metadata,
        )
    )
    if entry.load is not Load.GET:
        surely_called = measured.calls // (2 * len(addresses)) * entry.load.keys_per_call
        await _read_back(target, addresses[-1], tag, min(entry.load.keys, surely_called))
    return measured


async def _read_back(target: Target, address: str, tag: str, written: int) -> None:
    """Insist that what the run acknowledged is there: a fast refusal must not look like speed."""
    numbers = range(0, written, max(1, written // READ_BACK))
    found = await target.dialect.values(address, [dialects.key(number) for number in numbers])
    for number, data in zip(numbers, found, strict=True):
        if data != dialects.value(number, tag):
            raise WrongAnswerError(f"{target.name} acknowledged record {number} and lost it")


async def _watched(
    entry: Entry, target: Target, stage: Stage, addresses: tuple[str, ...]
) -> Measurement:
    """Measure while reading slowly beside it, because ghz takes an error in an OK for success."""
    measuring = asyncio.ensure_future(_measure(entry, target, stage, "", addresses))
    while not measuring.done():
        (found,) = await target.dialect.values(addresses[0], [dialects.key(1)])
        if found is None:
            raise WrongAnswerError(f"{target.name} lost a record while it was read")
        await asyncio.wait([measuring], timeout=PROBE_SECONDS)
    return await measuring


def _require_alive(programs: Sequence[Program]) -> None:
    for program in programs:
        program.require_alive()


def _raw(entry: Entry, taken: Sequence[Sample]) -> dict[str, object]:
    samples = [{**asdict(one.measured), "cpu_us": one.cpu_us} for one in taken]
    return {**asdict(entry), "load": entry.load.value, "samples": samples}
