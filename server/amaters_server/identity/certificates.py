"""Client certificates to principals. Pure.

The listener has verified the chain, and that the caller has the key. Here it is decided who that is
and whether they may call: subject, SANs, organization, issuer, and the lists of revoked
certificates. Those are searched for the caller's own certificate, not for authorities above it.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from amaters_server.identity.patterns import NamePatterns, RoleMap
from amaters_server.model.errors import CertificateRefusedError
from amaters_server.model.principal import Principal, PrincipalKind

CLIENT_USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
SAN_PREFIXES = ("dns:", "email:", "uri:")
Revoked = Mapping[bytes, frozenset[int]]
"""Issuer (DER of its name) to serial numbers."""


@dataclass(frozen=True, slots=True)
class CertificateRules:
    """Whom the certificates name, and who of them may call."""

    verify_cn: bool = True
    by_organization: bool = False
    """The caller's name is its organization."""
    organizations: frozenset[str] = frozenset()
    principals: NamePatterns = field(default_factory=lambda: NamePatterns(()))
    roles: RoleMap = field(default_factory=lambda: RoleMap({}))
    issuers: tuple[x509.Certificate, ...] = ()
    """Empty: whoever the listener trusts."""
    revoked: Revoked = field(default_factory=dict)


def refused(why: str) -> CertificateRefusedError:
    """Return the error for a certificate."""
    return CertificateRefusedError(f"Certificate validation failed: {why}")


def principal_of(der: bytes, rules: CertificateRules, now: float) -> Principal:
    """Return the holder; CertificateRefusedError says why there is none."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        subject, sans = certificate.subject, _sans(certificate)
        issuer = certificate.issuer.public_bytes()
    # cryptography parses lazily, and fails in more ways than it documents.
    except Exception:  # noqa: BLE001
        raise refused("it cannot be read") from None
    _require_client(certificate)
    _require_valid(certificate, now)
    if certificate.serial_number in rules.revoked.get(issuer, ()):
        raise refused(f"it is revoked (serial {certificate.serial_number:x}): ask for a new one")
    if rules.issuers and not any(_issued(certificate, one) for one in rules.issuers):
        raise refused("its issuer is none of those in auth.mtls.ca_certs_dir")
    counts = rules.by_organization or rules.organizations
    organization = _only(subject, NameOID.ORGANIZATION_NAME, "organizations (O)") if counts else ""
    if rules.organizations and organization not in rules.organizations:
        raise refused("its organization (O) is not in auth.mtls.allowed_organizations")
    name = organization if rules.by_organization else _common_name(subject, sans, rules)
    _require_plain(name)
    names = (name, *sans)
    if rules.principals and not rules.principals.match(names):
        raise refused(f"{name} is not in auth.mtls.allowed_principals")
    ends = certificate.not_valid_after_utc.timestamp()
    return Principal(name, PrincipalKind.CERTIFICATE, rules.roles.of(names), ends)


def _require_client(certificate: x509.Certificate) -> None:
    extensions = certificate.extensions
    with suppress(x509.ExtensionNotFound):
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise refused("it is that of an authority, which calls nothing: issue one below it")
    with suppress(x509.ExtensionNotFound):
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not any(usage in CLIENT_USAGES for usage in usages):
            raise refused("it is not issued for clients: issue one with the usage clientAuth")


def _require_valid(certificate: x509.Certificate, now: float) -> None:
    # The listener looked when the connection began, which may be long ago.
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < starts.timestamp():
        raise refused(f"it is valid only from {starts.isoformat()}: compare the clocks")
    if now >= ends.timestamp():
        raise refused(f"it ended at {ends.isoformat()}: renew it")


def _require_plain(name: str) -> None:
    if not name:
        raise refused("it names no organization (O)")
    if not name.isprintable() or name.startswith(SAN_PREFIXES):
        raise refused("its name could be taken for another: issue it with a plain one")


def _common_name(subject: x509.Name, sans: Sequence[str], rules: CertificateRules) -> str:
    name = _only(subject, NameOID.COMMON_NAME, "common names (CN)")
    if not name and not rules.verify_cn and sans:
        return sans[0].partition(":")[2]
    if not name:
        raise refused("No CN in certificate")
    return name


def _only(name: x509.Name, oid: x509.ObjectIdentifier, what: str) -> str:
    found = name.get_attributes_for_oid(oid)
    if len(found) > 1:
        raise refused(f"it has several {what}, and readers take different ones: issue it with one")
    value = found[0].value if found else ""
    return value if isinstance(value, str) else ""


def _sans(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    named = (
        found.get_values_for_type(x509.DNSName),
        found.get_values_for_type(x509.RFC822Name),
        found.get_values_for_type(x509.UniformResourceIdentifier),
    )
    return tuple(
        prefix + value
        for prefix, values in zip(SAN_PREFIXES, named, strict=True)
        for value in values
        # A wildcard is for a server of many names, and names no caller.
        if value.isprintable() and "*" not in value
    )


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def certificates_of(content: bytes) -> list[x509.Certificate]:
    """Return the certificates of a file, PEM or DER; ValueError if it holds none."""
    if b"-----BEGIN" in content:
        return x509.load_pem_x509_certificates(content)
    return [x509.load_der_x509_certificate(content)]


def revoked_of(
    content: bytes, authorities: Iterable[x509.Certificate], now: float
) -> tuple[Revoked, list[str]]:
    """Return what lists revoke (PEM, several even, or DER), and warnings about them.

    ValueError if one cannot be read, or is not signed by one of the authorities; with none known,
    the file is believed.
    """
    revoked: dict[bytes, frozenset[int]] = {}
    warnings = []
    for one in _lists_of(content):
        issuer = one.issuer.public_bytes()
        signers = [each for each in authorities if each.subject.public_bytes() == issuer]
        if list(authorities) and not any(_signed(one, each) for each in signers):
            raise ValueError(
                f"the list of {one.issuer.rfc4514_string()} is signed by no authority known here"
            )
        _require_whole(one)
        serials = frozenset(entry.serial_number for entry in one)
        revoked[issuer] = revoked.get(issuer, frozenset()) | serials
        due = one.next_update_utc
        if due is not None and due.timestamp() < now:
            due_at = due.astimezone(UTC).isoformat()
            warnings.append(f"the list of {one.issuer.rfc4514_string()} was due again at {due_at}")
    return revoked, warnings


def _lists_of(content: bytes) -> list[x509.CertificateRevocationList]:
    end = b"-----END X509 CRL-----"
    if b"-----BEGIN" not in content:
        return [x509.load_der_x509_crl(content)]
    parts = [part for part in content.split(end) if b"-----BEGIN X509 CRL" in part]
    if not parts:
        raise ValueError("it holds no list of revoked certificates")
    return [x509.load_pem_x509_crl(part + end + b"\n") for part in parts]


def _require_whole(one: x509.CertificateRevocationList) -> None:
    """Refuse a list that needs others beside it; its critical extensions say so."""
    for extension in one.extensions:
        value = extension.value
        partial = not isinstance(value, x509.IssuingDistributionPoint) or (
            value.indirect_crl or value.only_some_reasons is not None
        )
        if extension.critical and partial:
            raise ValueError(
                f"the list of {one.issuer.rfc4514_string()} has the critical extension "
                f"{extension.oid.dotted_string}, so it is not the whole list of its issuer: use "
                "that one"
            )


def _signed(one: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        # The kinds of key that sign nothing raise TypeError.
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False
