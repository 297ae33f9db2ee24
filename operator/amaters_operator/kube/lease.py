"""Leader election: only the operator that holds the Lease works.

The holder renews it every two seconds. Another operator that has not observed a renewal for twelve
seconds of its own clock acquires it. A holder that cannot renew for nine seconds gives up before
that, so that two never work at once as long as their clocks run at the same speed. The nine seconds
start before the renewal is sent: no process can have observed it earlier.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from amaters_operator.kube import kinds
from amaters_operator.kube.clock import micro_time
from amaters_operator.kube.errors import ConflictError, KubeError, LeaseLostError
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """How often a Lease is renewed, and how long it is valid without that."""

    duration_seconds: float = 12.0
    renew_seconds: float = 2.0
    give_up_seconds: float = 9.0


CALL_SECONDS = 4.0
"""How long one call to the API may take: a second one fits before giving up."""


class LeaseStore(Protocol):
    """The API calls for the Lease; `replace` fails when another writer was first."""

    def now(self) -> datetime:
        """Return the time by the API server's clock, once it has answered."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None when there is none."""

    async def create(self, manifest: Manifest) -> None:
        """Create the object; ConflictError when it exists."""

    async def replace(self, manifest: Manifest) -> None:
        """Replace the object; ConflictError when it changed since it was read."""


@dataclass(slots=True)
class _Observed:
    """The Lease as last observed, and since when by our own clock."""

    holder: str = ""
    renewed: str = ""
    since: float = 0.0


class Lease:
    """A named Lease that this process holds or waits for, under its identity."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        namespace: str,
        name: str,
        identity: str,
        monotonic: Callable[[], float],
        timings: LeaseTimings = LeaseTimings(),
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._monotonic = monotonic
        self._timings = timings
        self._observed = _Observed()
        self._until = -math.inf

    @property
    def held(self) -> bool:
        """Whether no other process can hold it at this moment. Thread-safe."""
        return self._monotonic() < self._until

    async def acquire(self) -> None:
        """Return once this process holds the Lease."""
        while not await self._acquire_once():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(self._timings.renew_seconds)

    async def hold(self) -> None:
        """Renew the Lease until cancelled; LeaseLostError once it cannot be relied on."""
        while True:
            await asyncio.sleep(self._timings.renew_seconds)
            if not await self._renew() and not self.held:
                raise LeaseLostError(
                    f"the Lease {self._namespace}/{self._name} could not be renewed for "
                    f"{self._timings.give_up_seconds:.0f} s: another operator may take over"
                )

    async def release(self) -> None:
        """Let another operator take over at once; a failure only delays that."""
        self._until = -math.inf
        try:
            async with asyncio.timeout(self._timings.renew_seconds):
                lease = await self._store.get(kinds.LEASE, self._namespace, self._name)
                if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                    return
                await self._store.replace(self._written(lease, holder=""))
        except (KubeError, TimeoutError):
            return

    async def _renew(self) -> bool:
        """Try once; a Lease with another holder is certainly lost."""
        try:
            async with asyncio.timeout(max(self._until - self._monotonic(), 0.1)):
                held = await self._acquire_once()
        except TimeoutError:
            return False
        if not held and self._observed.holder not in ("", self._identity):
            self._until = -math.inf
            raise LeaseLostError(
                f"the Lease {self._namespace}/{self._name} is held by {self._observed.holder}"
            )
        return held

    async def _acquire_once(self) -> bool:
        """Acquire or renew the Lease if that is allowed, and record how long it is valid."""
        asked = self._monotonic()
        if not await self._write_holder():
            return False
        self._until = asked + self._timings.give_up_seconds
        return True

    async def _write_holder(self) -> bool:
        """Write our identity into the Lease if that is allowed; return whether it is there."""
        try:
            lease = await self._store.get(kinds.LEASE, self._namespace, self._name)
            if lease is None:
                await self._store.create(self._written(None, holder=self._identity))
                return True
            if not self._may_take(lease):
                return False
            await self._store.replace(self._written(lease, holder=self._identity))
        except ConflictError:
            return False
        except KubeError as error:
            _log.warning("lease.unknown", extra={"lease": self._name, "error": str(error)})
            return False
        return True

    def _may_take(self, lease: Manifest) -> bool:
        spec = lease.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if (holder, renewed) != (self._observed.holder, self._observed.renewed):
            self._observed = _Observed(holder, renewed, self._monotonic())
        if holder in ("", self._identity):
            return True
        # Never by the holder's clock: only by how long it was observed unchanged.
        return self._monotonic() - self._observed.since > self._timings.duration_seconds

    def _written(self, lease: Manifest | None, *, holder: str) -> Manifest:
        # For people only: nobody compares it with a clock, and the operator reads none of its own.
        now = micro_time(self._store.now())
        spec = dict((lease or {}).get("spec") or {})
        taken = spec.get("holderIdentity") != holder
        transitions = int(spec.get("leaseTransitions") or 0) + (1 if taken and holder else 0)
        meta = (lease or {}).get("metadata") or {"namespace": self._namespace, "name": self._name}
        return {
            "apiVersion": kinds.LEASE.api_version,
            "kind": kinds.LEASE.name,
            "metadata": meta,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": math.ceil(self._timings.duration_seconds),
                "acquireTime": now if taken else spec.get("acquireTime", now),
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
