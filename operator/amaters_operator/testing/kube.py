"""`KubeApi` on a store in memory."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from amaters_operator.decisions.rolls import disruption_budgets
from amaters_operator.kube import kinds, secret_reads
from amaters_operator.kube.errors import (
    ApiRejectedError,
    ApiUnreachableError,
    ConflictError,
    ForbiddenError,
    KubeError,
)
from amaters_operator.kube.kinds import Kind
from amaters_operator.kube.port import MANAGER
from amaters_operator.kube.rights import ALLOWED, DISCOVERY, Right
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.crash_points import CrashPoints
from amaters_operator.testing.nodes import machines
from amaters_operator.testing.objects import ObjectStore, place_of


class FakeKube:
    """A Kubernetes API that can be down, and kills the operator on demand."""

    def __init__(
        self, store: ObjectStore, crash_points: CrashPoints, clock: Callable[[], datetime]
    ) -> None:
        self.store = store
        self._clock = clock
        self.crash_points = crash_points
        self.down = False
        self.monitors = False
        """Whether the Prometheus Operator's kinds are known."""
        self.rejects_status = False
        """Whether it accepts no status."""
        self.rejects_growth = False
        """Whether the storage class lets no volume claim grow."""
        self.refusals: dict[str, KubeError] = {}
        """The error for applying an object of that `Kind name`."""
        self.refused_evictions: list[str] = []
        self.before_deletion: Callable[[Kind, Manifest], None] = lambda *_: None
        """Sees every object that the operator deletes, just before."""
        self.requests: Counter[Right] = Counter()
        """Requests by the right that they ask for."""
        self.used: set[Right] = set()
        """Those, and what the API server checks besides: applying may create."""

    def now(self) -> datetime:
        """Return the time by the API server's clock."""
        return self._clock()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object as it is now, or None when there is none."""
        self._use(kind, "get")
        found = self.store.get(kind, namespace, name)
        secret_reads.note(kind, name, found)
        return found

    async def version(self, kind: Kind, namespace: str, name: str) -> str:
        """Return the object's resource version; empty when there is none."""
        self._use(kind, "get")
        return secret_reads.version_of(self.store.get(kind, namespace, name))

    async def find(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        """Return the objects that carry all these labels and have these fields."""
        self._use(kind, "list")
        found = self.store.find(kind, namespace, labels)
        return [one for one in found if all(_at(one, *each) for each in (fields or {}).items())]

    async def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, status: bool = False
    ) -> Manifest:
        """Apply the object, or its status."""
        kind = kinds.of(manifest)
        self._use(kind, "patch", "/status" if status else "")
        if not status and place_of(manifest) not in self.store.entries:
            self._check(kind, "create")
        if status and place_of(manifest) not in self.store.entries:
            raise ConflictError("the object is gone")
        self._check_uid(manifest)
        if self.rejects_status and status:
            raise ApiRejectedError("the status does not fit the CustomResourceDefinition")
        if self.rejects_growth and manifest["kind"] == kinds.CLAIM.name and "spec" in manifest:
            raise ApiRejectedError("the storageclass that provisions the pvc must support resize")
        if not status and (no := self.refusals.get(_called(manifest))):
            raise no
        what = f"apply {manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == kinds.EVENT.name:
            what = f"record {manifest['reason']}"
        with self.crash_points.change(f"{what} status" if status else what):
            return self.store.apply(manifest, manager, status=status)

    def _check_uid(self, manifest: Manifest) -> None:
        meta = manifest["metadata"]
        wanted, version = meta.get("uid"), meta.get("resourceVersion")
        entry = self.store.entries.get(place_of(manifest))
        if wanted and (entry is None or entry.uid != wanted):
            raise ConflictError(f"cannot apply {_called(manifest)}: the UID is another (HTTP 409)")
        if version and (entry is None or str(entry.version) != version):
            raise ConflictError(f"cannot apply {_called(manifest)}: it was modified (HTTP 409)")

    async def create(self, manifest: Manifest) -> None:
        """Create an object, unless its name is taken."""
        self._use(kinds.of(manifest), "create")
        if no := self.refusals.get(_called(manifest)):
            raise no
        if place_of(manifest) in self.store.entries:
            raise ConflictError(f"{_called(manifest)} already exists")
        with self.crash_points.change(f"create {_called(manifest)}"):
            self.store.put(manifest)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, at_once: bool = False
    ) -> None:
        """Delete exactly that object; a claim stays while a pod on a machine uses it."""
        self._use(kind, "delete")
        if kind == kinds.POD and not at_once:
            raise ApiRejectedError("the operator evicts pods, or deletes them at once")
        found = self.store.get(kind, namespace, name)
        if found is not None and found["metadata"]["uid"] == uid:
            self.before_deletion(kind, found)
        with self.crash_points.change(f"delete {kind.name} {name}"):
            if kind == kinds.CLAIM:
                machines.delete_claim(self.store, namespace, name, uid, self.now())
            else:
                self.store.delete(kind, namespace, name, uid)

    async def evict(self, namespace: str, name: str, *, uid: str) -> str:
        """Evict exactly that pod, as far as the disruption budget allows."""
        self._use(kinds.POD, "create", "/eviction")
        with self.crash_points.change(f"evict {name}"):
            pod = self.store.get(kinds.POD, namespace, name)
            if pod is None or pod["metadata"]["uid"] != uid:
                return ""
            if why := self._budget(namespace, pod):
                self.refused_evictions.append(name)
                return why
            entry = self.store.entries[kinds.POD, namespace, name]
            grace = timedelta(seconds=pod["spec"].get("terminationGracePeriodSeconds", 30))
            entry.own["metadata"]["deletionTimestamp"] = (self.now() + grace).isoformat()
            return ""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind."""
        self._answer()
        self.requests[Right("", DISCOVERY, "get")] += 1
        return kind != kinds.MONITOR or self.monitors

    def _use(self, kind: Kind, verb: str, subresource: str = "") -> None:
        self._answer()
        self.requests[self._check(kind, verb, subresource)] += 1

    def _check(self, kind: Kind, verb: str, subresource: str = "") -> Right:
        """Refuse, as the API server does, what the chart does not grant."""
        right = Right(kind.group, kind.plural + subresource, verb)
        if right not in ALLOWED:
            raise ForbiddenError(
                f"{right.resource} is forbidden: cannot {verb} resource {right.qualified!r} "
                "(HTTP 403): declare it in kube/rights.py and grant it in the chart"
            )
        self.used.add(right)
        return right

    def _answer(self) -> None:
        if self.down:
            raise ApiUnreachableError("the Kubernetes API does not answer (by order of a test)")

    def _budget(self, namespace: str, pod: Manifest) -> str:
        if not is_ready(pod):
            return ""
        found = self.store.find(kinds.BUDGET, namespace, {})
        worn = pod["metadata"]["labels"]
        selectors = [one["spec"]["selector"] for one in found]
        covering = [one for one in selectors if disruption_budgets.covers(one, worn)]
        if len(covering) > 1:
            raise ApiUnreachableError(
                f"cannot evict pod {namespace}/{pod['metadata']['name']}: This pod has more than "
                "one PodDisruptionBudget, which the eviction subresource does not support. "
                "(HTTP 500)"
            )
        pods = self.store.find(kinds.POD, namespace, {})
        for selector in covering:
            covered = [
                one
                for one in pods
                if disruption_budgets.covers(selector, one["metadata"]["labels"])
            ]
            if sum(not is_ready(one) for one in covered) >= 1:
                return "Cannot evict pod as it would violate the pod's disruption budget."
        return ""


def _called(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _at(manifest: Manifest, path: str, value: str) -> bool:
    """Whether the field at that dotted path has that value."""
    found: Any = manifest
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return bool(found == value)


def is_ready(pod: Manifest) -> bool:
    """Whether the pod is ready and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
