"""Which certificates of a listener all clients and members accept. Pure.

What a listener shows must suit gRPC's TLS, which the Python clients, `amaters-cli` and the
operator speak, and the TLS of the native transport, which members speak with each other: a pair
that one of them cannot use would lock it out, for new connections and while the old ones still go.
Server and operator apply the same rules; both bring `cryptography`, which the client itself does
not need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

RSA_BITS = range(2048, 4096 + 1)
CURVES = (ec.SECP256R1, ec.SECP384R1)
DIGESTS = (hashes.SHA256, hashes.SHA384)
"""Of an authority with such a key; members check no others."""

_ISSUE_ANOTHER = "issue one with an ECDSA key on P-256 or P-384, or an RSA key of 2048 to 4096 bits"


@dataclass(frozen=True, slots=True)
class Offer:
    """The certificates of a listener, and the authorities it trusts."""

    chain: Sequence[x509.Certificate]
    """The listener's own certificate first."""
    authorities: Sequence[x509.Certificate] = ()
    mutual: bool = False
    """Whether those authorities must have signed this chain too: members check each other."""
    client: bool = False
    """Whether it is shown by a client alone, to members."""


def unusable(offer: Offer, now: datetime) -> str | None:
    """Return what is wrong with the certificate and what to do, or None."""
    own = offer.chain[0]
    findings = (
        _of_dates(own, now),
        _of_key(own),
        _of_usage(own, offer),
        *(_of_digest(one) for one in offer.chain if one.issuer != one.subject),
        _of_origin(offer, now),
    )
    return next((finding for finding in findings if finding is not None), None)


def unusable_authorities(authorities: Sequence[x509.Certificate], now: datetime) -> str | None:
    """Return why none of them can be trusted, or None when one can."""
    findings = [_of_dates(one, now) or _of_authority(one) for one in authorities]
    return None if None in findings else findings[0]


def _of_dates(one: x509.Certificate, now: datetime) -> str | None:
    if now > one.not_valid_after_utc:
        return f"expired at {one.not_valid_after_utc.isoformat()}: renew it"
    if now < one.not_valid_before_utc:
        return (
            f"is not valid before {one.not_valid_before_utc.isoformat()}: check the clock of this "
            "machine"
        )
    return None


def _of_key(own: x509.Certificate) -> str | None:
    key = _key(own)
    if _is_on_usable_curve(key):
        return None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS:
        return None
    return f"has {_kind(key)}, which not all clients and members can use: {_ISSUE_ANOTHER}"


def _of_usage(own: x509.Certificate, offer: Offer) -> str | None:
    try:
        usages = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension) as wrong:
        return f"holds extensions that cannot be read ({wrong}): issue another"
    needed = {} if offer.client else {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth"}
    if offer.mutual:
        needed[ExtendedKeyUsageOID.CLIENT_AUTH] = "clientAuth"
    missing = " and ".join(name for usage, name in needed.items() if usage not in usages)
    if not missing or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return None
    role = "members are servers and clients of each other" if offer.mutual else "it is a server's"
    role = "members demand it of their callers" if offer.client else role
    return f"is not issued for {missing}, and {role}: issue one with that extended key usage"


def _of_digest(one: x509.Certificate) -> str | None:
    if isinstance(_digest(one), (hashes.SHA1, hashes.MD5)):
        return (
            f"is signed with SHA-1 or MD5 ({one.subject.rfc4514_string()}), which proves nothing any "
            "more: issue one that is signed with SHA-256"
        )
    return None


def _of_authority(authority: x509.Certificate) -> str | None:
    key = _key(authority)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS.start:
        return None
    if isinstance(key, ed25519.Ed25519PublicKey) or _is_on_usable_curve(key):
        return None
    return f"holds an authority with {_kind(key)}, which members cannot check: {_ISSUE_ANOTHER}"


def _of_origin(offer: Offer, now: datetime) -> str | None:
    own, *between = offer.chain
    if own in offer.authorities or _leads_up(offer, now):
        return None
    issuer = own.issuer.rfc4514_string()
    known = [one for one in (*between, *offer.authorities) if one.subject == own.issuer]
    if not known:
        if not between and not offer.mutual:
            return None  # Clients may know who issued it.
        return (
            f"was issued by {issuer}, which is neither in the same file nor among the authorities: "
            "append the certificates between it and the authority"
        )
    late = [finding for one in known if (finding := _of_dates(one, now)) is not None]
    if late:
        return f"was issued by {issuer}, whose certificate {late[0]}"
    return (
        f"does not lead up to the authorities by what is known of {issuer}: append the certificates "
        "between them, or replace certificate, key and authorities from one issue"
    )


def _leads_up(offer: Offer, now: datetime) -> bool:
    """Whether an authority signed the chain; where that is not demanded, at least its next link."""
    own, *between = offer.chain
    reached = [own]
    for one in reached:  # It grows while it is walked.
        if any(_vouches(by, one, now) for by in offer.authorities):
            return True
        reached += [by for by in between if by not in reached and _vouches(by, one, now)]
    return len(reached) > 1 and not offer.mutual


def _vouches(issuer: x509.Certificate, one: x509.Certificate, now: datetime) -> bool:
    """Whether members accept the issuer's signature."""
    if _of_dates(issuer, now) or _of_authority(issuer):
        return False
    if _is_on_usable_curve(_key(issuer)) and not isinstance(_digest(one), DIGESTS):
        return False
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_on_usable_curve(key: CertificatePublicKeyTypes | None) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)


def _key(one: x509.Certificate) -> CertificatePublicKeyTypes | None:
    try:
        return one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def _digest(one: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return one.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _kind(key: CertificatePublicKeyTypes | None) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return f"an ECDSA key on {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"an RSA key of {key.key_size} bits"
        case None:
            return "a key of an unknown kind"
        case _:
            return f"a key of the kind {type(key).__name__.removesuffix('PublicKey')}"
