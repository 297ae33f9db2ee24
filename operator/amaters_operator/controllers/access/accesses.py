"""One cluster's AmatersAccess objects in a pass: read, decide, write Secrets, report.

A list of all of them decides, in every pass: rights of a deleted object are gone with it. Keys are
in their Secrets alone: into no status, no event, no log and no other object.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from amaters_operator import manifests
from amaters_operator.api.access import ACCESS_KIND, AccessSpec, AccessStatus, AmatersAccess
from amaters_operator.api.cluster import API_VERSION, AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.controllers.reporting import Reporter, Severity
from amaters_operator.decisions.access import admission, renewal, reports
from amaters_operator.decisions.access.admission import Refusal
from amaters_operator.decisions.access.reports import Outcome
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ApiRejectedError, ForbiddenError, KubeError
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import access_secret, config, grants
from amaters_operator.manifests.access_secret import Keys
from amaters_operator.manifests.grants import Grant
from amaters_operator.manifests.names import Manifest

_log = logging.getLogger(__name__)
_NEVER, _SOON = timedelta.max, timedelta(seconds=2)
_AT_ONCE = 8
"""Secrets that are read at the same time."""


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of a cluster, and what a pass makes of each."""

    outcomes: tuple[Outcome, ...] = ()

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What the nodes are to load, always in the same order."""
        given = (one.grant for one in self.outcomes if one.grant is not None)
        return tuple(sorted(given, key=lambda one: one.role.name))


def new_key() -> str:
    """Return 32 random bytes as a key."""
    return access_secret.KEY_PREFIX + secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Accesses:
    """Reads and reports the objects of clusters, and keeps the Secrets of their users."""

    kube: KubeApi
    reporter: Reporter | None = None
    """Records events; None where nothing is written."""
    make_key: Callable[[], str] = new_key

    async def grants(self, cluster: AmatersCluster) -> tuple[Grant, ...]:
        """Return what the nodes are to load by what there is; nothing is written."""
        return (await self.find(cluster, write=False)).grants

    async def find(self, cluster: AmatersCluster, *, write: bool = True) -> Found:
        """Return the objects, once the Secrets of their users hold what is due."""
        known = await self._listed(cluster.namespace, cluster.name)
        read = [one for one in known if isinstance(one, AmatersAccess)]
        invalid = [one for one in known if isinstance(one, Outcome)]
        if not known:
            return Found()
        base = sum(len(text.encode()) for text in _base(cluster).values())
        admitted = admission.admission(cluster, read, base_bytes=base)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def outcome(access: AmatersAccess) -> Outcome:
            refusal = admitted[access.name]
            if refusal is not None:
                return Outcome(access, refusal=refusal)
            if access.spec.user is None:
                return Outcome(access, grants.grant(access))
            async with gate:
                return await self._user(access, write=write)

        return Found((*invalid, *_distinct(await asyncio.gather(*map(outcome, read)))))

    async def report(self, found: Found, behind: str) -> timedelta:
        """Write the statuses that say anything new; return when another pass is due at the latest.

        `behind` says which nodes have not loaded the newest configuration.
        """
        pauses = [_NEVER]
        for one in found.outcomes:
            now = self.kube.now()
            status = reports.status(one, behind, now)
            await self._write(one.access, status)
            if status.keys != one.access.status.keys:
                # A renewal may go on: every node knows the next key.
                pauses.append(_SOON)
            elif one.due is not None and one.refusal is None:
                pauses.append(max(one.due - now, _SOON))
        return min(pauses)

    async def without_cluster(self, namespace: str, name: str) -> None:
        """Report that objects name a cluster that is not there."""
        text = (
            f"there is no AmatersCluster {name} in namespace {namespace}: create it, or delete "
            "this object. Objects are of the cluster's own namespace"
        )
        await self._refuse_all(namespace, name, Refusal("ClusterNotFound", text))

    async def held(self, cluster: AmatersCluster, why: str) -> None:
        """Report that nothing of the cluster is changed now; what is in force stays so."""
        text = f"AmatersCluster {cluster.name} is not reconciled: {why}"
        refusal = Refusal("ClusterStalled", text)
        await self._refuse_all(cluster.namespace, cluster.name, refusal, but_in_force=True)

    async def _refuse_all(
        self, namespace: str, name: str, refusal: Refusal, *, but_in_force: bool = False
    ) -> None:
        for one in await self._listed(namespace, name):
            access = one.access if isinstance(one, Outcome) else one
            if but_in_force and access.status.in_force:
                continue
            status = reports.refused(access, refusal, self.kube.now())
            await self._write(access, status)

    async def _listed(self, namespace: str, name: str) -> list[AmatersAccess | Outcome]:
        """Return the objects that name the cluster; those of no form with what is wrong."""
        raw = await self.kube.find(kinds.ACCESS, namespace, labels={})
        mine = [one for one in raw if (one.get("spec") or {}).get("clusterName") == name]
        return [_parsed(one) for one in mine if "deletionTimestamp" not in one["metadata"]]

    async def _user(self, access: AmatersAccess, *, write: bool) -> Outcome:
        user = access.spec.user
        if user is None:
            raise TypeError("the object names no user")
        found = await self.kube.get(kinds.SECRET, access.namespace, access.secret_name)
        if found is not None and not access_secret.owned(access, found):
            return Outcome(access, refusal=_foreign(access))
        now = self.kube.now()
        keys = None if found is None else access_secret.read(found, now)
        problem: Refusal | None = None
        if write:
            keys, problem = await self._renewed(access, found, keys, now)
        if keys is None:
            return Outcome(access, refusal=problem or _HELD)
        given = grants.grant(access, keys.hashes(access.name))
        renews_at = renewal.renews_at(user, keys)
        due = renewal.due(user, keys) if write else None
        return Outcome(access, given, problem, renews_at, due)

    async def _renewed(
        self, access: AmatersAccess, found: Manifest | None, keys: Keys | None, now: datetime
    ) -> tuple[Keys | None, Refusal | None]:
        """Write what is due to the Secret; return what it holds now, and why it was refused."""
        user = access.spec.user
        if user is None:
            raise TypeError("the object names no user")
        held = () if keys is None else keys.hashes(access.name)
        loaded = reports.loaded(access, grants.grant(access, held))
        due = renewal.next_keys(user, keys, now, loaded=loaded, new_key=self.make_key)
        made = access_secret.secret(access, due)
        if found is not None and access_secret.written(made, found):
            return due, None
        try:
            if found is None:
                await self.kube.create(made)
            else:
                meta = found["metadata"]
                read = {key: meta[key] for key in ("uid", "resourceVersion")}
                await self.kube.apply(made | {"metadata": made["metadata"] | read})
        except (ForbiddenError, ApiRejectedError) as error:
            return keys, _not_written(access, error)
        _log.info("access.secret_written", extra={"access": access.key})
        if keys is None or keys.current != due.current:
            await self._event(access, "KeyMade", _made(access, due))
        return due, None

    async def _write(self, access: AmatersAccess, status: AccessStatus) -> None:
        new, old = (_dumped(one) for one in (status, access.status))
        if new == old:
            return
        meta = {"name": access.name, "namespace": access.namespace}
        made = {"apiVersion": API_VERSION, "kind": ACCESS_KIND, "metadata": meta, "status": new}
        try:
            await self.kube.apply(made, status=True)
        except KubeError as error:
            # It may be gone by now; one that cannot be reported must not hold up the cluster.
            _log.warning("access.status_lost", extra={"access": access.key, "error": str(error)})
            return
        for one in _news(access.status, status):
            kind: Severity = "Normal" if one.status == "True" else "Warning"
            await self._event(access, one.reason, one.message, kind=kind)

    async def _event(
        self, access: AmatersAccess, reason: str, note: str, *, kind: Severity = "Normal"
    ) -> None:
        if self.reporter is not None:
            await self.reporter.event(access, reason, note, kind=kind)


def _distinct(found: Iterable[Outcome]) -> Iterator[Outcome]:
    """Refuse a copied key to the younger object: nodes refuse a whole file with one key twice."""
    owners: dict[str, str] = {}
    for one in sorted(found, key=lambda each: admission.age(each.access)):
        digests = set() if one.grant is None else {key.digest for key in one.grant.keys}
        if taken := sorted(digests & owners.keys()):
            yield replace(one, grant=None, refusal=_copied(one.access, owners[taken[0]]))
            continue
        owners |= dict.fromkeys(digests, one.access.name)
        yield one


def _copied(access: AmatersAccess, older: str) -> Refusal:
    text = (
        f"Secret {access.secret_name} holds a key of the older AmatersAccess {older}, and a key is "
        f"of one user: `kubectl delete secret {access.secret_name}`, and another key is made"
    )
    return Refusal("KeyTaken", text)


def _dumped(status: AccessStatus) -> Manifest:
    made = status.model_dump(by_alias=True, mode="json")
    return {name: one for name, one in made.items() if one not in (None, "", [])}


def _news(before: AccessStatus, after: AccessStatus) -> list[Condition]:
    """Return the conditions that get an event: that it counts now, or why it does not.

    Rights that are on their way are none: that is what follows each edit.
    """
    known = {one.type: one.reason for one in before.conditions}
    told = [one for one in after.conditions if known.get(one.type) != one.reason]
    ready = [one for one in told if one.type == ConditionType.READY and one.reason != "Loading"]
    held = [one for one in told if one.type == ConditionType.STALLED and one.status == "True"]
    held = [one.model_copy(update={"status": "False"}) for one in held]
    return ready or held


def _made(access: AmatersAccess, keys: Keys) -> str:
    text = f"Secret {access.secret_name} has a new key"
    if keys.previous_ends is None:
        return text
    return f"{text}; the one before works until {timestamp_text(keys.previous_ends)}"


def _base(cluster: AmatersCluster) -> dict[str, str]:
    """Return the nodes' files without any object, about as long as they will be."""
    first = manifests.initial_members(cluster)
    shape = manifests.Shape(config.LARGEST, first, formed=True, volume_size="")
    data: dict[str, str] = config.config_map(cluster, shape)["data"]
    return data


