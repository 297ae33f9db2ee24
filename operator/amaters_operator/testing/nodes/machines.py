"""Machines under the pods: they die, are cordoned, and hold the volumes that were made on them.

As in Kubernetes: the pod on a dead machine is marked not ready by the controller of nodes, is
deleted after some minutes, and goes only when somebody deletes it without its kubelet.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from amaters_operator.kube import kinds
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.objects import ObjectStore, StoredObject

SILENT_AFTER = timedelta(seconds=40)
"""How long the controller of nodes waits for a kubelet."""
EVICTED_AFTER = timedelta(seconds=340)
"""When it deletes the pods of a machine that is away."""
GRACE = timedelta(seconds=60)


@dataclass(slots=True)
class Machines:
    """All machines of a Kubernetes."""

    local: bool = True
    """Whether a volume can only be reached from the machine that it was made on."""
    dead: dict[str, datetime | None] = field(default_factory=dict)
    """Since when a machine is dead; None until its first step."""
    cut_off: set[str] = field(default_factory=set)
    """The dead ones that only Kubernetes takes for dead: what runs there runs on."""
    cordoned: set[str] = field(default_factory=set)
    placed: dict[str, str] = field(default_factory=dict)
    """Machine by uid of the pod."""
    homes: dict[str, str] = field(default_factory=dict)
    """Machine by uid of the claim."""
    disks: dict[int, str] = field(default_factory=dict)
    """Uid of the claim whose volume a pod has used, by ordinal."""
    claims: dict[str, str] = field(default_factory=dict)
    """Uid of the claim by uid of the pod, of pods without a machine."""
    full: bool = False
    """Whether there is no further machine."""
    numbers: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def step(self, store: ObjectStore, now: datetime) -> list[int]:
        """Place the pods; return the ordinals whose disks are gone with their claims."""
        for name, since in self.dead.items():
            self.dead[name] = since or now
        _protect(store, self.placed)
        lost = []
        for pod in _all(store, kinds.POD):
            meta = pod["metadata"]
            claim = store.get(kinds.CLAIM, meta["namespace"], names.claim_of(meta["name"]))
            if meta["uid"] in self.placed or claim is None or "deletionTimestamp" in meta:
                continue
            uid = claim["metadata"]["uid"]
            self.claims[meta["uid"]] = uid
            if not self._place(meta["uid"], uid):
                continue
            entry = store.entries[kinds.POD, meta["namespace"], meta["name"]]
            entry.own["spec"] = entry.own["spec"] | {"nodeName": self.placed[meta["uid"]]}
            ordinal = names.ordinal(meta["name"])
            if self.disks.get(ordinal, uid) != uid:
                lost.append(ordinal)
            self.disks[ordinal] = uid
        return lost

    def kill(self, pod: Manifest) -> str:
        """Let the machine under a pod die; return its name."""
        name = self.placed[pod["metadata"]["uid"]]
        self.dead.setdefault(name, None)
        return name

    def dead_under(self, pod: Manifest) -> bool:
        """Whether the pod's machine is dead."""
        return self._machine(pod) in self.dead

    def runs_on(self, pod: Manifest) -> bool:
        """Whether the pod runs on a machine that Kubernetes does not reach."""
        return self.dead_under(pod) and self._machine(pod) in self.cut_off

    def _machine(self, pod: Manifest) -> str:
        return self.placed.get(pod["metadata"]["uid"], "")

    def obstacle(self, pod: Manifest) -> str:
        """Return why the pod does not run, in the scheduler's words if it has no machine."""
        uid = pod["metadata"]["uid"]
        if uid in self.placed:
            dead = self.dead_under(pod) and not self.runs_on(pod)
            return "its machine is dead" if dead else ""
        if uid not in self.claims:
            return ""  # It was made in this moment.
        if self.local and self._is_away(self.homes.get(self.claims[uid], "")):
            return "0/4 nodes are available: 3 node(s) had volume node affinity conflict."
        return "0/3 nodes are available: 3 node(s) were unschedulable." if self.full else ""

    def forsake(self, entry: StoredObject, now: datetime) -> None:
        """Do to the pod of a dead machine what the controller of nodes does."""
        since = self.dead[self.placed[entry.uid]] or now
        status: Manifest = entry.own["status"]
        if now - since >= SILENT_AFTER:
            ready = {"type": "Ready", "status": "False", "lastTransitionTime": since.isoformat()}
            others = [one for one in status.get("conditions", []) if one["type"] != "Ready"]
            entry.own["status"] = status | {"conditions": [ready, *others]}
        if now - since >= EVICTED_AFTER:
            entry.own["metadata"].setdefault("deletionTimestamp", (now + GRACE).isoformat())

    def _place(self, pod: str, claim: str) -> bool:
        home = self.homes.get(claim, "")
        if self._is_away(home):
            if self.local:
                return False
            home = ""
        if not home and self.full:
            return False
        self.placed[pod] = self.homes[claim] = home or f"machine-{next(self.numbers)}"
        return True

    def _is_away(self, machine: str) -> bool:
        return machine in self.dead or machine in self.cordoned


def delete_claim(store: ObjectStore, namespace: str, name: str, uid: str, now: datetime) -> None:
    """Delete a claim, as far as nothing protects it."""
    entry = store.entries.get((kinds.CLAIM, namespace, name))
    if entry is None or uid not in ("", entry.uid):
        return
    pods = [
        one["metadata"]["name"] for one in _all(store, kinds.POD) if one["spec"].get("nodeName")
    ]
    if any(names.claim_of(pod) == name for pod in pods):
        entry.own["metadata"].setdefault("deletionTimestamp", now.isoformat())
    else:
        store.delete(kinds.CLAIM, namespace, name)


def _protect(store: ObjectStore, placed: dict[str, str]) -> None:
    """Let claims go that nothing protects any more."""
    users = {
        names.claim_of(one["metadata"]["name"])
        for one in _all(store, kinds.POD)
        if one["metadata"]["uid"] in placed
    }
    for claim in _all(store, kinds.CLAIM):
        meta = claim["metadata"]
        if "deletionTimestamp" in meta and meta["name"] not in users:
            store.delete(kinds.CLAIM, meta["namespace"], meta["name"])


def _all(store: ObjectStore, kind: Kind) -> list[Manifest]:
    return [entry.whole() for (one, _, _), entry in list(store.entries.items()) if one == kind]
