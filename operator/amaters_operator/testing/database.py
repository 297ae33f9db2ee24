"""`Database` on a world in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from amaters.admin.cluster import (
    CertificateInfo,
    ClusterMembers,
    ConnectedClients,
    Leadership,
    MemberInfo,
    NodeState,
    NodeStatus,
    ReloadReport,
    RestoreProgress,
    SnapshotInfo,
    StoreCredentials,
)
from amaters.errors import (
    AccessDeniedError,
    NoLeaderError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from amaters.transport.tls import TlsMaterial
from cryptography import x509
from typing_extensions import override

from amaters_operator.database.certificates import principal_names
from amaters_operator.database.port import Admin, NodeAddress
from amaters_operator.kube import kinds
from amaters_operator.manifests import names
from amaters_operator.testing.crash_points import CrashPoints
from amaters_operator.testing.disk_calls import DiskCalls, data_aside, usage
from amaters_operator.testing.nodes.versions import VERSION, incompatible
from amaters_operator.testing.world import NAME, NAMESPACE, DatabaseMember, World

LAG_TO_PROMOTE = 100
NODES_NAME = "amaters"
"""The common name of the nodes' certificate."""


@dataclass(slots=True)
class FakeDatabase:
    """Every node of the world."""

    world: World
    crash_points: CrashPoints
    meanwhile: Callable[[], None] = lambda: None
    """What happens between two answers, while the operator observes."""
    loaded: dict[int, str] = field(default_factory=dict)
    """Serial of the certificate a node has loaded, by ordinal."""
    arrived: str = ""
    """Serial of the certificate files that have arrived in the pods."""
    stored: dict[str, SnapshotInfo] = field(default_factory=dict)
    store_fails: str = ""
    store_forgets: bool = False
    """Whether what is stored is gone at once."""
    store_keys: StoreCredentials | None = None
    """The only keys that the store takes; None: it asks for none."""
    reloads: list[int] = field(default_factory=list)
    """Ordinals of the nodes that were asked to reload."""
    files_arrive: bool = True
    """Whether a changed ConfigMap is in the pods already."""
    loading: asyncio.Event | None = None
    """What a restore waits for once it has started; None: it ends at once."""
    restored: list[tuple[str, bool]] = field(default_factory=list)
    backups_by: list[int] = field(default_factory=list)
    clients: tuple[ConnectedClients, ...] = ()
    """Who is connected to each node."""

    def admin(
        self, node: NodeAddress, tls: TlsMaterial | None, *, timeout: timedelta
    ) -> AbstractAsyncContextManager[Admin]:
        """Return a node's admin service; with TLS it refuses a caller without a certificate."""
        del timeout
        return self._open(node, tls)

    async def served_serials(
        self, node: NodeAddress, tls: TlsMaterial, *, timeout: timedelta
    ) -> tuple[str, ...] | None:
        """Return the serials that a node's listeners show."""
        del tls, timeout
        serial = self.loaded.get(self._ordinal(node))
        return None if serial is None else (serial, serial)

    @asynccontextmanager
    async def _open(self, node: NodeAddress, tls: TlsMaterial | None) -> AsyncIterator[Admin]:
        cluster = self.world.store.get(kinds.CLUSTER, NAMESPACE, NAME)
        if cluster is not None and cluster["spec"].get("tls") and tls is None:
            raise UnreachableError("it wants a certificate", address=node.host)
        ordinal = self._ordinal(node)
        yield FakeAdmin(self, ordinal, administers=tls is None or self._administers(ordinal, tls))

    def _administers(self, ordinal: int, tls: TlsMaterial) -> bool:
        """Whether a node with the configuration it started with takes the caller for an administrator."""
        config = self.world.started.get(ordinal, {})
        named = config.get("cluster", {}).get("admin_principals")
        names = principal_names(x509.load_pem_x509_certificate(tls.certificate or b""))
        return names[0] in (named or [NODES_NAME])

    def _ordinal(self, node: NodeAddress) -> int:
        for pod in self.world.pods():
            if pod["status"].get("podIP") == node.ip:
                return names.ordinal(pod["metadata"]["name"])
        return -1


