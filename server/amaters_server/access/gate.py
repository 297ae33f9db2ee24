"""The one place where calls are decided: permission first, then the record, then the call.

The caller carries out exactly the operations it has asked about, at once or after asking again.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

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
        self._unrecorded = frozenset(kinds)

    def ask(self, principal: Principal, asked: Asked, source_ip: str = "") -> None:
        """Pass one operation."""
        permission = permitted(self.access.grants(principal), asked)
        if permission is not PERMITTED:
            raise self._denied(principal, permission, source_ip, _details(asked))
        if type(asked) not in self._unrecorded:
            self._passed(principal, asked, source_ip)

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
            return () if Put in self._unrecorded else _distinct(operations)
        recorded = [one for one in operations if type(one) not in self._unrecorded]
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
                    ",".join(self.access.roles(principal)),
                    denied.action,
                    denied.resource,
                    denied.missing,
                    source_ip,
                    details,
                )
            )
        return self.access.refusal(principal, denied)

    def _passed(self, principal: Principal, asked: Asked, source_ip: str) -> None:
        audit = self.audit
        if audit is None or (isinstance(asked, Method) and asked.name in ANY_ROLE):
            return
        # The event keeps the caller alive, so no other one has its id while the key counts.
        key = (id(principal), type(asked), _subject(asked), source_ip)
        if not audit.repeat(key):
            administers = isinstance(asked, (Administer, Method))
            kind = EventType.ADMIN if administers else EventType.AUTHORIZATION
            role = ",".join(self.access.roles(principal))
            event = Event(kind, Outcome.SUCCESS, principal, role, *named(asked))
            audit.record(event._replace(source_ip=source_ip, details=_details(asked)), key)


def _subject(asked: Asked) -> str | bytes:
    """Return the command, or what tells the collection."""
    return asked[0] if isinstance(asked, Administer | Method) else head_of(asked[0])


def _details(asked: Asked) -> Details:
    if isinstance(asked, Administer | Method):
        return (("operation", asked[0]),)
    return ()


def _distinct(operations: Columns) -> Iterable[Operation]:
    """Return one operation for each kind and collection; a few more may be returned."""
    found: list[Operation] = []
    head, removes = b"", None
    for at, (key, value) in enumerate(zip(operations.keys, operations.values, strict=True)):
        if (value is None) is not removes or not key.startswith(head):
            head, removes = head_of(key), value is None
            found.append(operations[at])
    return found
