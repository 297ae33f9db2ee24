"""Runs an operator on a world until the spec is reached, and checks invariants on the way."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime

from amaters.errors import AmatersError

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.backups.backup import BackupController
from amaters_operator.controllers.backups.restore import RestoreController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests import Home, OperatorPods, names
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.crash_points import CrashPoints, Killed
from amaters_operator.testing.database import FakeDatabase
from amaters_operator.testing.kube import FakeKube
from amaters_operator.testing.world import NAME, NAMESPACE, World

HOME = Home(
    OperatorPods(
        NAMESPACE,
        {"app.kubernetes.io/name": "amaters-operator", "app.kubernetes.io/instance": "op"},
    )
)


class InvariantError(AssertionError):
    """The operator did what it must never do."""


@dataclass(slots=True)
class Driver:
    """One world, and an operator that is restarted whenever it is killed."""

    world: World = field(default_factory=World)
    crash_points: CrashPoints = field(default_factory=CrashPoints)
    home: Home = HOME
    """Where the operator runs."""
    kube: FakeKube = field(init=False)
    database: FakeDatabase = field(init=False)
    deaths: int = 0
    most_down: int = 0
    """Most voters that were ever seen down at once, once the cluster had formed."""

    def __post_init__(self) -> None:
        self.kube = FakeKube(self.world.store, self.crash_points, self.world.time)
        self.kube.before_deletion = self._check_deletion
        self.database = FakeDatabase(self.world, self.crash_points)

    def passes(self, number: int, *, seconds: float = 2.0) -> None:
        """Make that many passes, however they end."""
        for _ in range(number):
            self.once(seconds)

    def until(self, done: Callable[[AmatersCluster], bool], *, within: int = 120) -> AmatersCluster:
        """Make passes until `done` says so; return the cluster."""
        for _ in range(within):
            self.once()
            cluster = self.world.cluster()
            if done(cluster):
                return cluster
        raise AssertionError(f"not within {within} passes: {self.world.cluster().status}")

    def settled(self, *, within: int = 120) -> AmatersCluster:
        """Make passes until nothing is left to do; return the cluster."""
        return self.until(at_rest, within=within)

    def once(self, seconds: float = 2.0) -> None:
        """Make one pass and let the world move on."""
        try:
            _run(self._pass())
        except Killed:
            self.deaths += 1
            self.crash_points.at = 0
        except (KubeError, AmatersError):
            pass  # a worker would try again
        self.check_invariants()
        self.world.step(seconds)
        self.check_invariants()

    async def _pass(self) -> None:
        clusters = ClusterController(self.kube, self.database, instance="test", home=self.home)
        backups = BackupController(self.kube, self.database, instance="test")
        restores = RestoreController(self.kube, self.database, instance="test")
        await clusters.reconcile(NAMESPACE, NAME)
        await restores.reconcile(NAMESPACE, NAME)
        await backups.reconcile(NAMESPACE, NAME)

    def check_invariants(self) -> None:
        """Count the voters that are down, and check what must always hold."""
        world = self.world
        if world.clusters_formed > 1:
            raise InvariantError("a second cluster was formed")
        down = sum(not world.participates(one) for one in world.voters)
        self.most_down = max(self.most_down, down)

    def _check_deletion(self, kind: Kind, deleted: Manifest) -> None:
        """Check that no volume is deleted that a member needs, or a person wants to keep."""
        if kind != kinds.CLAIM:
            return
        notes = deleted["metadata"].get("annotations") or {}
        cluster, _, member = notes.get(names.MEMBER_ANNOTATION, "").rpartition("/")
        name = deleted["metadata"]["name"]
        if cluster != self.world.cluster_id or int(member) in self.world.members:
            raise InvariantError(f"{name} is deleted, and its disk is that of {member or 'nobody'}")
        if notes.get(names.UNDELETE_ANNOTATION) == "true":
            raise InvariantError(f"{name} is deleted, and a person wants to keep it")
        until = notes.get(names.UNTIL_ANNOTATION, "")
        early = bool(until) and datetime.fromisoformat(until) > self.world.now
        if early and self.world.pod(names.ordinal(name)) is None:
            raise InvariantError(f"{name} is deleted before {until}")

    def events(self) -> list[str]:
        """Return the recorded events, as `reason: note`, in order."""
        objects = [one.whole() for one in self.world.store.entries.values()]
        return [f"{one['reason']}: {one['note']}" for one in objects if one["kind"] == "Event"]


def _run(work: Coroutine[None, None, None]) -> None:
    """Run to the end on an own loop; tasks that are left when it is killed are cancelled."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_cancel_all(asyncio.all_tasks(loop)))
        loop.close()


async def _cancel_all(left: set[asyncio.Task[object]]) -> None:
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def at_rest(cluster: AmatersCluster) -> bool:
    """Whether the spec is reached, by the cluster's conditions."""
    conditions = {
        one.type: (one.status, one.observed_generation) for one in cluster.status.conditions
    }
    generation = cluster.metadata.generation
    return (
        cluster.status.phase == "Running"
        and conditions.get("Ready") == ("True", generation)
        and conditions.get("Reconciling") == ("False", generation)
        and conditions.get("Stalled") == ("False", generation)
        and conditions.get("Degraded") == ("False", generation)
    )