@dataclass(slots=True)
class FakeAdmin(DiskCalls):
    """One node's admin service."""

    database: FakeDatabase
    ordinal: int
    administers: bool = True
    """Whether the node takes the caller for an administrator."""

    async def status(self) -> NodeStatus:
        """Return the node's own status."""
        world = self._world()
        disk = world.disks[self.ordinal]
        state = self._state()
        part = state in (NodeState.FOLLOWER, NodeState.LEADER, NodeState.LEARNER)
        out = world.misfit(self.ordinal)
        leader = world.leader if part and not out else 0
        serial = self.database.loaded.setdefault(self.ordinal, self.database.arrived)
        certificates = tuple(
            CertificateInfo(listener, serial, world.now + timedelta(days=90), "")
            for listener in ("client", "peer")
            if serial
        )
        return NodeStatus(
            node_id=disk.member,
            name=f"{NAME}-{self.ordinal}",
            state=state,
            reason="" if part else f"{state.value}: no member of the cluster",
            ready=part and bool(leader),
            restoring=False,
            is_leader=state is NodeState.LEADER,
            leader_id=leader,
            cluster_id=disk.cluster_id,
            term=world.term,
            commit_index=world.index,
            applied_index=disk.index,
            first_log_index=1,
            last_log_index=disk.index,
            num_nodes=len(world.members),
            num_shards=1,
            version=out or VERSION,
            peer_address=f"{NAME}-{self.ordinal}.{NAME}-peers.{NAMESPACE}.svc:7879",
            client_address=f"{NAME}-{self.ordinal}.{NAME}-peers.{NAMESPACE}.svc:7878",
            started_at=None,
            certificates=certificates,
            config_digest=world.digests.get(self.ordinal, ""),
            incompatible=incompatible(world, self.ordinal),
            disk=usage(world, self.ordinal),
            set_aside=data_aside(world, self.ordinal),
            fenced=disk.fenced,
            clients=self.database.clients,
        )

    async def members(self, *, from_leader: bool = True) -> ClusterMembers:
        """List the members, as the leader knows them."""
        del from_leader
        self.database.meanwhile()
        world = self._quorate()
        return ClusterMembers(
            cluster_id=world.cluster_id,
            leader_id=world.leader,
            term=world.term,
            commit_index=world.index,
            members=tuple(self._member_info(one) for one in world.members.values()),
        )

    async def add_member(
        self, *, peer_address: str, client_address: str, name: str = ""
    ) -> MemberInfo:
        """Add a learner under the next id."""
        del client_address, name
        world = self._quorate()
        ordinal = names.ordinal(peer_address.partition(".")[0])
        if any(one.learner for one in world.members.values()):
            raise RefusedError("a membership change is under way")
        if any(one.ordinal == ordinal for one in world.members.values()):
            raise RefusedError(f"{peer_address} is a member already")
        with self.database.crash_points.change(f"add member at pod {ordinal}"):
            world.highest_id += 1
            added = world.members[world.highest_id] = DatabaseMember(
                world.highest_id, ordinal, learner=True
            )
        return self._member_info(added)

    async def promote_member(self, member_id: int) -> MemberInfo:
        """Make a learner that has caught up a voter."""
        world = self._quorate()
        member = self._known(member_id)
        if self._member_info(member).lag_entries > LAG_TO_PROMOTE or not member.claimed:
            raise RefusedError(f"member {member_id} has not caught up")
        with self.database.crash_points.change(f"promote member {member_id}"):
            member.learner = False
        assert world.has_quorum(), "promoting cost the quorum"  # noqa: S101
        return self._member_info(member)

    async def remove_member(self, member_id: int) -> ClusterMembers:
        """Remove a member for good."""
        world = self._quorate()
        self._known(member_id)
        with self.database.crash_points.change(f"remove member {member_id}"):
            del world.members[member_id]
        assert world.has_quorum(), "removing cost the quorum"  # noqa: S101
        return await self.members()

    async def transfer_leadership(self, to: int | None = None) -> Leadership:
        """Hand leadership over."""
        world = self._quorate()
        heir = self._known(to or 0)
        if heir.learner or not world.participates(heir):
            raise RefusedError(f"member {to} cannot lead")
        with self.database.crash_points.change(f"transfer to member {to}"):
            world.transfers += world.leader != heir.id
            world.leader, world.term = heir.id, world.term + 1
        return Leadership(world.leader, world.term)

    async def create_snapshot(
        self,
        *,
        upload: bool = False,
        destination: str = "",
        timeout: timedelta = timedelta(0),
        keys: StoreCredentials | None = None,
    ) -> SnapshotInfo:
        """Make a backup in the store."""
        del upload, destination, timeout
        world = self._quorate()
        database = self.database
        place = self._place(keys)
        with database.crash_points.change("create snapshot"):
            number = 1 + max((one.id for one in database.stored.values()), default=0)
            info = SnapshotInfo(
                id=number,
                created_at=world.clock(self.ordinal),
                size_bytes=1000,
                original_size_bytes=4000,
                applied_index=world.index,
                term=world.term,
                key_count=7,
                uri=f"{place}/{number}",
                cluster_id=world.cluster_id,
            )
            if not database.store_forgets:
                database.stored[info.uri] = info
            database.backups_by.append(self.ordinal)
        return info

    async def list_snapshots(
        self,
        *,
        remote: bool = False,
        destination: str = "",
        every_cluster: bool = False,
        keys: StoreCredentials | None = None,
    ) -> tuple[SnapshotInfo, ...]:
        """List the store, oldest first; a store does not know of the log."""
        del remote, destination
        own = self._world().cluster_id
        self._place(keys)
        found = [
            replace(one, applied_index=0, term=0, key_count=None)
            for one in self.database.stored.values()
            if every_cluster or one.cluster_id == own
        ]
        return tuple(sorted(found, key=lambda one: (one.id, one.uri)))

    async def delete_snapshot(
        self, snapshot_id: int = 0, *, uri: str = "", keys: StoreCredentials | None = None
    ) -> None:
        """Delete a backup."""
        del snapshot_id
        self._place(keys)
        with self.database.crash_points.change(f"delete backup {uri}"):
            if self.database.stored.pop(uri, None) is None:
                raise NotFoundError(uri)

    async def restore_snapshot(
        self,
        uri: str,
        *,
        replace: bool = False,
        timeout: timedelta = timedelta(0),
        keys: StoreCredentials | None = None,
    ) -> AsyncIterator[RestoreProgress]:
        """Load a backup; refused where one was loaded before, unless it may be replaced."""
        del timeout
        self._quorate()
        database = self.database
        self._place(keys)
        if database.restored and not replace:
            raise RefusedError("the cluster holds data already: set replace")
        with database.crash_points.change(f"restore {uri}"):
            database.restored.append((uri, replace))
            yield RestoreProgress(3, 7, 100, done=False)
        if database.loading is not None:
            await database.loading.wait()
        yield RestoreProgress(7, 7, 200, done=True)

    def _place(self, keys: StoreCredentials | None) -> str:
        """Return where the node stores, by its configuration, if the store lets it."""
        database, configs = self.database, self._world().configs
        place = configs.get(self.ordinal, {}).get("snapshots", {}).get("destination", "")
        if not place:
            raise RefusedError("there is no destination: set `snapshots.destination`")
        if database.store_fails:
            raise RefusedError(database.store_fails)
        if database.store_keys is not None and keys != database.store_keys:
            raise RefusedError("the credentials were refused: check them")
        return str(place)

    async def reload(self) -> ReloadReport:
        """Load the certificate files that have arrived."""
        self._world()
        with self.database.crash_points.change(f"reload pod {self.ordinal}"):
            self.database.reloads.append(self.ordinal)
            self.database.loaded[self.ordinal] = self.database.arrived
            if self.database.files_arrive:
                self._world().load_config(self.ordinal)
        return ReloadReport(
            success=True, sections_updated=(), sections_skipped=(), errors=(), certificates=()
        )

    @override
    def _world(self) -> World:
        """Return the world, if this node answers."""
        world = self.database.world
        started = self.ordinal in world.configs and self.ordinal in world.disks
        if not world.running(self.ordinal) or self.ordinal in world.unreachable or not started:
            raise UnreachableError("no connection", address=f"pod {self.ordinal}")
        if not self.administers:
            raise AccessDeniedError("this certificate is no administrator's")
        return world

    def _quorate(self) -> World:
        world = self._world()
        if not world.leader or not world.has_quorum():
            raise NoLeaderError("no majority is up")
        return world

    @override
    def _state(self) -> NodeState:
        world = self._world()
        disk = world.disks[self.ordinal]
        member = world.members.get(disk.member)
        if disk.member and member is None:
            return NodeState.REMOVED
        if member is None:
            taken = any(
                one.ordinal == self.ordinal and one.claimed for one in world.members.values()
            )
            return NodeState.DISK_LOST if taken else NodeState.WAITING
        if member.learner:
            return NodeState.LEARNER
        return NodeState.LEADER if world.leader == member.id else NodeState.FOLLOWER

    def _known(self, member_id: int) -> DatabaseMember:
        member = self.database.world.members.get(member_id)
        if member is None:
            raise NotFoundError(f"no member {member_id}")
        return member

    def _member_info(self, member: DatabaseMember) -> MemberInfo:
        world = self.database.world
        disk = world.disks.get(member.ordinal)
        match = disk.index if disk is not None and disk.member == member.id else 0
        host = f"{NAME}-{member.ordinal}.{NAME}-peers.{NAMESPACE}.svc"
        return MemberInfo(
            id=member.id,
            name=f"{NAME}-{member.ordinal}",
            peer_address=f"{host}:7879",
            client_address=f"{host}:7878",
            is_learner=member.learner,
            started=member.claimed,
            is_leader=world.leader == member.id,
            match_index=match,
            lag_entries=world.index - match,
            recent_active=world.participates(member),
            version="0.3.0",
        )
