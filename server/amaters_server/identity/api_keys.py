"""API keys: the published file, and the search for the entry of a key. Pure.

The file is a JSON array of `{id, name, user_id, roles, attributes, key_hash}`. `key_hash` is the
SHA-256 of the key in base64, as published, or `hmac-sha256:` and the HMAC of the key under a secret
of the server. With `hash_keys` off an entry has the `key` itself instead. `expires_at`, in the
entry or in its attributes, is RFC 3339 or Unix seconds.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from amaters_server.model import strict_json
from amaters_server.model.errors import AuthenticationError, CredentialExpiredError
from amaters_server.model.principal import Principal, PrincipalKind

HMAC_MARK = "hmac-sha256:"
LEAST_SECRET_BYTES = 32
LATEST = 253402300799
"""Unix seconds, at the end of the year 9999."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One entry of the file."""

    id: str
    name: str
    user_id: str
    digest: bytes = field(repr=False)
    keyed: bool
    """The digest is an HMAC."""
    roles: tuple[str, ...] = ()
    expires_at: float | None = None

    @property
    def ends(self) -> str:
        """When, for people."""
        if self.expires_at is None:
            return "never"
        return datetime.fromtimestamp(self.expires_at, UTC).isoformat(timespec="seconds")

    @property
    def principal(self) -> Principal:
        """Whom it is for."""
        return Principal(
            self.name, PrincipalKind.API_KEY, self.roles, self.expires_at, id=self.user_id
        )


def digest_of(key: str, secret: bytes | None = None) -> bytes:
    """Return the digest of a key: an HMAC if there is a secret, else plain SHA-256."""
    if secret is None:
        return hashlib.sha256(key.encode()).digest()
    return hmac.digest(secret, key.encode(), "sha256")


def hash_text(key: str, secret: bytes | None = None) -> str:
    """Return the digest as the file holds it."""
    mark = "" if secret is None else HMAC_MARK
    return mark + base64.b64encode(digest_of(key, secret)).decode()


def entries_of(document: bytes | str) -> list[dict[str, object]]:
    """Return the entries as they are; ValueError if the document is no array of objects."""
    try:
        found = strict_json.parsed(document)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("it is no JSON array of objects")
    return found


def parsed(
    document: bytes | str, *, hashed: bool, beside: Sequence[ApiKey] = ()
) -> tuple[ApiKey, ...]:
    """Return the keys of a file; ValueError names the entry that is wrong.

    None of them may be among the keys of other files, `beside`.
    """
    keys = []
    for number, entry in enumerate(entries_of(document), 1):
        try:
            keys.append(_api_key(entry, hashed=hashed))
        except ValueError as wrong:
            raise ValueError(f"entry {number}: {wrong}") from None
    _require_different(keys, beside)
    return tuple(keys)


def _require_different(keys: Sequence[ApiKey], beside: Sequence[ApiKey]) -> None:
    for key_id, count in Counter(key.id for key in (*beside, *keys)).items():
        if count > 1:
            raise ValueError(f"the id {key_id!r} appears twice")
    first = {(key.keyed, key.digest): key.id for key in beside}
    for number, key in enumerate(keys, 1):
        other = first.setdefault((key.keyed, key.digest), key.id)
        if other != key.id:
            raise ValueError(f"entry {number}: it is the same key as {other!r}: remove one")


def _api_key(entry: Mapping[str, object], *, hashed: bool) -> ApiKey:
    key_id = _text(entry, "id")
    digest, keyed = _digest(entry, hashed=hashed)
    attributes = entry.get("attributes")
    inner = attributes.get("expires_at") if isinstance(attributes, Mapping) else None
    roles = entry.get("roles")
    roles = [] if roles is None else roles
    if not isinstance(roles, list) or not all(isinstance(one, str) for one in roles):
        raise ValueError("`roles` is no list of texts")
    return ApiKey(
        id=key_id,
        name=_text(entry, "name", key_id),
        user_id=_text(entry, "user_id", key_id),
        digest=digest,
        keyed=keyed,
        roles=tuple(roles),
        expires_at=moment_of(inner if entry.get("expires_at") is None else entry["expires_at"]),
    )


def _digest(entry: Mapping[str, object], *, hashed: bool) -> tuple[bytes, bool]:
    if not hashed:
        return digest_of(_text(entry, "key")), False
    if entry.get("key") is not None:
        raise ValueError("it holds a key in the clear: replace `key` by `key_hash`")
    text = _text(entry, "key_hash")
    keyed = text.startswith(HMAC_MARK)
    try:
        digest = base64.b64decode(text.removeprefix(HMAC_MARK), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("`key_hash` is no SHA-256 digest in base64")
    return digest, keyed


def _text(entry: Mapping[str, object], name: str, otherwise: str | None = None) -> str:
    found = entry.get(name)
    found = otherwise if found is None else found
    if not isinstance(found, str) or not found or not found.isprintable():
        raise ValueError(f"`{name}` is missing, or no printable text")
    return found


def moment_of(found: object) -> float | None:
    """Return the end of a key in Unix seconds; ValueError if it is no moment."""
    if found is None:
        return None
    moment = math.nan
    try:
        if isinstance(found, str) and found.isdecimal():
            moment = float(found)
        elif isinstance(found, str):
            read = datetime.fromisoformat(found)
            # Without a zone it is taken for UTC, as the audit log writes it.
            moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        elif isinstance(found, int | float) and not isinstance(found, bool):
            moment = float(found)
    except (ValueError, OverflowError):
        moment = math.nan
    if not 0 <= moment <= LATEST:
        raise ValueError("`expires_at` is neither RFC 3339 nor Unix seconds")
    return moment


class ApiKeys:
    """All keys of a file, found by digest."""

    def __init__(self, keys: Iterable[ApiKey] = (), secret: bytes | None = None) -> None:
        """ValueError if a key needs the secret, and there is none."""
        self._secret = secret
        # A dict compares the keyed hashes of its keys before it compares these, so that the time of
        # a search says nothing about how much of a digest was right.
        self._keys = {(key.keyed, key.digest): key for key in keys}
        if secret is None and any(keyed for keyed, _ in self._keys):
            raise ValueError(
                "it has HMAC digests, which need the server's secret: set "
                "auth.api_key.hmac_secret_file"
            )

    def verify(self, key: str, now: float) -> Principal:
        """Return whom the key is for; AuthenticationError if it is unknown or has ended."""
        plain = digest_of(key)
        keyed = plain if self._secret is None else digest_of(key, self._secret)
        entry = self._keys.get((True, keyed)) or self._keys.get((False, plain))
        expected = b"" if entry is None else entry.digest
        if entry is None or not hmac.compare_digest(expected, keyed if entry.keyed else plain):
            raise AuthenticationError(
                "API key validation failed: the key is unknown here: ask for one "
                "(`amaters-server api-key create`)"
            )
        if entry.principal.expired(now):
            raise CredentialExpiredError(
                f"API key validation failed: the key {entry.id} has expired: ask for a new one"
            )
        return entry.principal
