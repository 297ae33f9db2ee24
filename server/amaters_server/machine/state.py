"""The durable formats of the machine's own state: in META, and in the header of a backup.

Owns every META key that begins with `machine/`; others use prefixes of their own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from amaters_server.machine.codec import ProposalId
from amaters_server.machine.collection_count import CollectionCount, Counts
from amaters_server.machine.restore import RestoreProgress
from amaters_server.machine.sessions import Session, session
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import StorageCorruptedError
from amaters_server.model.queries import Result
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.wire import state_pb2

POSITION = b"machine/position"
MEMBERSHIP = b"machine/membership"
RESTORING = b"machine/restoring"
LAST_PROPOSALS = b"machine/origin/"
SESSIONS = b"machine/session/"
COUNTS = b"machine/count/"
_COUNTS_END = b"machine/count0"
EVERYTHING = (b"machine/", b"machine0")
"""The range of all these keys."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """The machine's whole state without the data."""

    index: int = 0
    term: int = 0
    membership: Membership | None = None
    last_proposals: list[ProposalId] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    restoring: RestoreProgress | None = None
    counts: Counts | None = None
    """None while the data is not counted."""


def load(engine: Engine) -> SavedState:
    """Read everything; raises StorageCorruptedError when it does not decode."""
    view = engine.view()
    try:
        stored = dict(view.scan(Space.META, *EVERYTHING))
    finally:
        view.close()
    try:
        return _decode(stored)
    except DecodeError as error:
        raise StorageCorruptedError(
            f"the state machine's own state does not decode: replace this member ({error})"
        ) from error


def save_all(saved: SavedState) -> Changes:
    """Return the changes that make META hold exactly this state."""
    changes = Changes()
    changes.clear(Space.META, *EVERYTHING)
    save_position(changes, saved.index, saved.term, counted=saved.counts is not None)
    save_counts(changes, saved.counts or {})
    if saved.membership is not None:
        save_membership(changes, saved.membership)
    save_last_proposals(changes, saved.last_proposals)
    save_sessions(changes, {one.id: one for one in saved.sessions})
    if saved.restoring is not None:
        save_restoring(changes, saved.restoring)
    return changes


def save_position(changes: Changes, index: int, term: int, *, counted: bool) -> None:
    """Add the applied index and its term, and whether the counts are of that index."""
    position = state_pb2.Position(index=index, term=term, counted=counted)
    changes.put(Space.META, POSITION, position.SerializeToString())


def save_membership(changes: Changes, membership: Membership) -> None:
    """Add the membership."""
    changes.put(Space.META, MEMBERSHIP, _membership_message(membership).SerializeToString())


def save_last_proposals(changes: Changes, proposals: Iterable[ProposalId]) -> None:
    """Add the last applied proposals of these members."""
    for one in proposals:
        key = LAST_PROPOSALS + one.origin.to_bytes(8, "big")
        changes.put(Space.META, key, _origin_message(one).SerializeToString())


def save_sessions(changes: Changes, sessions: dict[bytes, Session | None]) -> None:
    """Add these sessions; None deletes one."""
    for session_id, one in sessions.items():
        key = SESSIONS + session_id
        if one is None:
            changes.delete(Space.META, key)
        else:
            changes.put(Space.META, key, _session_message(one).SerializeToString())


def save_counts(
    changes: Changes, counts: Mapping[bytes, CollectionCount | None], *, replace: bool = False
) -> None:
    """Add these counts; None deletes one, and `replace` all earlier ones."""
    if replace:
        changes.clear(Space.META, COUNTS, _COUNTS_END)
    for prefix, one in counts.items():
        if one is None:
            changes.delete(Space.META, COUNTS + prefix)
        else:
            message = state_pb2.Count(keys=one.keys, size_bytes=one.size_bytes)
            changes.put(Space.META, COUNTS + prefix, message.SerializeToString())


def save_restoring(changes: Changes, restoring: RestoreProgress | None) -> None:
    """Add the progress of a restore, or that there is none."""
    if restoring is None:
        changes.delete(Space.META, RESTORING)
        return
    message = _restoring_message(restoring)
    changes.put(Space.META, RESTORING, message.SerializeToString())


def header_of(saved: SavedState, *, created_unix_ms: int) -> bytes:
    """Encode the state as the header of a backup; a restore counts the rows itself."""
    header = state_pb2.ImageHeader(
        format=1,
        position=state_pb2.Position(index=saved.index, term=saved.term),
        origins=[_origin_message(one) for one in saved.last_proposals],
        sessions=[_session_message(one) for one in saved.sessions],
        created_unix_ms=created_unix_ms,
    )
    if saved.membership is not None:
        header.membership.CopyFrom(_membership_message(saved.membership))
    if saved.restoring is not None:
        header.restoring.CopyFrom(_restoring_message(saved.restoring))
    return header.SerializeToString()


