"""Certificates of the listeners: read, checked, watched, and replaced without a restart.

New material is either right as a whole or refused as a whole; what is being served goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from amaters.transport.certificate_rules import Offer, unusable, unusable_authorities
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from amaters_server.model.errors import ConfigurationError
from amaters_server.telemetry.certificates import CertificateFacts

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
LOOKS_BETWEEN_COMPARISONS = 40
PEER = "peer"
"""The listener whose callers are members too: its certificate is shown in both directions."""


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Where one listener's material lies."""

    certificate: Path
    key: Path
    ca: Path | None = None
    require_client_cert: bool = False


class ServerIdentity(Protocol):
    """What a listener shows (PEM), and whether and whom it believes."""

    @property
    def certificate(self) -> bytes: ...  # noqa: D102
    @property
    def key(self) -> bytes: ...  # noqa: D102
    @property
    def ca(self) -> bytes | None: ...  # noqa: D102
    @property
    def require_client_cert(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """One listener's material as PEM, checked. Nothing secret of it is ever printed."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca: bytes | None = field(repr=False)
    require_client_cert: bool
    facts: CertificateFacts


def read_material(listener: str, paths: TlsPaths, now: datetime) -> TlsMaterial:
    """Read and check a listener's files; ConfigurationError names the one that is wrong."""
    certificate = _read(paths.certificate, "certificate")
    key = _read(paths.key, "key")
    ca = None if paths.ca is None else _read(paths.ca, "CA file")
    chain = _certificates(certificate, paths.certificate)
    leaf = chain[0]
    _check_pair(leaf, key, paths)
    authorities = [] if ca is None or paths.ca is None else _certificates(ca, paths.ca)
    _check_use(listener, chain, authorities, paths, now)
    facts = CertificateFacts(
        listener=listener,
        serial=f"{leaf.serial_number:x}",
        not_after_unix=int(leaf.not_valid_after_utc.timestamp()),
        subject=leaf.subject.rfc4514_string(),
    )
    return TlsMaterial(certificate, key, ca, paths.require_client_cert, facts)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise ConfigurationError(f"{what} {path} cannot be read: {wrong.strerror}") from wrong


def _certificates(pem: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion) as wrong:
        raise ConfigurationError(f"{path} holds no certificate in PEM: {wrong}") from wrong


def _check_pair(leaf: x509.Certificate, key: bytes, paths: TlsPaths) -> None:
    try:
        own = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise ConfigurationError(
            f"{paths.key} holds no unencrypted private key in PEM: {wrong}"
        ) from wrong
    try:
        shown = _spelled(leaf.public_key())
    except (ValueError, UnsupportedAlgorithm) as wrong:
        raise ConfigurationError(
            f"certificate {paths.certificate} has a key of an unknown kind: {wrong}"
        ) from wrong
    if _spelled(own) != shown:
        raise ConfigurationError(
            f"key {paths.key} does not belong to certificate {paths.certificate}: replace both"
        )


def _spelled(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_use(
    listener: str,
    chain: list[x509.Certificate],
    authorities: list[x509.Certificate],
    paths: TlsPaths,
    now: datetime,
) -> None:
    if authorities and (said := unusable_authorities(authorities, now)):
        raise ConfigurationError(f"CA file {paths.ca} {said}")
    mutual = listener == PEER and bool(authorities)
    if said := unusable(Offer(chain, authorities, mutual=mutual), now):
        raise ConfigurationError(f"certificate {paths.certificate} {said}")


OnChange = Callable[[TlsMaterial], None]
"""Puts new material to use; ConfigurationError refuses it."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Certificates:
    """The material of every TLS listener of this process, by listener name."""

    def __init__(
        self, paths: Mapping[str, TlsPaths], *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        """Read everything; ConfigurationError when something is wrong with it."""
        self._paths = dict(paths)
        self._now = now
        self._on_change: dict[str, list[OnChange]] = {}
        self._refused: dict[str, str] = {}
        """Why the files of a listener were refused last, so that it is logged once."""
        self._uses = 0
        """How often what was read has been put to use."""
        self._current = {
            listener: read_material(listener, where, now())
            for listener, where in self._paths.items()
        }

    def get(self, listener: str) -> TlsMaterial | None:
        """Return what the listener serves; None when it speaks no TLS."""
        return self._current.get(listener)

    def facts(self) -> list[CertificateFacts]:
        """Return what is served now, for the status."""
        return [material.facts for material in self._current.values()]

    def on_change(self, listener: str, use: OnChange) -> None:
        """Call `use` with every new material of the listener."""
        self._on_change.setdefault(listener, []).append(use)

    def reload(self) -> list[str]:
        """Read all files again and use what changed; returns what was wrong, a line each."""
        return self._use(self._read())

    def _read(self) -> dict[str, TlsMaterial | ConfigurationError]:
        """Read and check all files; changes nothing, and may run on any thread."""
        return {
            listener: self._read_one(listener, where) for listener, where in self._paths.items()
        }

    def _read_one(self, listener: str, where: TlsPaths) -> TlsMaterial | ConfigurationError:
        try:
            return read_material(listener, where, self._now())
        except ConfigurationError as wrong:
            return wrong

    def _use(self, found: Mapping[str, TlsMaterial | ConfigurationError]) -> list[str]:
        self._uses += 1
        said = [self._use_one(listener, one) for listener, one in found.items()]
        return [error for error in said if error is not None]

    def _use_one(self, listener: str, new: TlsMaterial | ConfigurationError) -> str | None:
        old = self._current[listener]
        try:
            if isinstance(new, ConfigurationError):
                raise new
            if new == old:
                self._refused.pop(listener, None)
                return None
            for use in self._on_change.get(listener, ()):
                use(new)
        except ConfigurationError as wrong:
            if self._refused.get(listener) == str(wrong):
                return f"TLS of the {listener} listener was kept as it was: {wrong}"
            self._refused[listener] = str(wrong)
            _log.error(
                "tls.refused", extra={"listener": listener, "error": str(wrong), "kept": old.facts}
            )
            return f"TLS of the {listener} listener was kept as it was: {wrong}"
        self._current[listener] = new
        self._refused.pop(listener, None)
        _log.info(
            "tls.reloaded",
            extra={
                "notice": "TLS credentials reloaded",
                "listener": listener,
                "serial": new.facts.serial,
                "before": old.facts.serial,
                "not_after_unix": new.facts.not_after_unix,
            },
        )
        return None

    async def watch(self) -> None:
        """Reload whenever the files change, until cancelled; returns if there are none.

        Files are looked at, not listened to: a watch of the kernel's stays with a folder or a
        symbolic link that has been replaced. Now and then their contents are compared as well.
        """
        paths = sorted(
            path
            for where in self._paths.values()
            for path in (where.certificate, where.key, where.ca)
            if path is not None
        )
        if not paths:
            return
        seen, looks = await asyncio.to_thread(_looks_like, paths), 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now, looks = await asyncio.to_thread(_looks_like, paths), looks + 1
            if now != seen or looks >= LOOKS_BETWEEN_COMPARISONS:
                seen, looks = now, 0
                await self._compare()

    async def _compare(self) -> None:
        """Read the files on another thread and use what changed."""
        uses = self._uses
        found = await asyncio.to_thread(self._read)
        if uses == self._uses:  # Otherwise a reload has read newer files meanwhile.
            self._use(found)


def _looks_like(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return what differs once there are other files, or another content."""
    return [_identity(path) for path in paths]


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as missing:
        return (missing.errno or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
