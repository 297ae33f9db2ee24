"""Opens a replica from its disk, and flushes the disk."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from amaters_server.machine.machine import Machine
from amaters_server.model.clock import Clock
from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import StorageCorruptedError, StorageError, StorageFullError
from amaters_server.node.joining.founding import FOUNDED_AT, FoundCluster, JoinCluster
from amaters_server.node.loop.encoding import encoder
from amaters_server.node.settings import NodeSettings
from amaters_server.raft.driver import Driver
from amaters_server.raft.log import HIGHEST_INCARNATION, HIGHEST_TERM, Identity, Log
from amaters_server.raft.proposal import Origin
from amaters_server.raft.proposals import Timeouts
from amaters_server.raft.raft_node import RaftNodeSettings, StartState, StorageGap, open_raft_node
from amaters_server.raft.replica import Replica
from amaters_server.raft.version_preference import CHANCES, VersionPreference
from amaters_server.storage.engine import Changes, Engine

log = logging.getLogger(__name__)

NO_LEADER_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Disk:
    """An engine, and the two that keep their state on it."""

    engine: Engine
    machine: Machine
    log: Log


def name_disk(disk: Disk, fresh: str) -> str:
    """Return the disk's own id, giving it one if it has none; blocks for a synced write."""
    known = disk.log.disk_id()
    if known is not None:
        return known
    changes = Changes()
    disk.log.put_disk_id(changes, fresh)
    disk.engine.write(changes, sync=True)
    return fresh


def sync_log(disk: Disk) -> None:
    """Make everything written so far durable, if the disk lets it; blocks."""
    _if_possible(lambda: disk.engine.write(Changes(), sync=True))


def flush_tables(disk: Disk) -> None:
    """Move what is in memory to tables, if the disk lets it; blocks."""
    _if_possible(disk.engine.flush)


def _if_possible(flush: Callable[[], None]) -> None:
    try:
        flush()
    except StorageFullError:
        why = "the disk is full: make room before the next start; its log has what is missing"
        log.warning("storage.flush_failed", extra={"reason": why})
    except StorageError as error:
        log.warning("storage.flush_failed", extra={"reason": str(error)})


def write_identity(disk: Disk, decision: FoundCluster | JoinCluster) -> Identity:
    """Make the disk a member's, durably; blocks for a synced write."""
    changes = Changes()
    if isinstance(decision, FoundCluster):
        form(disk, changes, decision.membership)
    disk.log.put_identity(changes, decision.identity)
    disk.engine.write(changes, sync=True)
    return decision.identity


def form(disk: Disk, changes: Changes, membership: Membership) -> None:
    """Add the state that all founding members begin with."""
    formed = disk.machine.form(membership, index=FOUNDED_AT, term=FOUNDED_AT)
    changes.extend(formed)
    disk.log.restart_at(changes, FOUNDED_AT, FOUNDED_AT)
    disk.log.put_hard_state(changes, (FOUNDED_AT, 0, FOUNDED_AT))


def open_replica(
    disk: Disk,
    identity: Identity,
    settings: NodeSettings,
    clock: Clock,
    core_settings: RaftNodeSettings | None = None,
) -> Replica:
    """Continue as that member, as a new incarnation; blocks for a synced write.

    StorageCorruptedError when log and state contradict each other.
    """
    stored = disk.log.load()
    changes = Changes()
    machine = disk.machine
    if not stored.follows(machine.applied_index, machine.applied_term):
        stored = stored.restarted_at(machine.applied_index, machine.applied_term)
        disk.log.restart_at(changes, *stored.compacted)
        disk.log.put_hard_state(changes, stored.hard_state)
    incarnation = _next_incarnation(disk, identity.node_id)
    origin = Origin(identity.node_id, incarnation, secrets.token_bytes(8))
    disk.log.put_incarnation(changes, origin.incarnation)
    disk.engine.write(changes, sync=True)
    term, vote, commit = stored.hard_state
    if term > HIGHEST_TERM:
        raise StorageCorruptedError(
            f"term {term} on this disk is beyond reason: an earlier version believed a forged "
            "message; stop all members and run `amaters-server repair` on each"
        )
    membership = machine.membership
    start = StartState(
        applied=machine.applied_index,
        hard_state=(term, vote, max(commit, machine.applied_index)),
        conf_state=membership.conf_state if membership is not None else ConfState(),
        compacted=stored.compacted,
        entries=stored.entries,
    )
    try:
        core = open_raft_node(
            core_settings or raft_node_settings(identity.node_id, settings), start
        )
    except StorageGap as gap:
        raise StorageCorruptedError(
            f"the raft log contradicts the state: {gap}; remove this member and add a new one"
        ) from gap
    driver = Driver(core, machine, disk.log, settings.retention)
    return Replica(
        driver,
        machine,
        origin,
        timeouts(settings),
        encoder(clock.unix_ms),
        version_preference(settings),
    )


def _next_incarnation(disk: Disk, node_id: int) -> int:
    """Return one above every incarnation that this member has used or that the state names."""
    own = disk.log.incarnation()
    applied, _ = disk.machine.newest_proposals().get(node_id, (0, 0))
    # The replica reports one beyond reason to every writer.
    return max(own, applied if applied < HIGHEST_INCARNATION else 0) + 1


def raft_node_settings(node_id: int, settings: NodeSettings) -> RaftNodeSettings:
    """Translate a node's settings into raft's units."""
    return RaftNodeSettings(
        id=node_id,
        heartbeat_ticks=settings.timing.heartbeat_ticks,
        election_ticks=settings.timing.election_ticks,
    )


def version_preference(settings: NodeSettings) -> VersionPreference:
    """Return the version of this node, and how long it lets newer ones campaign first."""
    return VersionPreference(
        settings.version, timeout=CHANCES * settings.timing.longest_election_timeout
    )


def timeouts(settings: NodeSettings) -> Timeouts:
    """Return how long this node waits for outcomes and for a leader."""
    longest = settings.timing.longest_election_timeout
    return Timeouts(
        for_an_outcome=2 * longest,
        for_a_leader=max(NO_LEADER_TIMEOUT_SECONDS, 5 * longest),
    )
