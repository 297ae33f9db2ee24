"""One pass over one AmatersCluster: apply the objects, observe, decide, act once, report.

Each pass reads everything again; what must outlive a pass is in the cluster's status. A crash
between any two lines is therefore only a pass that ends early.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from amaters.errors import AmatersError, RefusedError, UnavailableError

from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus, VolumeUsage
from amaters_operator.controllers.access.accesses import Accesses, Found
from amaters_operator.controllers.apply_action import ActionDeferredError, apply_action
from amaters_operator.controllers.apply_objects import Applied, Applier, foreign_owner, refusal
from amaters_operator.controllers.claims import Claims, Plan, plan
from amaters_operator.controllers.fences import keep_fences
from amaters_operator.controllers.held_back import held_back, refused_spec, to_record, with_good
from amaters_operator.controllers.login_secrets import LoginSecrets, login_secrets
from amaters_operator.controllers.observing.observer import Observer
from amaters_operator.controllers.pass_context import (
    InvalidCluster,
    Nodes,
    bootstrap_record,
    fetch_cluster,
)
from amaters_operator.controllers.rejections import Rejections
from amaters_operator.controllers.reload import Reloaded, reload
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.controllers.resting import Resting, is_at_rest
from amaters_operator.controllers.secrets import TlsSecret, tls_secret, unusable_webhook
from amaters_operator.database.port import Database
from amaters_operator.decisions import arbitration, bootstrap, cluster_shape, hold
from amaters_operator.decisions.access import reports
from amaters_operator.decisions.actions import (
    SetReplicas,
    Step,
    Stuck,
    Wait,
)
from amaters_operator.decisions.arbitration import Decision
from amaters_operator.decisions.membership.transfer import transfer
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.pass_result import Blocked, PassResult
from amaters_operator.decisions.rolls import consent, disruption_budgets
from amaters_operator.decisions.rolls.trial import Wanted
from amaters_operator.decisions.status import cluster_status, progress
from amaters_operator.decisions.storage import quarantine, usage, volumes
from amaters_operator.decisions.storage.volumes import Claim
from amaters_operator.kube import kinds, secret_reads
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import config, names
from amaters_operator.manifests.names import Manifest

AFTER_AN_ACTION = timedelta(seconds=0.5)
WHILE_WAITING = timedelta(seconds=2)
AT_REST = timedelta(seconds=15)
OnUsage = Callable[[str, str, Sequence[VolumeUsage]], None]
"""Takes namespace and name of a cluster, and how full its volumes are."""
_NOWHERE = manifests.Home()


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass works with."""

    cluster: AmatersCluster
    nodes: Nodes
    shape: manifests.Shape
    applied: Applied
    record: BootstrapStatus
    secret: TlsSecret
    logins: LoginSecrets
    accesses: Found
    files: frozenset[str]
    """Digests of the configuration files that are current."""
    observed: Observation
    reloaded: Reloaded
    claims: list[Claim]
    template: Wanted
    """What the spec asks of the pods, whatever they are kept on."""

    @property
    def formed(self) -> bool:
        """Whether the database has formed its cluster."""
        return bool(self.record.cluster_id)

    @property
    def behind(self) -> str:
        """Which nodes have not loaded the newest configuration; empty when all have."""
        restart_hash = config.restart_hash(self.cluster, self.shape)
        if self.shape.template is not None:
            notes = self.shape.template["metadata"]["annotations"]
            restart_hash = notes[names.RESTART_ANNOTATION]
        return reports.behind(
            self.cluster, self.observed, self.files, restart_hash, formed=self.formed
        )

    @property
    def plan(self) -> Plan:
        """What should become of the volume claims by this observation."""
        return plan(self.cluster, self.observed, self.claims, formed=self.formed)

    def blocked(self) -> list[Blocked]:
        """Return what blocks the spec before anything is decided."""
        found = list(self.applied.blocked)
        if self.applied.foreign:
            found.insert(0, Blocked("NameTaken", self.applied.foreign))
        if self.secret.problem:
            found.append(Blocked("SecretUnusable", self.secret.problem))
        elif self.logins.problem:
            found.append(Blocked("SecretUnusable", self.logins.problem))
        elif self.observed.denied:
            found.append(Blocked("AdministrationDenied", self.certificate_problem, lasting=False))
        return found

    @property
    def certificate_problem(self) -> str:
        """Say why the operator cannot ask the nodes, when its certificate is the reason."""
        if self.secret.problem or not self.observed.denied:
            return self.secret.problem
        pods = listed(names.pod(self.cluster, ordinal) for ordinal in self.observed.denied)
        tls = self.cluster.spec.tls
        if tls is None or tls.admin_secret_name is None:
            return (
                f"the nodes of {pods} do not take the operator for an administrator: their own "
                "certificate has another subject or more SANs than the Secret's. Wait until the "
                "Secret has arrived in the pods"
            )
        return (
            f"the nodes of {pods} do not take the operator for an administrator: add the name that "
            f"the certificate in Secret {tls.admin_secret_name} had when they started to "
            "spec.tls.adminPrincipals and issue it for that name again, or delete the pods one by one"
        )