def state_from_header(header: bytes) -> SavedState:
    """Decode the header of a backup; raises StorageCorruptedError when it is none."""
    try:
        message = state_pb2.ImageHeader.FromString(header)
    except DecodeError as error:
        raise StorageCorruptedError(f"the header of a backup does not decode ({error})") from error
    if message.format != 1:
        raise StorageCorruptedError(
            f"the backup has format {message.format}, this version reads format 1: use the version "
            "that wrote it, or a newer one"
        )
    return SavedState(
        index=message.position.index,
        term=message.position.term,
        membership=_membership(message.membership) if message.HasField("membership") else None,
        last_proposals=[_origin(one) for one in message.origins],
        sessions=[_session(one) for one in message.sessions],
        restoring=_restoring(message.restoring) if message.HasField("restoring") else None,
    )


def _decode(stored: dict[bytes, bytes]) -> SavedState:
    position = state_pb2.Position.FromString(stored.get(POSITION, b""))
    membership = stored.get(MEMBERSHIP)
    restoring = stored.get(RESTORING)
    return SavedState(
        index=position.index,
        term=position.term,
        membership=None
        if membership is None
        else _membership(state_pb2.Membership.FromString(membership)),
        last_proposals=[
            _origin(state_pb2.Origin.FromString(one)) for one in _under(stored, LAST_PROPOSALS)
        ],
        sessions=[_session(state_pb2.Session.FromString(one)) for one in _under(stored, SESSIONS)],
        restoring=None
        if restoring is None
        else _restoring(state_pb2.Restoring.FromString(restoring)),
        counts=_counts(stored) if position.counted else None,
    )


def _under(stored: dict[bytes, bytes], prefix: bytes) -> Iterator[bytes]:
    return (value for key, value in stored.items() if key.startswith(prefix))


def _counts(stored: dict[bytes, bytes]) -> Counts:
    messages = (
        (key.removeprefix(COUNTS), state_pb2.Count.FromString(value))
        for key, value in stored.items()
        if key.startswith(COUNTS)
    )
    return {prefix: CollectionCount(one.keys, one.size_bytes) for prefix, one in messages}


def _membership_message(membership: Membership) -> state_pb2.Membership:
    state = membership.conf_state
    return state_pb2.Membership(
        cluster_id=membership.cluster_id,
        members=[
            state_pb2.Member(
                id=one.id,
                name=one.name,
                peer_address=one.peer_address,
                client_address=one.client_address,
                is_learner=one.is_learner,
                disk_id=one.disk_id,
            )
            for one in membership.members
        ],
        conf_state=state_pb2.ConfState(
            voters=state.voters,
            learners=state.learners,
            voters_outgoing=state.voters_outgoing,
            learners_next=state.learners_next,
            auto_leave=state.auto_leave,
        ),
        highest_id=membership.highest_id,
    )


def _membership(message: state_pb2.Membership) -> Membership:
    state = message.conf_state
    return Membership(
        cluster_id=message.cluster_id,
        members=tuple(
            Member(
                NodeId(one.id),
                one.name,
                one.peer_address,
                one.client_address,
                one.is_learner,
                one.disk_id,
            )
            for one in message.members
        ),
        conf_state=ConfState(
            tuple(state.voters),
            tuple(state.learners),
            tuple(state.voters_outgoing),
            tuple(state.learners_next),
            state.auto_leave,
        ),
        highest_id=message.highest_id,
    )


def _origin_message(one: ProposalId) -> state_pb2.Origin:
    return state_pb2.Origin(id=one.origin, incarnation=one.incarnation, sequence=one.sequence)


def _origin(message: state_pb2.Origin) -> ProposalId:
    return ProposalId(message.id, message.incarnation, message.sequence)


def _session_message(one: Session) -> state_pb2.Session:
    message = state_pb2.Session(id=one.id, used=one.used, sequence=one.sequence, digest=one.digest)
    counts = [result for result in one.results if isinstance(result, int)]
    if len(counts) == len(one.results):
        message.counts.extend(counts)
    else:
        message.results.extend(_result_message(result) for result in one.results)
    return message


def _session(message: state_pb2.Session) -> Session:
    results = [_result(result) for result in message.results] or list(message.counts)
    return session(message.id, message.used, message.sequence, results, message.digest)


def _result_message(result: Result) -> state_pb2.Result:
    match result:
        case int():
            return state_pb2.Result(rows_affected=result)
        case bytes():
            return state_pb2.Result(value=result)
        case None:
            return state_pb2.Result(absent=True)
        case list():
            rows = [state_pb2.Row(key=key, value=value) for key, value in result]
            return state_pb2.Result(rows=state_pb2.Rows(rows=rows))


def _result(message: state_pb2.Result) -> Result:
    match message.WhichOneof("result"):
        case "rows_affected":
            return message.rows_affected
        case "value":
            return message.value
        case "rows":
            return [(row.key, row.value) for row in message.rows.rows]
        case _:
            return None


def _restoring_message(one: RestoreProgress) -> state_pb2.Restoring:
    return state_pb2.Restoring(restore_id=one.restore_id, loaded=one.loaded)


def _restoring(message: state_pb2.Restoring) -> RestoreProgress:
    return RestoreProgress(message.restore_id, message.loaded)
