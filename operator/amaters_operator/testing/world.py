"""A StatefulSet controller, kubelets, and the nodes of one database on their disks.

The model holds what the operator's decisions depend on: who may form a cluster, who joins it, who
leads, and what a lost disk does.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.kube import kinds
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.nodes.machines import Machines
from amaters_operator.testing.nodes.pod_status import container, created, reported
from amaters_operator.testing.objects import ObjectStore
from amaters_operator.testing.sick_images import WELL, SickImage, Symptoms
from amaters_operator.testing.volumes import Volumes

NAMESPACE, NAME = "shop", "orders"


@dataclass(slots=True)
class Disk:
    """A volume; it outlives pods."""

    cluster_id: str = ""
    member: int = 0
    index: int = 0
    aside: list[int] = field(default_factory=list)
    """The removed members whose data lies beside."""
    used: int = 0
    """Bytes."""
    fenced: bool = False
    damaged: bool = False
    """Whether the server ends as soon as it reads it."""


@dataclass(slots=True)
class DatabaseMember:
    """A member as the database has it committed."""

    id: int
    ordinal: int
    learner: bool = False
    claimed: bool = False


@dataclass(slots=True)
class World:
    """One AmatersCluster's part of the world. `step` lets time pass."""

    store: ObjectStore = field(default_factory=ObjectStore)
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    bad_images: set[str] = field(default_factory=set)
    sick_images: dict[str, SickImage] = field(default_factory=dict)
    """Images whose nodes start, and then fail, by image."""
    misfits: dict[str, str] = field(default_factory=dict)
    """Incompatible versions, by image; all others have one version."""
    unreachable: set[int] = field(default_factory=set)
    """Ordinals of pods that the operator cannot reach, though they are well."""
    unschedulable: set[int] = field(default_factory=set)
    scheduler_says: str = ""
    quota: str = ""
    """Why Kubernetes makes no more pods; empty while it does."""
    stuck_terminating: set[int] = field(default_factory=set)
    """Ordinals of pods that do not go when they are deleted."""
    clock_skew: dict[int, timedelta] = field(default_factory=dict)
    """By how much the clocks of pods' machines are ahead of `now`, by ordinal."""
    events_ahead: timedelta = timedelta(0)
    """By how much the clocks of those who write events are ahead of `now`."""
    disks: dict[int, Disk] = field(default_factory=dict)
    members: dict[int, DatabaseMember] = field(default_factory=dict)
    cluster_id: str = ""
    clusters_formed: int = 0
    leader: int = 0
    term: int = 0
    index: int = 10
    transfers: int = 0
    highest_id: int = 0
    boots: dict[int, str] = field(default_factory=dict)
    """Ordinal to uid of the pod whose node last started there."""
    configs: dict[int, Manifest] = field(default_factory=dict)
    files: dict[int, dict[str, str]] = field(default_factory=dict)
    """The files of the ConfigMap that a node has taken over, by ordinal."""
    digests: dict[int, str] = field(default_factory=dict)
    started: dict[int, Manifest] = field(default_factory=dict)
    """The configuration that a node has started with; a reload does not change all of it."""
    """Of the configuration file that a node has taken over, by ordinal."""
    volumes: Volumes = field(default_factory=Volumes)
    machines: Machines = field(default_factory=Machines)
    ips: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    def edit(self, **spec: object) -> None:
        """Write the AmatersCluster, as a person does; fields given before stay."""
        existing = self.store.get(kinds.CLUSTER, NAMESPACE, NAME)
        before = existing["spec"] if existing else {"image": "amaters:1"}
        meta = {"name": NAME, "namespace": NAMESPACE, "creationTimestamp": self.now.isoformat()}
        if existing:
            meta = {**existing["metadata"], "creationTimestamp": meta["creationTimestamp"]}
        self.store.put(
            {
                "apiVersion": kinds.CLUSTER.api_version,
                "kind": kinds.CLUSTER.name,
                "metadata": meta,
                "spec": before | spec,
            }
        )

    def annotate(self, **annotations: str) -> None:
        """Annotate the AmatersCluster; underscores become dashes."""
        entry = self.store.entries[kinds.CLUSTER, NAMESPACE, NAME]
        entry.own["metadata"]["annotations"] = {
            f"amaters.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }

    def cluster(self) -> AmatersCluster:
        """Return the AmatersCluster as the operator reads it."""
        return AmatersCluster.model_validate(self.store.get(kinds.CLUSTER, NAMESPACE, NAME))

    def pods(self) -> list[Manifest]:
        """Return the pods, by ordinal."""
        found = self.store.find(kinds.POD, NAMESPACE, {})
        return sorted(found, key=lambda pod: names.ordinal(pod["metadata"]["name"]))

    def pod(self, ordinal: int) -> Manifest | None:
        """Return a pod."""
        return self.store.get(kinds.POD, NAMESPACE, f"{NAME}-{ordinal}")

    def running(self, ordinal: int) -> bool:
        """Whether a node runs in that pod."""
        pod = self.pod(ordinal)
        if pod is None or not self._boots(pod):
            return False
        return "deletionTimestamp" not in pod["metadata"] or self.machines.runs_on(pod)

    def participates(self, member: DatabaseMember) -> bool:
        """Whether a member takes part."""
        disk = self.disks.get(member.ordinal)
        here = self.running(member.ordinal) and disk is not None and disk.member == member.id
        pod = self.pod(member.ordinal)
        sick = pod is not None and self.sickness(pod).out
        return here and not self.misfit(member.ordinal) and not sick

    def sickness(self, pod: Manifest) -> Symptoms:
        """Return what is wrong with the node of that pod by now."""
        sick = self.sick_images.get(pod["spec"]["containers"][0]["image"], WELL)
        return sick.after(self.now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]))

    def misfit(self, ordinal: int) -> str:
        """Return the incompatible version of the node of that pod; empty when it is compatible."""
        pod = self.pod(ordinal)
        return "" if pod is None else self.misfits.get(pod["spec"]["containers"][0]["image"], "")

    def time(self) -> datetime:
        """Return the time as the API server has it."""
        return self.now

    def clock(self, ordinal: int) -> datetime:
        """Return the time as the machine of that pod has it."""
        return self.now + self.clock_skew.get(ordinal, timedelta(0))

    @property
    def voters(self) -> list[DatabaseMember]:
        """The members that vote."""
        return [one for one in self.members.values() if not one.learner]

    def has_quorum(self) -> bool:
        """Whether a majority of the voters is up."""
        alive = sum(self.participates(one) for one in self.voters)
        return bool(self.voters) and 2 * alive > len(self.voters)

    def lose_disk(self, ordinal: int) -> None:
        """Replace a pod's volume by an empty one, and the pod with it."""
        self.disks.pop(ordinal, None)
        self.store.delete(kinds.POD, NAMESPACE, f"{NAME}-{ordinal}")

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass: controllers, kubelets and nodes each do their next thing."""
        self.now += timedelta(seconds=seconds)
        statefulset = self.store.get(kinds.STATEFUL_SET, NAMESPACE, NAME)
        if statefulset is not None:
            self._statefulset(statefulset)
        self._reclaim()
        self.volumes.step(self.store)
        for ordinal in self.machines.step(self.store, self.now):
            self.disks.pop(ordinal, None)
        for pod in self.pods():
            self._node(names.ordinal(pod["metadata"]["name"]))
        self._form()
        self._elect()
        for pod in self.pods():
            self._kubelet(pod)

    def _statefulset(self, statefulset: Manifest) -> None:
        spec, meta = statefulset["spec"], statefulset["metadata"]
        text = json.dumps(spec["template"], sort_keys=True)
        revision = f"{NAME}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        for pod in self.pods():
            ordinal = names.ordinal(pod["metadata"]["name"])
            if not pod["metadata"]["ownerReferences"]:
                entry = self.store.entries[kinds.POD, NAMESPACE, pod["metadata"]["name"]]
                entry.own["metadata"]["ownerReferences"] = [{"uid": meta["uid"]}]  # adopted
            held = ordinal in self.stuck_terminating or self.machines.dead_under(pod)
            gone = "deletionTimestamp" in pod["metadata"] and not held
            if gone or ordinal >= spec["replicas"]:
                self.store.delete(kinds.POD, NAMESPACE, pod["metadata"]["name"])
                policy = spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"]
                if ordinal >= spec["replicas"] and policy == "Delete":
                    self.store.delete(kinds.CLAIM, NAMESPACE, f"data-{NAME}-{ordinal}")
        for ordinal in range(spec["replicas"]):
            self._claim(ordinal, spec)
            if self.pod(ordinal) is not None:
                continue
            if self.quota:
                note = f"create Pod {NAME}-{ordinal} in StatefulSet {NAME} failed: {self.quota}"
                self.warn(statefulset, "FailedCreate", note)
            else:
                self._create(ordinal, spec["template"], revision, meta["uid"])
        entry = self.store.entries[kinds.STATEFUL_SET, NAMESPACE, NAME]
        entry.own["status"] = {
            "observedGeneration": entry.generation,
            "updateRevision": revision,
        }

    def warn(self, about: Manifest, reason: str, note: str) -> None:
        """Record a warning of Kubernetes about an object; its own times are of another machine."""
        name, kind = about["metadata"]["name"], about["kind"]
        written = [{"manager": "kubelet", "time": self.now.isoformat()}]
        self.store.put(
            {
                "apiVersion": kinds.EVENT.api_version,
                "kind": kinds.EVENT.name,
                "metadata": {
                    "name": f"{kind}.{name}.{reason}",
                    "namespace": NAMESPACE,
                    "managedFields": written,
                },
                "type": "Warning",
                "reason": reason,
                "note": note,
                "regarding": {"kind": kind, "name": name, "uid": about["metadata"]["uid"]},
                "deprecatedLastTimestamp": (self.now + self.events_ahead).isoformat(),
            }
        )

    def _reclaim(self) -> None:
        """Let a disk go once nothing claims it."""
        for ordinal in list(self.disks):
            claim = self.store.get(kinds.CLAIM, NAMESPACE, f"data-{NAME}-{ordinal}")
            if claim is None and self.pod(ordinal) is None:
                del self.disks[ordinal]

    def scale_by_hand(self, replicas: int) -> None:
        """Do as `kubectl scale sts` does, and let its controller act on it."""
        entry = self.store.entries[kinds.STATEFUL_SET, NAMESPACE, NAME]
        for manifest in entry.applied.values():
            manifest["spec"]["replicas"] = replicas
        self._statefulset(entry.whole())
        self._reclaim()

    def delete_statefulset(self, *, orphan: bool = False) -> None:
        """Do as `kubectl delete sts` does: the pods go, and the claims as its policy says.

        With `orphan`, as with `--cascade=orphan`, the pods stay and have no owner.
        """
        statefulset = self.store.get(kinds.STATEFUL_SET, NAMESPACE, NAME)
        if statefulset is None:
            return
        policy = statefulset["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"]
        self.store.delete(kinds.STATEFUL_SET, NAMESPACE, NAME)
        if orphan:
            for pod in self.pods():
                entry = self.store.entries[kinds.POD, NAMESPACE, pod["metadata"]["name"]]
                entry.own["metadata"]["ownerReferences"] = []
            return
        for pod in self.pods():
            self.store.delete(kinds.POD, NAMESPACE, pod["metadata"]["name"])
        for claim in self.store.find(kinds.CLAIM, NAMESPACE, {}) if policy == "Delete" else []:
            self.store.delete(kinds.CLAIM, NAMESPACE, claim["metadata"]["name"])
        self._reclaim()

    def delete_cluster(self) -> None:
        """Delete the AmatersCluster, and with it whatever it owns."""
        uid = self.cluster().metadata.uid
        self.delete_statefulset()
        self.store.delete(kinds.CLUSTER, NAMESPACE, NAME)
        for (kind, _, name), entry in list(self.store.entries.items()):
            owners = entry.whole()["metadata"].get("ownerReferences") or []
            if uid in [one["uid"] for one in owners]:
                self.store.delete(kind, NAMESPACE, name)
        self._reclaim()

    def _claim(self, ordinal: int, spec: Manifest) -> None:
        name = f"data-{NAME}-{ordinal}"
        if self.store.get(kinds.CLAIM, NAMESPACE, name) is None:
            template = spec["volumeClaimTemplates"][0]
            meta = {"name": name, "namespace": NAMESPACE, "labels": spec["selector"]["matchLabels"]}
            claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}
            self.store.put(claim | {"spec": template["spec"]})

    def _create(self, ordinal: int, template: Manifest, revision: str, owner: str) -> None:
        ip = f"10.0.0.{next(self.ips)}"
        place = (NAMESPACE, f"{NAME}-{ordinal}")
        self.store.put(created(place, template, revision, owner=owner, ip=ip, now=self.now))

    def _boots(self, pod: Manifest) -> bool:
        ordinal = names.ordinal(pod["metadata"]["name"])
        image = pod["spec"]["containers"][0]["image"]
        disk = self.disks.get(ordinal, Disk())
        if self.machines.obstacle(pod) or disk.damaged:
            return False
        return image not in self.bad_images and ordinal not in self.unschedulable

    def _kubelet(self, pod: Manifest) -> None:
        """Report the node in the pod's status."""
        ordinal = names.ordinal(pod["metadata"]["name"])
        entry = self.store.entries[kinds.POD, NAMESPACE, pod["metadata"]["name"]]
        if self.machines.dead_under(pod):
            self.machines.forsake(entry, self.now)
            return
        member = next((one for one in self.members.values() if one.ordinal == ordinal), None)
        ready = member is not None and self.participates(member) and self.has_quorum()
        sick = self.sickness(pod)
        ready = ready and not self.disks[ordinal].fenced and not sick.unready
        damaged = self.disks.get(ordinal, Disk()).damaged
        placeless = self.machines.obstacle(pod)
        if not placeless and ordinal in self.unschedulable:
            placeless = self.scheduler_says or "0/3 nodes are available"
        entry.own["status"] = reported(
            pod,
            ready=ready,
            at=self.clock(ordinal).isoformat(),
            placeless=placeless,
            container=container(damaged=damaged, boots=self._boots(pod), restarts=sick.restarts),
        )

    def _node(self, ordinal: int) -> None:
        """Let the node of a pod start, claim its member, and catch up."""
        pod = self.pod(ordinal)
        if pod is None or not self.running(ordinal):
            return
        disk = self.disks.setdefault(ordinal, Disk())
        if self.boots.get(ordinal) != pod["metadata"]["uid"]:
            self.boots[ordinal] = pod["metadata"]["uid"]
            self.load_config(ordinal)
            self.started[ordinal] = self.configs[ordinal]
            return
        member = next((one for one in self.members.values() if one.ordinal == ordinal), None)
        if member is not None and not member.claimed and not disk.member and self.has_quorum():
            member.claimed = True
            disk.cluster_id, disk.member = self.cluster_id, member.id
        elif disk.member in self.members and not self.misfit(ordinal):
            lag = self.sickness(pod).lag
            disk.index = max(disk.index, min(self.index - lag, disk.index + 60))

    def load_config(self, ordinal: int) -> None:
        """Let a node read its configuration file as it is now."""
        config = self.store.get(kinds.CONFIG_MAP, NAMESPACE, f"{NAME}-config")
        self.files[ordinal] = config["data"] if config else {}
        text = self.files[ordinal].get("config.toml", "")
        self.configs[ordinal] = tomllib.loads(text)
        self.digests[ordinal] = hashlib.sha256(text.encode()).hexdigest()

    def _form(self) -> None:
        """Let nodes with empty disks form a cluster, when all that are named are there."""
        for ordinal, config in self.configs.items():
            peers = config.get("cluster", {}).get("peers", [])
            named = [names.ordinal(one.split(":", 1)[1].partition(".")[0]) for one in peers]
            disks = [self.disks.get(one) for one in named if self.running(one)]
            if ordinal not in named or len(disks) < len(named):
                continue
            if any(disk is None or disk.member for disk in disks):
                continue
            self.clusters_formed += 1
            self.cluster_id = f"cluster-{self.clusters_formed}"
            self.members = {
                number + 1: DatabaseMember(number + 1, number, claimed=True) for number in named
            }
            self.highest_id = len(named)
            for number in named:
                self.disks[number] = Disk(self.cluster_id, number + 1, self.index)

    def _elect(self) -> None:
        current = self.members.get(self.leader)
        if current is not None and not current.learner and self.participates(current):
            self.leader = self.leader if self.has_quorum() else 0
            return
        self.leader = 0
        if not self.has_quorum():
            return
        heirs = [one for one in self.voters if self.participates(one)]
        heirs = [one for one in heirs if not self.disks[one.ordinal].fenced] or heirs
        self.leader = max(heirs, key=lambda one: (self.disks[one.ordinal].index, -one.id)).id
        self.term += 1
