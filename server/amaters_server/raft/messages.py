"""What messages between members are, told from their bytes without a raft node.

Most are asked about every message there is, so they look at a few bytes: a message is raft-rs' own
protobuf, whose field 1, the type, is written first.
"""

from dataclasses import dataclass

from amaters_server.model.cluster import ConfState
from amaters_server.raft.core import ConsensusError, decode_message, from_core

_PROPOSE_PREFIX = b"\x08\x02"
_APPEND_PREFIX = b"\x08\x03"
_SNAPSHOT_PREFIX = b"\x08\x07"
_PRE_VOTE_PREFIX = b"\x08\x11"
_PRE_VOTE_ANSWER_PREFIX = b"\x08\x12"
# The numbers are raft-rs'. An append without entries is nothing but small integers: tag, varint,
# tag, varint.
_LONGEST_NOTICE = 96
_ENTRIES_FIELD = 0x3A
_REJECT_FIELD = 0x50
_WIRE_TYPE = 0x07
_MORE_BYTES = 0x80


def is_append(message: bytes) -> bool:
    """Whether a message is an append, which tells how far the log is committed as well."""
    return message.startswith(_APPEND_PREFIX)


def is_commit_notice(message: bytes) -> bool:
    """Whether a message is an append without entries; cheap, for it looks at few bytes."""
    if len(message) > _LONGEST_NOTICE or not is_append(message):
        return False
    at, end = 0, len(message)
    while at < end:
        field = message[at]
        if field == _ENTRIES_FIELD or field & _WIRE_TYPE:
            return False
        at = _after_number(message, at + 1)
    return True


def is_vote_request(message: bytes) -> bool:
    """Whether a message asks who would vote for this member, as every campaign begins."""
    return message.startswith(_PRE_VOTE_PREFIX)


def refused_candidate(message: bytes) -> bool:
    """Whether a message tells another member that it would not get this one's vote."""
    if not message.startswith(_PRE_VOTE_ANSWER_PREFIX):
        return False
    at, end = 0, len(message)
    while at < end and not message[at] & _WIRE_TYPE:
        if message[at] == _REJECT_FIELD:
            return message[at + 1] != 0
        at = _after_number(message, at + 1)
    return False


def _after_number(message: bytes, at: int) -> int:
    while message[at] & _MORE_BYTES:
        at += 1
    return at + 1


def proposer(message: bytes) -> int:
    """Return which member forwarded this proposal, 0 when the message is something else."""
    if not message.startswith(_PROPOSE_PREFIX):
        return 0
    return decode_message(message)[1]


def is_snapshot(message: bytes) -> bool:
    """Whether a peer's message offers a snapshot; looks at two bytes, so it is free."""
    return message.startswith(_SNAPSHOT_PREFIX)


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """What a leader says of the image it wants a follower to install."""

    sender: int
    index: int
    term: int
    conf_state: ConfState
    data: bytes


def snapshot_offer(message: bytes) -> SnapshotOffer:
    """Read the offer out of a MsgSnapshot; ConsensusError when it is none."""
    _, sender, _, _, _, snapshot = decode_message(message)
    if snapshot is None:
        raise ConsensusError("the message carries no snapshot: drop it")
    index, term, conf_state, data = snapshot
    return SnapshotOffer(sender, index, term, from_core(conf_state), data)
