"""Who calls on the internal port, by the certificate that the listener has verified. Pure.

A member is a caller whose certificate is valid for the address at which that member is dialed: what
the other members verify whenever they connect to it. An administrator is a principal that the
configuration names; where it names none, the holder of a certificate with this node's own names.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from amaters_server.config.addresses import host_port
from amaters_server.identity.certificates import CertificateRules, principal_of
from amaters_server.identity.patterns import NamePatterns
from amaters_server.model.errors import CertificateRefusedError
from amaters_server.model.principal import ANONYMOUS, Principal, PrincipalKind

ADMIN, MEMBER = "admin", "member"
"""The roles on the internal port: a caller has one of them."""
MOST_REMEMBERED = 256
"""Certificates that are kept parsed."""
MOST_SHOWN = 4
"""Names of a certificate in a text."""


class CertificateNames(NamedTuple):
    """Everything that a certificate is issued for."""

    subject: x509.Name | None
    common_name: str
    alternatives: frozenset[str]
    """SANs: `dns:` in lower case, `ip:`, `email:`, `uri:`."""
    ends: float

    @property
    def shown(self) -> str:
        """Return the names for people."""
        names = [self.common_name, *sorted(self.alternatives)] if self.common_name else []
        names = names or sorted(self.alternatives)
        more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        return (", ".join(names[:MOST_SHOWN]) or "nothing") + more

    def cover(self, address: str) -> bool:
        """Whether a member may be dialed at that host:port and show this certificate."""
        try:
            host = host_port(address).host
        except ValueError:
            return False
        try:
            return f"ip:{ipaddress.ip_address(host)}" in self.alternatives
        except ValueError:
            name = host.lower().rstrip(".")
        _, dot, parent = name.partition(".")
        return f"dns:{name}" in self.alternatives or (
            bool(dot) and f"dns:*.{parent}" in self.alternatives
        )

    def include(self, own: "CertificateNames") -> bool:
        """Whether this one is for the same subject, and for all that the other one is for."""
        same = self.subject is not None and self.subject == own.subject
        return same and bool(own.alternatives) and self.alternatives >= own.alternatives


NAMELESS = CertificateNames(None, "", frozenset(), 0.0)
"""What a certificate that cannot be read is issued for."""


@lru_cache(maxsize=MOST_REMEMBERED)
def names_of(der: bytes) -> CertificateNames:
    """Return the names in a certificate."""
    try:
        return _names(x509.load_der_x509_certificate(der))
    # cryptography parses lazily, and fails in more ways than it documents.
    except Exception:  # noqa: BLE001
        return NAMELESS


@lru_cache(maxsize=4)
def names_of_chain(pem: bytes) -> CertificateNames:
    """Return the names in the first certificate of a file."""
    try:
        return _names(x509.load_pem_x509_certificates(pem)[0])
    except Exception:  # noqa: BLE001 As above.
        return NAMELESS


def _names(certificate: x509.Certificate) -> CertificateNames:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = found[0].value if found else ""
    return CertificateNames(
        certificate.subject,
        name if isinstance(name, str) and name.isprintable() else "",
        frozenset(one for one in _alternatives(certificate) if one.isprintable()),
        certificate.not_valid_after_utc.timestamp(),
    )


def _alternatives(certificate: x509.Certificate) -> Iterable[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (f"dns:{one.lower().rstrip('.')}" for one in _of(found, x509.DNSName))
    yield from (f"ip:{one}" for one in _of(found, x509.IPAddress))
    yield from (f"email:{one}" for one in _of(found, x509.RFC822Name))
    yield from (f"uri:{one}" for one in _of(found, x509.UniformResourceIdentifier))


def _of(found: x509.SubjectAlternativeName, kind: type[x509.GeneralName]) -> Sequence[str]:
    return [str(one) for one in found.get_values_for_type(kind)]  # type: ignore[arg-type]


class Administrators:
    """Whose certificates administer."""

    def __init__(self, principals: Sequence[str] = ()) -> None:
        """Take patterns as `auth.mtls.allowed_principals` has them; none: this node's own names."""
        self._rules = CertificateRules(verify_cn=False, principals=NamePatterns(principals))
        self._known: dict[tuple[bytes, CertificateNames], Principal] = {}

    def principal(self, der: bytes | None, own: CertificateNames, now: float) -> Principal:
        """Return the caller, with the one role that it has on the internal port."""
        if der is None:
            # Without client certificates there is nothing to tell callers apart by.
            return ANONYMOUS
        # The same object for the same caller: the audit log counts its equal calls by that.
        known = self._known.get((der, own))
        if known is None or known.expired(now):
            known = self._found(der, own, now)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[der, own] = known
        return known

    def _found(self, der: bytes, own: CertificateNames, now: float) -> Principal:
        names = names_of(der)
        if self._rules.principals:
            try:
                found = principal_of(der, self._rules, now)
            except CertificateRefusedError:
                return _principal(names, MEMBER)
            return Principal(found.name, found.kind, (ADMIN,), found.expires_at)
        administers = names.include(own) and now < names.ends
        return _principal(names, ADMIN if administers else MEMBER)


def _principal(names: CertificateNames, role: str) -> Principal:
    name = names.common_name or next(
        iter(sorted(names.alternatives)), "a certificate without names"
    )
    return Principal(name, PrincipalKind.CERTIFICATE, (role,), names.ends)


def impostor(
    names: CertificateNames, own: CertificateNames, who: str, addresses: Sequence[str]
) -> str:
    """Return why the caller cannot be who is dialed there; empty if it can.

    Without an address this node does not know the member yet, and believes only its own names.
    """
    if any(map(names.cover, addresses)) or (not addresses and names.include(own)):
        return ""
    if not addresses:
        return (
            f"{who} is not known here yet: it is accepted once this node has applied its addition"
        )
    return (
        f"the certificate is for {names.shown}, and {who} is at {' or '.join(addresses)}: "
        "use its own certificate, or issue one for that address"
    )
