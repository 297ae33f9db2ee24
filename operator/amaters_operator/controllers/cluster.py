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
from amaters_operator.controllers.observing import Clock, Observer
from amaters_operator.controllers.reloading import Reloader
from amaters_operator.controllers.restoring import Restorer
from amaters_operator.controllers.telling import Teller
from amaters_operator.database.port import Database
from amaters_operator.decisions import bootstrap, conditions, plan, status, upgrade, volumes
from amaters_operator.decisions.findings import Certificates, Findings
from amaters_operator.decisions.moves import Hold, Move, Restore, Stuck
from amaters_operator.decisions.plan import Plan
from amaters_operator.decisions.seen import Seen
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import KubeError
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
    record: BootstrapStatus
    wanted: Wanted
    seen: Seen
    rotation: Certificates | None


class ClusterController:
    """Moves clusters towards what they wish, one move at a time."""

    def __init__(
        self,
        kube: KubeApi,
        database: Database,
        *,
        now: Clock,
        instance: str,
        on_move: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._kube = kube
        self._now = now
        self._on_move = on_move
        self._observer = Observer(kube, database, now)
        self._actor = Actor(kube, database)
        self._rotation = Rotation(kube, database)
        self._teller = Teller(kube, now, instance)
        self._restorer = Restorer(database, self._teller, now)
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
        if statefulset is not None and (why := _stranger(cluster, statefulset)):
            await self._teller.event(cluster, "NameTaken", why, kind="Warning")
            return AT_REST
        return await self._advance(cluster, statefulset)

    async def _advance(self, cluster: AmatersCluster, existing: Manifest | None) -> timedelta:
        record = await self._begun(cluster)
        wanted = await self._rotation.wanted(cluster)
        shape = _shape(cluster, record, existing)
        statefulset = await self._apply(cluster, shape)
        seen = await self._observer.look(cluster, statefulset, wanted.tls)
        rotation = await self._rotation.advance(cluster, seen, wanted)
        work = Pass(cluster, shape, bootstrap.formed(record, seen), wanted, seen, rotation)
        restore = bootstrap.next_restore(cluster.spec.bootstrap, work.record)
        if isinstance(restore, Restore):
            return await self._restore(work, restore)
        return await self._move(work)

    async def _move(self, work: Pass) -> timedelta:
        cluster, seen = work.cluster, work.seen
        policy = _policy(cluster)
        claims = await self._volumes(cluster)
        planned = plan.next_move(cluster.spec.replicas, seen, policy, claims=claims)
        if not work.record.cluster_id and not _heals(planned.move):
            planned = Plan(None, planned.roll)
        problem = await self._act(planned.move, work)
        files = config.digests(cluster, work.shape)
        reloading = await self._reloader.advance(cluster, seen, files, work.wanted.tls)
        found = Findings(
            seen,
            planned,
            work.record,
            plan.stuck(planned, seen, policy),
            work.rotation,
            problem or work.wanted.problem,
            reloading,
        )
        await self._teller.status(cluster, status.status(cluster, found))
        verdict = work.rotation.verdict if work.rotation is not None else None
        settled = work.rotation is None or (verdict is not None and verdict.done)
        calm = settled and bool(work.record.cluster_id) and not reloading
        return WHILE_WAITING if problem else _pause(planned.move, cluster, calm=calm)

    async def _restore(self, work: Pass, move: Restore) -> timedelta:
        record = await self._restorer.load(
            move, work.cluster, work.record, work.seen, work.wanted.tls
        )
        found = Findings(work.seen, Plan(move), record, certificates=work.rotation)
        # The record of the beginning was written meanwhile: compare with nothing.
        bare = work.cluster.model_copy(update={"status": ClusterStatus()})
        await self._teller.status(bare, status.status(work.cluster, found))
        return AFTER_A_MOVE if record.restored_from else AT_REST

    async def _act(self, move: Move | None, work: Pass) -> str:
        """Make the move; return what kept it from being made, if anything."""
        if move is None or isinstance(move, Hold | Stuck | Restore):
            return ""
        reason = type(move).__name__
        try:
            await self._actor.perform(move, work.cluster, work.shape, work.seen, work.wanted.tls)
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

    async def _apply(self, cluster: AmatersCluster, shape: manifests.Shape) -> Manifest:
        """Apply every object that is wished for; return the StatefulSet as it then is."""
        monitors = await self._kube.serves(kinds.MONITOR)
        for gone in manifests.unwanted(cluster, monitors=monitors):
            await self._delete(gone, cluster)
        *around, statefulset = manifests.wanted(cluster, shape, monitors=monitors)
        await asyncio.gather(*(self._kube.apply(made) for made in around))
        return await self._kube.apply(statefulset)

    async def _delete(self, manifest: Manifest, cluster: AmatersCluster) -> None:
        kind, name = kinds.of(manifest), manifest["metadata"]["name"]
        existing = await self._kube.get(kind, cluster.namespace, name)
        if existing is not None and not _stranger(cluster, existing):
            await self._kube.delete(kind, cluster.namespace, name, uid=existing["metadata"]["uid"])

    async def _volumes(self, cluster: AmatersCluster) -> list[int]:
        """Have volumes grow to the wished size; return the ordinals that have a claim."""
        claims = {one["metadata"]["name"]: one for one in await self._observer.claims(cluster)}
        requested = {
            name: claim["spec"]["resources"]["requests"]["storage"]
            for name, claim in claims.items()
        }
        size = cluster.spec.storage.size
        for name in volumes.too_small(size, requested):
            try:
                await self._kube.apply(_grown(cluster, name, size))
            except KubeError as error:
                note = f"{name} cannot grow to {size}: {error}"
                await self._teller.event(cluster, "VolumeNotGrown", note, kind="Warning")
            else:
                await self._teller.event(cluster, "VolumeGrows", f"{name} is to grow to {size}")
        return [names.ordinal(name) for name in claims]

    async def _report_invalid(self, raw: Manifest, error: ValidationError) -> None:
        """Say in the status what is wrong with a spec that the API server let through."""
        bare = {key: value for key, value in raw.items() if key not in ("spec", "status")}
        cluster = AmatersCluster.model_validate(bare | {"spec": {"image": "none"}})
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        now = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{where}: {first['msg']}: correct the spec; until then nothing is changed"
        condition = conditions.invalid(cluster, now, text)
        await self._teller.status(
            cluster, ClusterStatus(phase=Phase.INVALID, conditions=[condition])
        )


def _stranger(cluster: AmatersCluster, existing: Manifest) -> str:
    """Say why an object of our name is not ours; empty when it is."""
    meta = existing["metadata"]
    owners = [one["uid"] for one in meta.get("ownerReferences") or []]
    if cluster.metadata.uid in owners:
        return ""
    return (
        f"{existing.get('kind', 'object')} {meta['name']} exists and belongs to another owner: "
        "rename one of them, or wait until it is gone"
    )


def _shape(
    cluster: AmatersCluster, record: BootstrapStatus, existing: Manifest | None
) -> manifests.Shape:
    replicas, size = cluster.spec.replicas, cluster.spec.storage.size
    if existing is not None:
        spec = existing["spec"]
        replicas = spec["replicas"]
        size = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    elif not record.cluster_id:
        replicas = len(record.initial_members)
    return manifests.Shape(
        replicas=replicas,
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


def _heals(move: Move | None) -> bool:
    """Whether the move is good even before the cluster has formed."""
    return move is not None and not getattr(move, "healthy", True)


def _grown(cluster: AmatersCluster, name: str, size: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"resources": {"requests": {"storage": size}}},
    }


def _pause(move: Move | None, cluster: AmatersCluster, *, calm: bool) -> timedelta:
    if move is None:
        return AT_REST if calm else WHILE_WAITING
    if isinstance(move, Stuck) or (isinstance(move, Hold) and cluster.spec.upgrade.paused):
        return AT_REST if calm else WHILE_WAITING
    return WHILE_WAITING if isinstance(move, Hold) else AFTER_A_MOVE
