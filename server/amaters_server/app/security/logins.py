"""Logins as the audit log and the server's log show them."""

import logging

from amaters_server.access.access import Access
from amaters_server.access.audit import Audit, Event, EventType, Outcome
from amaters_server.model.errors import DatabaseError
from amaters_server.model.principal import Principal

_log = logging.getLogger(__name__)


class LoginRecord:
    """Takes the outcome of every verification; look-ups of verified callers are none."""

    def __init__(self, access: Access, audit: Audit | None) -> None:
        self._access = access
        self._audit = audit

    def succeeded(self, principal: Principal, address: str) -> None:
        """Record a login; NotAuditedError when it may not happen unrecorded."""
        if self._audit is not None:
            role = self._access.role_text(principal)
            event = Event(EventType.AUTHENTICATION, Outcome.SUCCESS, principal, role)
            self._audit.record(event._replace(source_ip=address))

    def failed(self, error: DatabaseError, address: str) -> None:
        """Record a failure, and log it; the log's throttle counts what it leaves out."""
        _log.warning("auth.failed", extra={"address": address, "reason": str(error)})
        if self._audit is not None:
            event = Event(EventType.AUTHENTICATION, Outcome.FAILURE, error=str(error))
            self._audit.record(event._replace(source_ip=address))
