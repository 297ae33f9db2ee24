"""The one place where calls are decided: permission first, then the record, then the call.

The caller carries out exactly the operations it has asked about, at once or after asking again.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from amaters_server.access.access import Access
from amaters_server.access.audit import Audit, Details, Event, EventType, Outcome
from amaters_server.access.decision import (
    ANY_ROLE,
    PERMITTED,
    Administer,
    Asked,
    Method,
    Permission,
    all_permitted,
    named,
    permitted,
)
from amaters_server.access.grants import head_of
from amaters_server.model.errors import PermissionDeniedError
from amaters_server.model.principal import Principal
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Scan

Record = Literal["denied", "changes", "all"]


class Recorded(NamedTuple):
    """What was recorded: operations of this kind in this collection repeat it."""

    kind: type
    head: bytes
    """The beginning of all data keys of the collection."""
    key: Hashable
    """For `Audit.repeat`."""


UNRECORDED: Final = Recorded(type(None), b"", None)


class Gate:
    """Lets calls pass or raises PermissionDeniedError, and NotAuditedError (see `Audit.record`)."""

    def __init__(self, access: Access, audit: Audit | None, record: Record) -> None:
        """`record` says which permitted operations are recorded; without an audit nothing is."""
        self.access = access
        self.audit = audit
        self.denied = 0
        """Calls that were denied."""
        unrecorded = {"denied": (Get, Scan, Put, Remove), "changes": (Get, Scan), "all": ()}
        kinds: Collection[type] = unrecorded[record]
        if audit is None:
            kinds = (Get, Scan, Put, Remove, Administer, Method)
        self.unrecorded = frozenset(kinds)
        """The kinds of operations that leave no record when they are permitted."""

    def ask(self, principal: Principal, asked: Asked, source_ip: str = "") -> Recorded:
        """Pass one operation; returns what was recorded of it."""
        permission = permitted(self.access.grants(principal), asked)
        if permission is not PERMITTED:
            raise self._denied(principal, permission, source_ip, _details(asked))
        if type(asked) in self.unrecorded:
            return UNRECORDED
        return self._passed(principal, asked, source_ip)

    def repeated(self, key: Hashable) -> bool:
        """Count what was recorded with this key once more; False: it has to be asked for."""
        return self.audit is not None and self.audit.repeat(key)

    def ask_all(
        self, principal: Principal, operations: Sequence[Asked], source_ip: str = ""
    ) -> None:
        """Pass operations that are carried out together; all, or none of them."""
        index, permission = all_permitted(self.access.grants(principal), operations)
        if permission is not PERMITTED:
            details = (("query", str(index)),)
            raise self._denied(principal, permission, source_ip, details)
        if self.audit is not None:
            for one in self._recorded(operations):
                self._passed(principal, one, source_ip)

    def require(self, principal: Principal, asked: Asked, source_ip: str = "") -> None:
        """Pass what is under way once more: the roles may have changed. Only a denial is recorded."""
        permission = permitted(self.access.grants(principal), asked)
        if permission is not PERMITTED:
            raise self._denied(principal, permission, source_ip, _details(asked))

    def _recorded(self, operations: Sequence[Asked]) -> Iterable[Asked]:
        """Return one operation for each kind and collection that is recorded."""
        if isinstance(operations, Columns):
            return () if Put in self.unrecorded else _distinct(operations)
        recorded = [one for one in operations if type(one) not in self.unrecorded]
        return {(type(one), _subject(one)): one for one in recorded}.values()

    def _denied(
        self, principal: Principal, denied: Permission, source_ip: str, details: Details
    ) -> PermissionDeniedError:
        self.denied += 1
        if self.audit is not None:
            self.audit.record(
                Event(
                    EventType.AUTHORIZATION,
                    Outcome.DENIED,
                    principal,
                    self.access.role_text(principal),
                    denied.action,
                    denied.resource,
                    denied.missing,
                    source_ip,
                    details,
                )
            )
        return self.access.refusal(principal, denied)

    def _passed(self, principal: Principal, asked: Asked, source_ip: str) -> Recorded:
        audit = self.audit
        if audit is None or (isinstance(asked, Method) and asked.name in ANY_ROLE):
            return UNRECORDED
        # The event keeps the caller alive, so no other one has its id while the key counts.
        kind, subject = type(asked), _subject(asked)
        key = (id(principal), kind, subject, source_ip)
        if not audit.repeat(key):
            administers = isinstance(asked, (Administer, Method))
            event_type = EventType.ADMIN if administers else EventType.AUTHORIZATION
            role = self.access.role_text(principal)
            event = Event(event_type, Outcome.SUCCESS, principal, role, *named(asked))
            audit.record(event._replace(source_ip=source_ip, details=_details(asked)), key)
        return Recorded(kind, subject, key) if isinstance(subject, bytes) else UNRECORDED


def _subject(asked: Asked) -> str | bytes:
    """Return the command, or what tells the collection."""
    return asked[0] if isinstance(asked, Administer | Method) else head_of(asked[0])


def _details(asked: Asked) -> Details:
    if isinstance(asked, Administer | Method):
        return (("operation", asked[0]),)
    return ()


def _distinct(operations: Columns) -> Iterable[Operation]:
    """Return one operation for each kind and collection; a few more may be returned."""
    keys, values = operations.keys, operations.values
    head = head_of(keys[0])
    # The keys of a collection are one range: if its ends are in the same one, all of them are.
    if None not in values and min(keys).startswith(head) and max(keys).startswith(head):
        return [operations[0]]
    found: list[Operation] = []
    head, removes = b"", None
    for at, (key, value) in enumerate(zip(keys, values, strict=True)):
        if (value is None) is not removes or not key.startswith(head):
            head, removes = head_of(key), value is None
            found.append(operations[at])
    return found
