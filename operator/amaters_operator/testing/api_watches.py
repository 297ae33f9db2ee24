"""Watches of the fake API server: a history with resource versions, streams, and their end."""

import asyncio
import json
import marshal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.objects import ObjectStore, Place, StoredObject

GONE: Final = {
    "type": "ERROR",
    "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"},
}
_PERIOD_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object."""

    version: int
    type: str
    kind: Kind
    namespace: str
    body: Manifest


@dataclass(slots=True)
class History:
    """Every change since it was last compacted, with resource versions that only grow."""

    version: int = 1
    oldest: int = 0
    """Changes up to this version are forgotten: a watch from before it has to list again."""
    events: list[Event] = field(default_factory=list)
    cut: int = 0
    """How often all streams were cut."""
    silent: bool = False
    """Whether streams stay open and carry nothing, as through a proxy that has died."""
    _seen: dict[tuple[str, Place], tuple[bytes, int, Manifest]] = field(default_factory=dict)

    def publish(self, namespace: str, store: ObjectStore) -> None:
        """Compare the store with what was last published of it, and record what has changed."""
        for place, entry in store.entries.items():
            now, known = _fingerprint(entry), self._seen.get((namespace, place))
            if known is None or known[0] != now:
                self.version += 1
                body = self._dressed(entry.whole(), namespace, self.version)
                self._seen[namespace, place] = (now, self.version, body)
                kind = "ADDED" if known is None else "MODIFIED"
                self.events.append(Event(self.version, kind, place[0], namespace, body))
        for gone in [key for key in self._seen if key[0] == namespace]:
            if gone[1] not in store.entries:
                self.version += 1
                _, _, body = self._seen.pop(gone)
                self.events.append(Event(self.version, "DELETED", gone[1][0], namespace, body))

    def whole(self, namespace: str, place: Place, entry: StoredObject) -> Manifest:
        """Return an object as clients receive it."""
        known = self._seen.get((namespace, place))
        version = known[1] if known is not None else self.version
        return self._dressed(entry.whole(), namespace, version)

    @staticmethod
    def _dressed(body: Manifest, namespace: str, version: int) -> Manifest:
        body["metadata"] |= {"namespace": namespace, "resourceVersion": str(version)}
        return body

    def compact(self) -> None:
        """Forget all changes so far, as etcd does after some minutes."""
        self.oldest, self.events = self.version, []

    async def stream(
        self,
        since: int,
        wanted: Callable[[Event], bool],
        shown: Callable[[Manifest], Manifest],
        *,
        bookmark_seconds: float,
    ) -> AsyncIterator[bytes]:
        """Yield the changes after that version as lines, and a bookmark now and then."""
        loop = asyncio.get_running_loop()
        cut, quiet_since = self.cut, loop.time()
        while cut == self.cut:
            if since < self.oldest:
                yield _line(GONE)
                return
            for event in [one for one in self.events if one.version > since and not self.silent]:
                since = event.version
                if wanted(event):
                    quiet_since = loop.time()
                    yield _line({"type": event.type, "object": shown(event.body)})
            if loop.time() - quiet_since > bookmark_seconds and not self.silent:
                quiet_since = loop.time()
                yield _line(bookmark(self.version))
            await asyncio.sleep(_PERIOD_SECONDS)


def bookmark(version: int, *, ends_list: bool = False) -> Manifest:
    """Return a bookmark; that at the end of a streamed list says so."""
    notes = {"k8s.io/initial-events-end": "true"} if ends_list else {}
    meta = {"resourceVersion": str(version), "annotations": notes}
    return {"type": "BOOKMARK", "object": {"metadata": meta}}


def initial(bodies: list[Manifest], version: int) -> Iterator[bytes]:
    """Yield the objects that exist, as a watch that begins with them does."""
    for body in bodies:
        yield _line({"type": "ADDED", "object": body})
    yield _line(bookmark(version, ends_list=True))


def _line(event: Manifest) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _fingerprint(entry: StoredObject) -> bytes:
    return marshal.dumps((entry.uid, entry.own, entry.applied, entry.generation))
