"""Raft messages that no correct member sends, in raft-rs' own encoding."""

import random
from collections.abc import Callable

from amaters_server.machine.snapshot_install import position
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.node import SimNode

_TYPE, _TO, _FROM, _TERM, _LOG_TERM, _INDEX, _ENTRIES, _COMMIT, _SNAPSHOT = range(1, 10)
_REJECT_HINT, _REQUEST_SNAPSHOT, _COMMIT_TERM = 11, 13, 15
_MOST_KINDS = 21
_ENTRY_TYPE, _ENTRY_TERM, _ENTRY_INDEX, _ENTRY_DATA = range(1, 5)
_PROPOSE, _APPEND, _ACKNOWLEDGE, _VOTE, _HEARTBEAT, _PRE_VOTE = 2, 3, 4, 5, 8, 17
_OFFER, _TRANSFER, _TIMEOUT_NOW, _READ_INDEX = 7, 13, 14, 15
_CONF_CHANGE = 2
_MORE = 0x80
_NOBODY = 999
_GARBAGE = b"\xff" * 7
_FURTHEST_TERMS = (10, 1 << 20, 1 << 20)
"""A forged term within reason costs an election, and nothing else; several add up."""


def forged(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Return a message for the target that claims to be from the sender."""
    return rng.choice(_KINDS)(rng, sender, target)


def _absurd(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write a number beyond reason into a message of any kind, or of none."""
    usual = (_APPEND, _ACKNOWLEDGE, _VOTE, _PRE_VOTE, _HEARTBEAT)
    kind = rng.choice((*usual, rng.randrange(_MOST_KINDS)))
    numbers = {_TERM: target.replica.term, _LOG_TERM: 1, _INDEX: 1}
    others = (_LOG_TERM, _INDEX, _COMMIT, _REJECT_HINT, _REQUEST_SNAPSHOT, _COMMIT_TERM)
    numbers[rng.choice((_TERM, _TERM, *others))] = 1 << rng.choice((50, 61, 62, 63))
    return _message(kind, sender.id, target.id, numbers)


def _stranger(rng: random.Random, _: SimNode, target: SimNode) -> bytes:
    """Write a message of nobody."""
    numbers = {_TERM: target.replica.term}
    return _message(_ACKNOWLEDGE, rng.choice((0, _NOBODY, 1 << 63)), target.id, numbers)


def _proposed(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write a proposal that no member could apply."""
    entry = _fields({_ENTRY_TYPE: rng.choice((0, _CONF_CHANGE))}) + _bytes(_ENTRY_DATA, _GARBAGE)
    return _message(_PROPOSE, sender.id, target.id, {}) + _bytes(_ENTRIES, entry)


def _appended(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Append an entry after the target's last that no member could apply."""
    raft = target.replica.status()
    last, term = raft.last, raft.term
    after = {_TERM: term, _LOG_TERM: target.replica.term_of(last), _INDEX: last}
    kind = rng.choice((0, _CONF_CHANGE))
    place = _fields({_ENTRY_TYPE: kind, _ENTRY_TERM: term, _ENTRY_INDEX: last + 1})
    entry = place + _bytes(_ENTRY_DATA, _GARBAGE)
    return _message(_APPEND, sender.id, target.id, after) + _bytes(_ENTRIES, entry)


def _usurped(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write a heartbeat of a leader that nobody elected, in a later term."""
    term = target.replica.term + rng.randint(1, rng.choice(_FURTHEST_TERMS))
    return _message(_HEARTBEAT, sender.id, target.id, {_TERM: term})


def _ordered(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write an order to hand leadership over, or to take it."""
    kind = rng.choice((_TRANSFER, _TIMEOUT_NOW))
    return _message(kind, sender.id, target.id, {_TERM: target.replica.term})


def _asked(_: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Ask for a read barrier that nobody waits for."""
    question = _bytes(_ENTRIES, _bytes(_ENTRY_DATA, b"forged"))
    return _message(_READ_INDEX, sender.id, target.id, {}) + question


def _pointless(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write a proposal that has to be applied: a scan of nothing, with a limit that is none."""
    scan = _bytes(1, b"z") + _bytes(2, b"a") + _fields({3: 1 << rng.randrange(64)})
    origin = {1: rng.choice((sender.id, _NOBODY)), 2: 1, 3: rng.randrange(1, 1 << 40)}
    entry = _bytes(_ENTRY_DATA, _fields(origin) + _bytes(5, _bytes(1, _bytes(4, scan))))
    return _message(_PROPOSE, sender.id, target.id, {}) + _bytes(_ENTRIES, entry)


def _named(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Write a proposal in a member's name: of a later life, or under a number not yet used."""
    owner = rng.choice((sender, target))
    incarnation = owner.replica.origin.incarnation
    later = incarnation + rng.choice((1, 2, 1 << 20, 1 << 40)), rng.randrange(10)
    place = rng.choice((later, (incarnation, 1 << rng.randrange(30, 64)), ((1 << 64) - 1, 1)))
    entry = _bytes(_ENTRY_DATA, _fields({1: owner.id, 2: place[0], 3: place[1]}))
    return _message(_PROPOSE, sender.id, target.id, {}) + _bytes(_ENTRIES, entry)


def _offered(rng: random.Random, sender: SimNode, target: SimNode) -> bytes:
    """Offer a snapshot that nobody made, or one with a voter that nobody chose."""
    maker, index, of = _NOBODY, 1, 1
    if snapshots := target.place.snapshots:
        (maker, index), snapshot = rng.choice(sorted(snapshots.items()))
        of = position(MemoryEngine.holding(snapshot)).term
    # Raft takes no configuration without the target; alone, it would elect itself.
    announced = _bytes(2, _bytes(1, _fields({1: target.id})) + _fields({2: index, 3: of}))
    offer = _bytes(1, maker.to_bytes(8, "big")) + announced
    now = {_TERM: target.replica.term}
    return _message(_OFFER, sender.id, target.id, now) + _bytes(_SNAPSHOT, offer)


def _noise(rng: random.Random, _: SimNode, __: SimNode) -> bytes:
    return rng.randbytes(rng.randrange(40))


_KINDS: tuple[Callable[[random.Random, SimNode, SimNode], bytes], ...] = (
    _absurd,
    _stranger,
    _proposed,
    _appended,
    _usurped,
    _usurped,
    _ordered,
    _asked,
    _pointless,
    _named,
    _offered,
    _noise,
)


def _message(kind: int, sender: int, target: int, numbers: dict[int, int]) -> bytes:
    return _fields({_TYPE: kind, _TO: target, _FROM: sender} | numbers)


def _fields(numbers: dict[int, int]) -> bytes:
    return b"".join(_varint(field << 3) + _varint(value) for field, value in numbers.items())


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= _MORE:
        out.append(value % _MORE | _MORE)
        value //= _MORE
    return bytes([*out, value])
