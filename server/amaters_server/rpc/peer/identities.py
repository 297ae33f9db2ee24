"""The callers of the internal listener by connection: who they are, and what was refused them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from amaters_server.identity.connection import ip_address
from amaters_server.model.principal import ForwardedFor, Principal
from amaters_server.rpc.peer.certificates import (
    NAMELESS,
    Administrators,
    CertificateNames,
    impostor,
    names_of,
    names_of_chain,
)
from amaters_server.rpc.transport.credentials import ProvideCredentials

log = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0
"""Between two lines about the same address at least."""
MOST_REMEMBERED = 256
"""Addresses whose last line is remembered; beyond it refusals are only counted."""


GONE = "the connection has ended"
"""Why a caller that has left meanwhile is refused, which is neither counted nor logged."""


class Refusal(StrEnum):
    """What callers of the internal port are refused."""

    SENDER = "sender"
    """To be the member that they name."""
    ADMINISTRATION = "administration"


class Connection(Protocol):
    """What the listener knows of a connection."""

    @property
    def peer(self) -> str:
        """Return host:port of the caller."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """Return the caller's verified certificate (DER); None without one."""
        ...


@dataclass(slots=True)
class RefusalLog:
    """Counts refusals, and logs each kind for an address at most once a minute."""

    counts: dict[str, int] = field(default_factory=lambda: {one.value: 0 for one in Refusal})
    _logged: dict[tuple[Refusal, str], float] = field(default_factory=dict)

    def add(self, kind: Refusal, host: str, reason: str, now: float) -> None:
        """Count one, and log it if that is due."""
        self.counts[kind] += 1
        key = (kind, host)
        due = now - SILENCE_SECONDS
        if self._logged.get(key, due) > due:
            return
        if len(self._logged) >= MOST_REMEMBERED:
            self._logged = {one: at for one, at in self._logged.items() if at > due}
        if len(self._logged) < MOST_REMEMBERED:
            self._logged[key] = now
            facts = {"address": host, "refused": kind.value, "count": self.counts[kind]}
            log.warning("internal.refused", extra=facts | {"reason": reason})


class Identities:
    """Tells the callers of one internal listener apart. Belongs to the event loop."""

    def __init__(
        self,
        own: ProvideCredentials,
        administrators: Administrators,
        unix_seconds: Callable[[], float],
    ) -> None:
        """`own` is what this node shows now, to members and to administrators."""
        self.refusals = RefusalLog()
        self._own = own
        self._administrators = administrators
        self._unix_seconds = unix_seconds
        self._connection: Callable[[int], Connection | None] = _unknown

    def serve(self, connection: Callable[[int], Connection | None]) -> None:
        """Look connections up there from now on."""
        self._connection = connection

    def host(self, connection: int) -> str:
        """Return the address of the caller; empty when it has left."""
        found = self._connection(connection)
        return "" if found is None else ip_address(found.peer)

    def principal(self, connection: int) -> Principal:
        """Return the caller, with the role that it has on this port."""
        der = self._certificate(connection) if self._verifies() else None
        return self._administrators.principal(der, self._own_names(), self._unix_seconds())

    def caller(self, connection: int) -> ForwardedFor:
        """Return on whose behalf a call over the connection is passed on."""
        return ForwardedFor(self.principal(connection), self.host(connection), internal=True)

    def impostor(self, connection: int, who: str, addresses: Sequence[str]) -> str:
        """Return why the caller cannot be who is dialed there; empty if it can."""
        if not self._verifies():
            return ""
        certificate = self._certificate(connection)
        if not certificate:
            return GONE
        reason = impostor(names_of(certificate), self._own_names(), who, addresses)
        if reason:
            self.refuse(Refusal.SENDER, connection, reason)
        return reason

    def refuse(self, kind: Refusal, connection: int, reason: str) -> None:
        """Count a refusal, and log it if that is due; not of a caller that has left meanwhile."""
        host = self.host(connection)
        if host:
            self.refusals.add(kind, host, reason, asyncio.get_running_loop().time())

    def _verifies(self) -> bool:
        """Whether callers show certificates."""
        own = self._own()
        return own is not None and own.require_client_cert

    def _certificate(self, connection: int) -> bytes:
        """Return the caller's certificate; empty once it has left, which names nobody."""
        found = self._connection(connection)
        return b"" if found is None else found.certificate or b""

    def _own_names(self) -> CertificateNames:
        own = self._own()
        return NAMELESS if own is None else names_of_chain(own.certificate)


def _unknown(_: int) -> Connection | None:
    return None