def _parsed(raw: Manifest) -> AmatersAccess | Outcome:
    try:
        return AmatersAccess.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}: correct the object; until then it gives nothing"
        bare = {"metadata": raw["metadata"], "spec": _NO_SPEC}
        return Outcome(AmatersAccess.model_validate(bare), refusal=Refusal("InvalidSpec", text))


_NO_SPEC = AccessSpec(cluster_name="none", collections=["none"], verbs=["read"])


_HELD = Refusal("Held", "its Secret is made once the cluster's spec.paused is false", lasting=False)


def _foreign(access: AmatersAccess) -> Refusal:
    text = (
        f"Secret {access.secret_name} exists and belongs to another owner: delete or rename it, or "
        "create this object under another name"
    )
    return Refusal("SecretNameTaken", text)


def _not_written(access: AmatersAccess, error: KubeError) -> Refusal:
    if isinstance(error, ForbiddenError):
        text = (
            f"the operator may not write Secret {access.secret_name}: set access.secrets in the "
            "values of its chart, or let pods log in as ServiceAccounts, which needs no Secret"
        )
        return Refusal("SecretForbidden", text)
    text = (
        f"the API server refuses Secret {access.secret_name}: an admission webhook, a quota, or a "
        "Secret that was made immutable. Correct that, or delete the Secret for a new key"
    )
    return Refusal("SecretRefused", text)
