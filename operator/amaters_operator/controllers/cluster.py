"""One pass over one AmatersCluster: apply what is wished, look, decide, make one move, tell.

Everything is read anew in each pass; what must outlive a pass is in the cluster's status. A crash
between any two lines is therefore only a pass that ends early.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError, RefusedError, UnavailableError
from pydantic import ValidationError

from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus, ClusterStatus, Phase
from amaters_operator.controllers.acting import Actor, NotNowError
from amaters_operator.controllers.certificates import Rotation, Wanted
from amaters_operator.controllers.claims import Claims
from amaters_operator.controllers.observing import Observer
from amaters_operator.controllers.reloading import Reloader
from amaters_operator.controllers.restoring import Restorer
from amaters_operator.controllers.telling import Teller
from amaters_operator.database.port import Database
from amaters_operator.decisions import (
    bootstrap,
    conditions,
    plan,
    scale,
    status,
    upgrade,
    volumes,
)
from amaters_operator.decisions.findings import Certificates, Findings
from amaters_operator.decisions.moves import (
    DeleteClaim,
    Hold,
    Move,
    RemoveMember,
    Restore,
    SetReplicas,
    Stuck,
)
from amaters_operator.decisions.plan import Plan
from amaters_operator.decisions.seen import Seen
from amaters_operator.decisions.volumes import Claim
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import config, names
from amaters_operator.manifests.names import Manifest

AFTER_A_MOVE = timedelta(seconds=0.5)
WHILE_WAITING = timedelta(seconds=2)
AT_REST = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass works with."""

    cluster: AmatersCluster
    shape: manifests.Shape
    statefulset: Manifest
    record: BootstrapStatus
    wanted: Wanted
    seen: Seen
    rotation: Certificates | None
    claims: list[Claim]
    taken: str = ""
    """Which objects of the cluster's names belong to somebody else; empty when none does."""


