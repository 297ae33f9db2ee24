"""The membership after a membership entry. Pure: values in, values out."""

from collections.abc import Iterable
from dataclasses import replace

from google.protobuf.message import DecodeError

from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import StorageCorruptedError
from amaters_server.wire import command_pb2


def decode_record(context: bytes, *, index: int) -> command_pb2.MemberRecord:
    """Decode a membership entry's context; an empty one names no member."""
    try:
        return command_pb2.MemberRecord.FromString(context)
    except DecodeError as error:
        raise StorageCorruptedError(
            f"the membership entry {index} does not decode: it was written by an incompatible "
            f"version, damaged or forged. If only this member reports it, replace it; if all do, stop "
            f"them and run `amaters-server repair` on each ({error})"
        ) from error


def changed(
    membership: Membership, record: command_pb2.MemberRecord, conf_state: ConfState
) -> Membership:
    """Return the membership after the entry.

    Fields that the record leaves empty stay as they were. A disk that claimed a member keeps it:
    a record that names another disk changes nothing about that member.
    """
    ids = _ids(conf_state)
    known = {member.id: member for member in membership.members if member.id in ids}
    if record.id in ids:
        before = known.get(NodeId(record.id))
        if not _is_another_disk(before, record):
            known[NodeId(record.id)] = _updated(before, record)
    learners = {*conf_state.learners, *conf_state.learners_next}
    members = tuple(replace(known[one], is_learner=one in learners) for one in sorted(known))
    highest = max(membership.highest_id, record.id, *ids, 0)
    return replace(membership, members=members, conf_state=conf_state, highest_id=highest)


def _ids(conf_state: ConfState) -> set[int]:
    groups: Iterable[tuple[int, ...]] = (
        conf_state.voters,
        conf_state.learners,
        conf_state.voters_outgoing,
        conf_state.learners_next,
    )
    return {one for group in groups for one in group}


def _is_another_disk(before: Member | None, record: command_pb2.MemberRecord) -> bool:
    claimed = before.disk_id if before is not None else ""
    return bool(claimed and record.disk_id) and claimed != record.disk_id


def _updated(before: Member | None, record: command_pb2.MemberRecord) -> Member:
    old = before or Member(NodeId(record.id), "", "", "")
    return Member(
        id=NodeId(record.id),
        name=record.name or old.name,
        peer_address=record.peer_address or old.peer_address,
        client_address=record.client_address or old.client_address,
        disk_id=record.disk_id or old.disk_id,
    )
