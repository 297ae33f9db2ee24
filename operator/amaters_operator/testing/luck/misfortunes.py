"""What a person with bad luck does, and what happens to the machines. Each is drawn by a seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from amaters_operator.kube import kinds
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.driver import Driver
from amaters_operator.testing.luck.witness import Witness
from amaters_operator.testing.nodes.machines import delete_claim
from amaters_operator.testing.world import NAME, NAMESPACE

SECRET = "orders-tls"  # noqa: S105 - the name of a Secret
_DELETED: tuple[Kind, ...] = (kinds.SERVICE, kinds.CONFIG_MAP, kinds.BUDGET, kinds.SERVICE_ACCOUNT)
EDITS = 0.25
"""How much of the bad luck is what the person writes into the spec."""
_LATER = timedelta(hours=2)


@dataclass(slots=True)
class BadLuck:
    """One person, one cluster, one seed."""

    seed: int
    tls: Manifest | None = None
    """The Secret that the cluster's certificates come from; None: it uses none."""
    done: list[str] = field(default_factory=list)
    """What happened, in order."""
    dice: random.Random = field(init=False)
    witness: Witness = field(init=False)
    driver: Driver = field(init=False)
    _specs: list[Manifest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - it has to be the same each time
        self.witness = Witness()
        self.driver = Driver(world=self.witness.world, crash_points=self.witness)
        spec: Manifest = {
            "image": "amaters:1",
            "replicas": self.dice.choice([1, 3, 3, 5]),
        }
        if self.tls is not None:
            self.driver.world.store.put(self.tls)
            spec["tls"] = {"secretName": SECRET}
        self._edit(**spec)
        self.driver.settled(within=200)

    def happens(self, times: int) -> None:
        """Let that many misfortunes happen, a few passes apart."""
        for _ in range(times):
            often = self.dice.random() < EDITS
            strike = MISFORTUNES[0] if often else self.dice.choice(MISFORTUNES[1:])
            told = strike(self)
            self.done.append(f"{strike.__name__.strip('_')} {told}".strip())
            self.passes(self.dice.randint(1, 4), self.dice.choice([2.0, 2.0, 30.0]))

    def passes(self, number: int, seconds: float) -> None:
        """Make passes; the application writes, and every promise is checked."""
        for _ in range(number):
            self.driver.once(seconds)
            self.witness.write()
            self.witness.check()

    def better(self) -> None:
        """Let all that a person would mend be mended; what is lost stays lost."""
        driver, world = self.driver, self.driver.world
        driver.kube.down, world.quota, world.machines.full = False, "", False
        world.unreachable.clear()
        world.machines.cordoned.clear()
        if self.tls is not None:
            world.store.put(self.tls)
        self._edit(image=f"amaters:{self.dice.randint(1, 3)}")

    def ends(self, *, within: int = 300) -> bool:
        """Make passes until the spec is reached; return whether it was."""
        for number in range(within):
            self.passes(1, 30.0 if number % 3 == 0 else 2.0)
            if at_rest(self.driver):
                return True
        return False

    def _edit(self, **spec: object) -> None:
        self.driver.world.edit(**spec)
        self._specs.append(spec)

    def _edits_the_spec(self) -> str:
        spec: Manifest = self.dice.choice(
            [
                {"image": f"amaters:{self.dice.randint(1, 4)}"},
                {"replicas": self.dice.choice([1, 2, 3, 3, 4, 5, 5])},
                {"replicas": self.dice.choice([1, 3, 5])},
                {"podAnnotations": {"note": str(self.dice.randint(1, 3))}},
                {"upgrade": {"paused": self._perhaps(0.3)}},
                {"healing": {"replaceAfter": self.dice.choice(["2m", "30m", "never"])}},
                {"storage": {"quarantine": self.dice.choice(["1m", "72h"])}},
            ]
        )
        self._edit(**spec)
        return str(spec)

    def _reverts(self) -> str:
        spec: Manifest = self.dice.choice(self._specs)
        self._edit(**spec)
        return str(spec)

    def _mistypes_the_image(self) -> str:
        self.driver.world.bad_images = {"amaters:wrong"}
        self._edit(image="amaters:wrong")
        return ""

    def _scales_the_statefulset(self) -> str:
        number = self.dice.randint(0, 6)
        if self._exists(kinds.STATEFUL_SET, NAME):
            self.driver.world.scale_by_hand(number)
        return f"to {number}"

    def _deletes_the_statefulset(self) -> str:
        orphan = self._perhaps(0.5)
        self.driver.world.delete_statefulset(orphan=orphan)
        return "orphan" if orphan else ""

    def _deletes_an_object(self) -> str:
        kind = self.dice.choice(_DELETED)
        found = self.driver.world.store.find(kind, NAMESPACE, {})
        for one in found:
            self.driver.world.store.delete(kind, NAMESPACE, one["metadata"]["name"])
        return kind.name

    def _deletes_pods(self) -> str:
        pods = self.driver.world.pods()
        chosen = self.dice.sample(pods, self.dice.randint(0, len(pods)))
        for pod in chosen:
            self._delete(pod)
        return str([one["metadata"]["name"] for one in chosen])

    def _deletes_a_claim_in_quarantine(self) -> str:
        world = self.driver.world
        for claim in world.store.find(kinds.CLAIM, NAMESPACE, {"amaters.io/quarantine": "true"}):
            meta = claim["metadata"]
            delete_claim(world.store, NAMESPACE, meta["name"], meta["uid"], world.now)
            return str(meta["name"])
        return "none"

    def _drains_a_machine(self) -> str:
        """Let a pod go as an eviction does: while all others are ready."""
        world = self.driver.world
        pods = world.pods()
        if len(pods) == 1 or not pods or not all(world.participates(one) for one in world.voters):
            return "none"
        pod = self.dice.choice(pods)
        machine = world.machines.placed.get(pod["metadata"]["uid"], "")
        world.machines.cordoned.add(machine)
        self._delete(pod)
        return machine

    def _cordons(self) -> str:
        machines = self.driver.world.machines
        machine = self.dice.choice([*machines.placed.values(), ""])
        machines.cordoned.add(machine)
        return machine

    def _uncordons(self) -> str:
        self.driver.world.machines.cordoned.clear()
        return ""

    def _loses_a_machine(self) -> str:
        pod = self._expendable()
        return "none" if pod is None else self.driver.world.machines.kill(pod)

    def _loses_a_disk(self) -> str:
        pod = self._expendable()
        if pod is None:
            return "none"
        ordinal = int(pod["metadata"]["name"].rpartition("-")[2])
        self.driver.world.lose_disk(ordinal)
        return str(ordinal)

    def _damages_a_disk(self) -> str:
        pod = self._expendable()
        if pod is None:
            return "none"
        ordinal = int(pod["metadata"]["name"].rpartition("-")[2])
        self.driver.world.disks[ordinal].damaged = True
        return str(ordinal)

    def _skews_clocks(self) -> str:
        skew = {at: self.dice.choice([-_LATER, _LATER]) for at in range(5)}
        self.driver.world.clock_skew = skew if self._perhaps(0.7) else {}
        return ""

    def _breaks_the_secret(self) -> str:
        entry = self.driver.world.store.entries.get((kinds.SECRET, NAMESPACE, SECRET))
        if entry is None:
            return "none"
        if self._perhaps(0.5):
            self.driver.world.store.delete(kinds.SECRET, NAMESPACE, SECRET)
        else:
            entry.own["data"]["tls.crt"] = "!!"
        return ""

    def _mends_the_secret(self) -> str:
        if self.tls is not None:
            self.driver.world.store.put(self.tls)
        return ""

    def _cuts_the_operator_off(self) -> str:
        """From a node, or from the API; or that comes back."""
        driver = self.driver
        driver.kube.down = self._perhaps(0.3)
        driver.world.unreachable = {at for at in range(5) if self._perhaps(0.2)}
        return f"{driver.kube.down} {driver.world.unreachable}"

    def _kills_the_operator(self) -> str:
        self.witness.at = len(self.witness.changes) + self.dice.randint(1, 12)
        self.witness.after = self._perhaps(0.5)
        return f"at change {self.witness.at}"

    def _runs_into_a_quota(self) -> str:
        world = self.driver.world
        world.quota = "exceeded quota: pods" if self._perhaps(0.5) else ""
        world.machines.full = self._perhaps(0.3)
        return f"{world.quota} {world.machines.full}"

    def _forgets_the_status(self) -> str:
        """As when the object is applied again from a file."""
        entry = self.driver.world.store.entries[kinds.CLUSTER, NAMESPACE, NAME]
        for place in [one for one in entry.applied if one[1]]:
            del entry.applied[place]
        return ""

    def _goes_for_lunch(self) -> str:
        self.passes(6, 400.0)
        return ""

    def _perhaps(self, chance: float) -> bool:
        return self.dice.random() < chance

    def _delete(self, pod: Manifest) -> None:
        world = self.driver.world
        entry = world.store.entries[kinds.POD, NAMESPACE, pod["metadata"]["name"]]
        if world.machines.dead_under(pod):
            entry.own["metadata"].setdefault("deletionTimestamp", world.now.isoformat())
        else:
            world.store.delete(kinds.POD, NAMESPACE, pod["metadata"]["name"])

    def _exists(self, kind: Kind, name: str) -> bool:
        return self.driver.world.store.get(kind, NAMESPACE, name) is not None

    def _expendable(self) -> Manifest | None:
        """Return a pod whose disk may be lost without losing a write, or None."""
        world = self.driver.world
        if not all(world.participates(one) for one in world.voters) or world.machines.full:
            return None
        found = [
            pod
            for one in world.voters
            if self.witness.keeps_the_writes(without=one.ordinal)
            and (pod := world.pod(one.ordinal)) is not None
        ]
        return self.dice.choice(found) if found else None


MISFORTUNES: tuple[Callable[[BadLuck], str], ...] = tuple(
    one
    for name, one in vars(BadLuck).items()
    if name.startswith("_")
    and not name.startswith("__")
    and callable(one)
    and name not in ("_delete", "_edit", "_exists", "_expendable", "_perhaps")
)
"""Everything that may happen."""


def at_rest(driver: Driver) -> bool:
    """Whether the spec is reached, and every promised member takes part."""
    cluster = driver.world.cluster()
    wanted = cluster.spec.replicas
    conditions = {
        one.type: (one.status, one.observed_generation) for one in cluster.status.conditions
    }
    reached = {
        kind: conditions.get(kind) == (status, cluster.metadata.generation)
        for kind, status in (("Ready", "True"), ("Reconciling", "False"), ("Degraded", "False"))
    }
    world = driver.world
    return (
        all(reached.values())
        and len(world.voters) == len(world.members) == len(world.pods()) == wanted
        and all(world.participates(one) for one in world.voters)
    )