class ClusterController:
    """Brings clusters to what their specs say, one action at a time."""

    def __init__(
        self,
        kube: KubeApi,
        database: Database,
        *,
        instance: str,
        home: manifests.Home = _NOWHERE,
        on_action: Callable[[str], None] = lambda _: None,
        on_usage: OnUsage = lambda *_: None,
    ) -> None:
        self._kube = kube
        self._database = database
        self._home = home
        self._on_action = on_action
        self._on_usage = on_usage
        self._applier = Applier(kube)
        self._observer = Observer(kube)
        self._reporter = Reporter(kube, instance)
        self._claims = Claims(kube, self._reporter)
        self._accesses = Accesses(kube, self._reporter)
        self._rejections = Rejections(kube, self._reporter, self._accesses)
        self._resting = Resting(kube)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when the next is due, or None when the cluster is gone."""
        self._resting.end(namespace, name)
        with secret_reads.noted() as secrets:
            return await self._pass(namespace, name, secrets)

    async def is_unchanged(self, namespace: str, name: str) -> bool:
        """Look whether a cluster at rest is as the last pass has found it."""
        return await self._resting.is_unchanged(namespace, name)

    async def _pass(
        self, namespace: str, name: str, secrets: Mapping[str, str]
    ) -> timedelta | None:
        cluster = await fetch_cluster(self._kube, namespace, name)
        if cluster is None:
            await self._accesses.without_cluster(namespace, name)
            self._on_usage(namespace, name, ())
            return None
        if isinstance(cluster, InvalidCluster):
            await self._rejections.invalid(cluster)
            return AT_REST
        statefulset = await self._kube.get(kinds.STATEFUL_SET, namespace, name)
        if statefulset is not None and foreign_owner(cluster, statefulset):
            statefulset = None
        cluster = await with_good(self._kube, cluster, statefulset)
        current = await self._observe(cluster, statefulset)
        return AT_REST if current is None else await self._advance(current, secrets)

    async def _observe(self, cluster: AmatersCluster, existing: Manifest | None) -> Pass | None:
        """Apply the objects and look at what there is; None when the cluster's name is taken."""
        record = bootstrap.restored(
            await bootstrap_record(self._kube, cluster), cluster.status.restore
        )
        secret = await tls_secret(self._kube, cluster)
        logins = await login_secrets(self._kube, cluster)
        nodes = Nodes(self._database, cluster, secret.tls, secret.admin)
        claims = await self._claims.find(cluster)
        accesses = await self._accesses.find(cluster, write=not cluster.spec.paused)
        shape = replace(
            cluster_shape.of(cluster, record, existing, claims),
            login_secrets=logins.versions,
            grants=accesses.grants,
            home=self._home,
        )
        held = held_back(cluster, shape)
        applied = Applied(existing)
        if not cluster.spec.paused:
            applied = await self._applier.apply(cluster, held.shape, existing)
        if applied.foreign and applied.statefulset is None:
            await self._rejections.name_taken(cluster, applied.foreign)
            return None
        observed = await self._observer.observe_with(nodes, applied.statefulset)
        reloaded = await reload(nodes, observed, secret, held.files, act=not cluster.spec.paused)
        record = bootstrap.formed(record, observed, older=volumes.of_members(observed, claims))
        template = replace(
            held.wanted, accepted=not applied.blocked, formed=bool(record.cluster_id)
        )
        return Pass(
            cluster,
            nodes,
            held.shape,
            applied,
            record,
            secret,
            logins,
            accesses,
            held.files,
            observed,
            reloaded,
            claims,
            template,
        )

    async def _advance(self, current: Pass, secrets: Mapping[str, str]) -> timedelta:
        """Decide, act once, and report; return when the next pass is due."""
        planned = current.plan
        refused: list[Blocked] = []
        if not current.cluster.spec.paused:
            refused = await self._claims.reconcile(current.cluster, current.claims, planned)
        webhook = await unusable_webhook(self._kube, current.cluster)
        fences = await keep_fences(current.nodes, current.observed)
        blocked = [*current.blocked(), *refused, *webhook, *fences]
        decision = await self._decide(current)
        obstacle = await self._act(decision.step, current)
        if obstacle is not None:
            blocked.append(obstacle)
        blocked.extend(refused_spec(current.cluster, decision))
        result = _result(current, planned, decision, blocked)
        status = cluster_status.cluster_status(current.cluster, result)
        await self._reporter.status(current.cluster, status)
        await self._reporter.transfer(current.cluster, decision.transfer)
        self._on_usage(current.cluster.namespace, current.cluster.name, result.usage)
        due = await self._accesses.report(current.accesses, current.behind)
        await self._reporter.states(current.cluster, result)
        if any(not one.lasting for one in blocked):
            return WHILE_WAITING
        calm = current.formed and current.reloaded.done
        if calm and decision.step is None and not (blocked or result.notes) and is_at_rest(status):
            found, monitors = current.observed, current.applied.monitors
            return min(self._resting.begin(current.nodes, found, secrets, monitors=monitors), due)
        pause = AT_REST if obstacle else _pause(decision.step, current.cluster, calm=calm)
        return min(pause, due)

    async def _decide(self, current: Pass) -> Decision:
        """Decide by the observation; a deletion needs a second observation that agrees."""
        cluster = current.cluster
        decide = partial(arbitration.arbitrate, cluster, template=current.template)
        decision = decide(current.observed, current.plan.claims)
        if decision.deletion is not None:
            again = await self._observer.observe_with(current.nodes, current.applied.statefulset)
            claims = await self._claims.find(cluster)
            claims = plan(cluster, again, claims, formed=current.formed).claims
            if decide(again, claims).deletion != decision.deletion:
                wait = Wait("the observation has just changed: looking again")
                decision = replace(decision, step=wait, scaling=None)
        decision = arbitration.permitted(
            arbitration.asked(decision, transfer(cluster, current.observed)),
            formed=current.formed,
            secret_problem=current.certificate_problem or current.logins.problem,
        )
        return hold.held(cluster, current.observed, decision)

    async def _act(self, step: Step | None, current: Pass) -> Blocked | None:
        """Take the action, if the step is one; return what prevented it, if anything."""
        if step is None or isinstance(step, Wait | Stuck):
            return None
        reason = type(step).__name__
        try:
            await apply_action(self._kube, step, current.nodes, current.observed)
        except (ActionDeferredError, RefusedError, UnavailableError) as error:
            # The condition says what it waits for, and the next pass tries again.
            return Blocked(f"{reason}Waits", f"{step}: {error}", lasting=False)
        except KubeError as error:
            two = disruption_budgets.in_the_way(current.cluster, current.observed, step)
            return two or refusal(str(step), error)
        except AmatersError as error:
            problem = f"{step}: {error}"
            if problem not in (one.message for one in current.cluster.status.conditions):
                await self._reporter.event(
                    current.cluster, f"{reason}Failed", problem, kind="Warning"
                )
            return Blocked(f"{reason}Failed", problem, lasting=False)
        self._on_action(reason)
        await self._reporter.event(current.cluster, reason, str(step))
        return None