class ClusterController:
    """Moves clusters towards what they wish, one move at a time."""

    def __init__(
        self,
        kube: KubeApi,
        database: Database,
        *,
        instance: str,
        on_move: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._kube = kube
        self._on_move = on_move
        self._observer = Observer(kube, database)
        self._actor = Actor(kube, database)
        self._rotation = Rotation(kube, database)
        self._teller = Teller(kube, instance)
        self._claims = Claims(kube, self._teller)
        self._restorer = Restorer(kube, database, self._teller)
        self._reloader = Reloader(database)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when to look again, or None when the cluster is gone."""
        raw = await self._kube.get(kinds.CLUSTER, namespace, name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        try:
            cluster = AmatersCluster.model_validate(raw)
        except ValidationError as error:
            await self._report_invalid(raw, error)
            return AT_REST
        statefulset = await self._kube.get(kinds.STATEFUL_SET, namespace, name)
        if statefulset is not None and _stranger(cluster, statefulset):
            statefulset = None
        return await self._advance(cluster, statefulset)

    async def _advance(self, cluster: AmatersCluster, existing: Manifest | None) -> timedelta:
        record = await self._begun(cluster)
        wanted = await self._rotation.wanted(cluster)
        claims = await self._claims.look(cluster)
        shape = _shape(cluster, record, existing, claims)
        (*around, last), taken = await self._own(cluster, shape)
        if taken and existing is None:
            await self._report_taken(cluster, taken)
            return AT_REST
        await asyncio.gather(*(self._kube.apply(made) for made in around))
        statefulset = await self._kube.apply(last)
        seen = await self._observer.look(cluster, statefulset, wanted.tls)
        rotation = await self._rotation.advance(cluster, seen, wanted)
        record = bootstrap.formed(record, seen, older=volumes.of_members(seen, claims))
        work = Pass(cluster, shape, statefulset, record, wanted, seen, rotation, claims, taken)
        restore = bootstrap.next_restore(cluster.spec.bootstrap, work.record)
        if isinstance(restore, Restore):
            return await self._restore(work, restore)
        return await self._move(work)

    async def _move(self, work: Pass) -> timedelta:
        cluster, seen = work.cluster, work.seen
        policy = _policy(cluster)
        planned = await self._plan(work, seen)
        if not work.record.cluster_id and not _heals(planned.move):
            planned = Plan(None, planned.roll)
        problem = await self._act(planned.move, work)
        pods = work.shape.replicas
        if isinstance(planned.move, SetReplicas):
            pods = planned.move.replicas
        files = config.digests(cluster, work.shape)
        reloading = await self._reloader.advance(cluster, seen, files, work.wanted.tls)
        found = Findings(
            seen,
            planned,
            work.record,
            plan.stuck(planned, seen, policy),
            work.rotation,
            work.taken or problem or work.wanted.problem,
            pods,
            reloading,
        )
        await self._teller.status(cluster, status.status(cluster, found))
        verdict = work.rotation.verdict if work.rotation is not None else None
        settled = work.rotation is None or (verdict is not None and verdict.done)
        calm = settled and bool(work.record.cluster_id) and not reloading
        await self._teller.change(cluster, "NameTaken", work.taken)
        return WHILE_WAITING if problem else _pause(planned.move, cluster, calm=calm)

    async def _restore(self, work: Pass, move: Restore) -> timedelta:
        record = await self._restorer.load(
            move, work.cluster, work.record, work.seen, work.wanted.tls
        )
        found = Findings(
            work.seen,
            Plan(move),
            record,
            certificates=work.rotation,
            pods=work.shape.replicas,
        )
        # The record of the beginning was written meanwhile: compare with nothing.
        bare = work.cluster.model_copy(update={"status": ClusterStatus()})
        await self._teller.status(bare, status.status(work.cluster, found))
        return AFTER_A_MOVE if record.restored_from else AT_REST

    async def _plan(self, work: Pass, seen: Seen) -> Plan:
        """Decide on what was seen; what deletes something is decided twice, on two looks."""
        await self._claims.tend(
            work.cluster, seen, work.claims, formed=bool(work.record.cluster_id)
        )
        planned = _decide(work.cluster, seen, work.claims)
        if not isinstance(planned.move, RemoveMember | DeleteClaim):
            return planned
        again = await self._observer.look(work.cluster, work.statefulset, work.wanted.tls)
        confirmed = _decide(work.cluster, again, await self._claims.look(work.cluster))
        if _target(confirmed.move) == _target(planned.move):
            return planned
        return Plan(Hold("what was seen has just changed: looking again"), planned.roll)

    async def _act(self, move: Move | None, work: Pass) -> str:
        """Make the move; return what kept it from being made, if anything."""
        if move is None or isinstance(move, Hold | Stuck | Restore):
            return ""
        reason = type(move).__name__
        try:
            await self._actor.perform(move, work.cluster, work.seen, work.wanted.tls)
        except (NotNowError, RefusedError, UnavailableError) as error:
            # Not yet, says whoever must agree: the condition tells, and the next pass asks again.
            return f"{move}: {error}"
        except AmatersError as error:
            problem = f"{move}: {error}"
            if problem not in (one.message for one in work.cluster.status.conditions):
                await self._teller.event(work.cluster, f"{reason}Failed", problem, kind="Warning")
            return problem
        self._on_move(reason)
        await self._teller.event(work.cluster, reason, str(move))
        return ""

    async def _begun(self, cluster: AmatersCluster) -> BootstrapStatus:
        """Return the record of the beginning: of the status, else of the ConfigMap, else a first.

        The ConfigMap is applied before the first pod can be, so no crash can forget it.
        """
        recorded = cluster.status.bootstrap
        noted = None
        if recorded is None or not recorded.initial_members:
            noted = await self._noted(cluster)
        return bootstrap.begun(recorded, wished=manifests.initial_members(cluster), noted=noted)

    async def _noted(self, cluster: AmatersCluster) -> tuple[str, ...] | None:
        """Return the initial members that an existing ConfigMap names."""
        existing = await self._kube.get(
            kinds.CONFIG_MAP, cluster.namespace, names.config_map(cluster)
        )
        notes = ((existing or {}).get("metadata") or {}).get("annotations") or {}
        text = notes.get(names.INITIAL_MEMBERS_ANNOTATION, "")
        return tuple(text.split(",")) if text else None

    async def _own(
        self, cluster: AmatersCluster, shape: manifests.Shape
    ) -> tuple[list[Manifest], str]:
        """Return what is to be applied, and which of it belongs to somebody else.

        That is left out: server-side apply would take it over, and delete it with the cluster.
        """
        monitors = await self._kube.serves(kinds.MONITOR)
        for gone in manifests.unwanted(cluster, monitors=monitors):
            await self._delete(gone, cluster)
        wanted = manifests.wanted(cluster, shape, monitors=monitors)
        taken = await asyncio.gather(*(self._taken(cluster, made) for made in wanted))
        own = [made for made, why in zip(wanted, taken, strict=True) if not why]
        return own, "; ".join(why for why in taken if why)

    async def _taken(self, cluster: AmatersCluster, made: Manifest) -> str:
        name = made["metadata"]["name"]
        existing = await self._kube.get(kinds.of(made), cluster.namespace, name)
        return "" if existing is None else _stranger(cluster, existing)

    async def _delete(self, manifest: Manifest, cluster: AmatersCluster) -> None:
        kind, name = kinds.of(manifest), manifest["metadata"]["name"]
        existing = await self._kube.get(kind, cluster.namespace, name)
        if existing is not None and not _stranger(cluster, existing):
            await self._kube.delete(kind, cluster.namespace, name, uid=existing["metadata"]["uid"])

    async def _report_taken(self, cluster: AmatersCluster, why: str) -> None:
        """Say in the status that the StatefulSet's name belongs to somebody else."""
        now = self._kube.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{why}. Until then nothing is changed"
        condition = conditions.refused(cluster, now, "NameTaken", text)
        refused = {"phase": Phase.INVALID, "conditions": [condition]}
        await self._teller.status(cluster, cluster.status.model_copy(update=refused))
        await self._teller.change(cluster, "NameTaken", text)

    async def _report_invalid(self, raw: Manifest, error: ValidationError) -> None:
        """Say in the status what is wrong with a spec that the API server let through."""
        bare = {key: value for key, value in raw.items() if key not in ("spec", "status")}
        cluster = AmatersCluster.model_validate(bare | {"spec": {"image": "none"}})
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        now = self._kube.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{where}: {first['msg']}: correct the spec; until then nothing is changed"
        condition = conditions.refused(cluster, now, "InvalidSpec", text)
        # What the status has recorded of the cluster stays: it outlives any spec.
        known = cluster.model_copy(update={"status": _recorded(raw)})
        invalid = {"phase": Phase.INVALID, "conditions": [condition]}
        await self._teller.status(known, known.status.model_copy(update=invalid))


def _stranger(cluster: AmatersCluster, existing: Manifest) -> str:
    """Say why an object of our name is not ours; empty when it is."""
    meta = existing["metadata"]
    owners = meta.get("ownerReferences") or []
    if cluster.metadata.uid in [one["uid"] for one in owners]:
        return ""
    names_of = ", ".join(f"{one.get('kind', 'object')} {one.get('name', '?')}" for one in owners)
    return (
        f"{existing.get('kind', 'object')} {meta['name']} exists and belongs to "
        f"{names_of or 'somebody else'}: delete or rename it, or create this cluster under "
        "another name"
    )


def _recorded(raw: Manifest) -> ClusterStatus:
    try:
        return ClusterStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return ClusterStatus()


def _shape(
    cluster: AmatersCluster,
    record: BootstrapStatus,
    existing: Manifest | None,
    claims: list[Claim],
) -> manifests.Shape:
    spec = (existing or {}).get("spec") or {}
    initial = len(record.initial_members)
    size = cluster.spec.storage.size
    if existing is not None:
        size = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    return manifests.Shape(
        replicas=scale.pod_count(cluster.status, spec.get("replicas"), initial, claims),
        initial_members=tuple(record.initial_members),
        formed=bool(record.cluster_id),
        volume_size=size,
        serves_clients=bootstrap.serves_clients(cluster.spec.bootstrap, record),
    )


def _policy(cluster: AmatersCluster) -> upgrade.Policy:
    wish = cluster.spec.upgrade
    return upgrade.Policy(
        paused=wish.paused,
        min_ready=timedelta(seconds=wish.min_ready_seconds),
        progress_deadline=timedelta(seconds=wish.progress_deadline_seconds),
        max_lag=wish.max_lag_entries,
    )


def _decide(cluster: AmatersCluster, seen: Seen, claims: list[Claim]) -> Plan:
    return plan.next_move(
        cluster.spec.replicas,
        seen,
        _policy(cluster),
        claims=claims,
        keep_claims=cluster.spec.storage.when_scaled == "Retain",
    )


def _target(move: Move | None) -> tuple[object, ...]:
    """Return what a move that deletes something is about, whatever its reason is."""
    match move:
        case RemoveMember(member, ordinal):
            return RemoveMember, member, ordinal
        case DeleteClaim(claim, uid):
            return DeleteClaim, claim, uid
        case _:
            return (move,)


def _heals(move: Move | None) -> bool:
    """Whether the move is good even before the cluster has formed."""
    return move is not None and not getattr(move, "healthy", True)


def _pause(move: Move | None, cluster: AmatersCluster, *, calm: bool) -> timedelta:
    if move is None:
        return AT_REST if calm else WHILE_WAITING
    if isinstance(move, Stuck) or (isinstance(move, Hold) and cluster.spec.upgrade.paused):
        return AT_REST if calm else WHILE_WAITING
    return WHILE_WAITING if isinstance(move, Hold) else AFTER_A_MOVE
