"""One pass over one AmatersCluster: apply what is wished, look, decide, make one move, tell.

Everything is read anew in each pass; what must outlive a pass is in the cluster's status. A crash
between any two lines is therefore only a pass that ends early.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError, RefusedError, UnavailableError
from pydantic import ValidationError

from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus, ClusterStatus, Phase
from amaters_operator.controllers.acting import Actor, NotNowError
from amaters_operator.controllers.applying import Applied, Applier, refusal, stranger
from amaters_operator.controllers.claims import Claims
from amaters_operator.controllers.observing.observer import Observer
from amaters_operator.controllers.pass_context import InvalidCluster, Nodes, fetch_cluster
from amaters_operator.controllers.reload import Reloaded, reload
from amaters_operator.controllers.secrets import TlsSecret, tls_secret, unusable_webhook
from amaters_operator.controllers.telling import Teller
from amaters_operator.database.port import Database
from amaters_operator.decisions import (
    answers,
    bootstrap,
    budgets,
    plan,
    progress,
    scale,
    status,
    upgrade,
    volumes,
)
from amaters_operator.decisions.findings import Blocked, Findings
from amaters_operator.decisions.moves import (
    DeleteClaim,
    Hold,
    Move,
    RemoveMember,
    SetReplicas,
    Stuck,
)
from amaters_operator.decisions.plan import Plan
from amaters_operator.decisions.seen import Seen
from amaters_operator.decisions.volumes import Claim
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
    nodes: Nodes
    shape: manifests.Shape
    applied: Applied
    record: BootstrapStatus
    secret: TlsSecret
    seen: Seen
    reloaded: Reloaded
    claims: list[Claim]

    @property
    def blind(self) -> str:
        """Why the nodes cannot be asked anything; empty when they can."""
        return self.secret.problem

    def blocked(self) -> list[Blocked]:
        """Return what is in the way of the spec before anything is decided."""
        found = list(self.applied.blocked)
        if self.applied.taken:
            found.insert(0, Blocked("NameTaken", self.applied.taken))
        if self.blind:
            found.append(Blocked("SecretUnusable", self.blind))
        return found


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
        self._applier = Applier(kube)
        self._database = database
        self._observer = Observer(kube)
        self._actor = Actor(kube)
        self._teller = Teller(kube, instance)
        self._claims = Claims(kube, self._teller)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when to look again, or None when the cluster is gone."""
        cluster = await fetch_cluster(self._kube, namespace, name)
        if cluster is None:
            return None
        if isinstance(cluster, InvalidCluster):
            await self._report_invalid(cluster.raw, cluster.error)
            return AT_REST
        statefulset = await self._kube.get(kinds.STATEFUL_SET, namespace, name)
        if statefulset is not None and stranger(cluster, statefulset):
            statefulset = None
        return await self._advance(cluster, statefulset)

    async def _advance(self, cluster: AmatersCluster, existing: Manifest | None) -> timedelta:
        record = bootstrap.restored(await self._begun(cluster), cluster.status.restore)
        secret = await tls_secret(self._kube, cluster)
        nodes = Nodes(self._database, cluster, secret.tls)
        claims = await self._claims.look(cluster)
        shape = _shape(cluster, record, existing, claims)
        applied = await self._applier.apply(cluster, shape, existing)
        if applied.taken and applied.statefulset is None:
            await self._report_taken(cluster, applied.taken)
            return AT_REST
        seen = await self._observer.look(nodes, applied.statefulset)
        reloaded = await reload(nodes, seen, secret, config.digests(cluster, shape))
        record = bootstrap.formed(record, seen, older=volumes.of_members(seen, claims))
        work = Pass(cluster, nodes, shape, applied, record, secret, seen, reloaded, claims)
        return await self._move(work)

    async def _move(self, work: Pass) -> timedelta:
        cluster, seen = work.cluster, work.seen
        policy = _policy(cluster)
        formed, claims = bool(work.record.cluster_id), work.claims
        refused = await self._claims.tend(cluster, seen, claims, formed=formed)
        blocked = [*work.blocked(), *refused, *await unusable_webhook(self._kube, cluster)]
        planned = await self._plan(work)
        if work.blind:
            planned = _unseen(planned, work.blind)
        elif not formed and not _heals(planned.move):
            planned = Plan(None, planned.roll)
        if (obstacle := await self._act(planned.move, work)) is not None:
            blocked.append(obstacle)
        pods = work.shape.replicas
        if isinstance(planned.move, SetReplicas):
            pods = planned.move.replicas
        rolling = progress.rolling(cluster, seen)
        found = Findings(
            seen,
            planned,
            work.record,
            plan.stuck(planned, seen, policy, rolling=rolling),
            work.reloaded.certificates,
            tuple(blocked),
            blind=work.blind,
            pods=pods,
            reloading=work.reloaded.configuration,
            growing=volumes.growing(claims),
            notes=budgets.notes(cluster, seen, blocked),
            volume_size=volumes.least_size(claims),
        )
        await self._teller.status(cluster, status.status(cluster, found))
        for note in found.notes:
            await self._teller.change(cluster, budgets.TWO, note)
        calm = formed and work.reloaded.done
        if any(not one.lasting for one in blocked):
            return WHILE_WAITING
        return AT_REST if obstacle else _pause(planned.move, cluster, calm=calm)

    async def _plan(self, work: Pass) -> Plan:
        """Decide on what was seen; what deletes something is decided twice, on two looks."""
        planned = _decide(work.cluster, work.seen, work.claims)
        if not isinstance(planned.move, RemoveMember | DeleteClaim):
            return planned
        again = await self._observer.look(work.nodes, work.applied.statefulset)
        confirmed = _decide(work.cluster, again, await self._claims.look(work.cluster))
        if _target(confirmed.move) == _target(planned.move):
            return planned
        return Plan(Hold("what was seen has just changed: looking again"), planned.roll)

    async def _act(self, move: Move | None, work: Pass) -> Blocked | None:
        """Make the move; return what kept it from being made, if anything."""
        if move is None or isinstance(move, Hold | Stuck):
            return None
        reason = type(move).__name__
        try:
            await self._actor.perform(move, work.nodes, work.seen)
        except (NotNowError, RefusedError, UnavailableError) as error:
            # Not yet, says whoever must agree: the condition tells, and the next pass asks again.
            return Blocked(f"{reason}Waits", f"{move}: {error}", lasting=False)
        except KubeError as error:
            two = budgets.in_the_way(work.cluster, work.seen, move)
            return two or refusal(str(move), error)
        except AmatersError as error:
            problem = f"{move}: {error}"
            if problem not in (one.message for one in work.cluster.status.conditions):
                await self._teller.event(work.cluster, f"{reason}Failed", problem, kind="Warning")
            return Blocked(f"{reason}Failed", problem, lasting=False)
        self._on_move(reason)
        await self._teller.event(work.cluster, reason, str(move))
        return None

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

    async def _report_taken(self, cluster: AmatersCluster, why: str) -> None:
        """Say in the status that the StatefulSet's name belongs to somebody else."""
        text = f"{why}. Until then nothing is changed"
        told = answers.refused(cluster, self._kube.now(), "False", "NameTaken", text)
        refused = {"phase": Phase.INVALID, "conditions": told}
        await self._teller.status(cluster, cluster.status.model_copy(update=refused))

    async def _report_invalid(self, raw: Manifest, error: ValidationError) -> None:
        """Say in the status what is wrong with a spec that the API server let through."""
        bare = {key: value for key, value in raw.items() if key not in ("spec", "status")}
        cluster = AmatersCluster.model_validate(bare | {"spec": {"image": "none"}})
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}: correct the spec; until then nothing is changed"
        told = answers.refused(cluster, self._kube.now(), "Unknown", "InvalidSpec", text)
        # What the status has recorded of the cluster stays: it outlives any spec.
        known = cluster.model_copy(update={"status": _recorded(raw)})
        invalid = {"phase": Phase.INVALID, "conditions": told}
        await self._teller.status(known, known.status.model_copy(update=invalid))


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


def _unseen(planned: Plan, why: str) -> Plan:
    """Return the plan for nodes that cannot be asked: what takes no part anyway is replaced."""
    if planned.roll is None:
        return Plan(None)
    wait = Hold(f"pods are replaced once their nodes can be asked again: {why}")
    return planned if _heals(planned.move) else Plan(wait, wait)


def _heals(move: Move | None) -> bool:
    """Whether the move is good even before the cluster has formed."""
    return move is not None and not getattr(move, "healthy", True)


def _pause(move: Move | None, cluster: AmatersCluster, *, calm: bool) -> timedelta:
    if move is None:
        return AT_REST if calm else WHILE_WAITING
    if isinstance(move, Stuck) or (isinstance(move, Hold) and cluster.spec.upgrade.paused):
        return AT_REST if calm else WHILE_WAITING
    return WHILE_WAITING if isinstance(move, Hold) else AFTER_A_MOVE