def _result(current: Pass, planned: Plan, decision: Decision, blocked: list[Blocked]) -> PassResult:
    cluster, step, trial = current.cluster, decision.step, decision.canary
    observed = current.observed if trial is None else trial.observed
    rolling = progress.rolling(cluster, observed)
    return PassResult(
        observed,
        decision,
        current.record,
        arbitration.stuck(cluster, decision, observed, rolling=rolling),
        current.reloaded.certificates,
        tuple(blocked),
        secret_problem=current.certificate_problem,
        pods=step.replicas if isinstance(step, SetReplicas) else current.shape.replicas,
        reloading=current.reloaded.configuration,
        usage=tuple(planned.usage),
        filling=planned.filling,
        quarantine=tuple(quarantine.listed(planned.claims)),
        growing=volumes.growing(usage.in_use(planned.claims), planned.filling.size),
        notes=disruption_budgets.notes(cluster, observed, blocked),
        volume_size=volumes.least_size(current.claims),
        canary=to_record(current.observed, current.template, decision),
    )


def _pause(step: Step | None, cluster: AmatersCluster, *, calm: bool) -> timedelta:
    paused = isinstance(step, Wait) and (cluster.spec.upgrade.paused or consent.waits(step))
    if step is None or isinstance(step, Stuck) or paused:
        return AT_REST if calm else WHILE_WAITING
    return WHILE_WAITING if isinstance(step, Wait) else AFTER_AN_ACTION
