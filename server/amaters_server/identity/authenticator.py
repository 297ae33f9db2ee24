"""Who makes a call: looked up, or checked by the one method for its kind of credential."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from amaters_server.identity import certificates, jws
from amaters_server.identity.api_keys import ApiKeys
from amaters_server.identity.cache import FailureLimit, PrincipalCache, RefusedCache
from amaters_server.identity.certificates import CertificateRules
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.jwks import PAUSE_SECONDS, FetchedKeys
from amaters_server.identity.tokens import TokenCheck
from amaters_server.model.clock import Clock
from amaters_server.model.errors import AuthenticationError, DatabaseError, TooManyFailuresError
from amaters_server.model.principal import ANONYMOUS, Principal


@dataclass(frozen=True, slots=True)
class Methods:
    """The methods accepted; None: that one is not."""

    jwt: TokenCheck | None = None
    kubernetes: TokenCheck | None = None
    api_keys: ApiKeys | None = None
    certificates: CertificateRules | None = None
    anonymous: bool = False
    """Callers without a credential are served, as `ANONYMOUS`."""
    api_key_header: str = "x-api-key"
    """In lower case, as metadata is."""
    failures_per_minute: int = 60

    def fetched(self) -> Iterator[FetchedKeys]:
        """Walk the keys that are fetched from issuers."""
        for check in (self.jwt, self.kubernetes):
            if check is not None and check.ring.fetched is not None:
                yield check.ring.fetched


@dataclass(slots=True)
class LoginCounts:
    """Logins by outcome; telemetry reads it. Lookups are none."""

    succeeded: int = 0
    failed: int = 0
    turned_away: int = 0
    """Not even checked, after too many failures."""
    missing: int = 0
    """Calls without a credential."""


class LoginRecorder(Protocol):
    """Takes every outcome before it counts; what it raises ends the call instead."""

    def succeeded(self, principal: Principal, address: str, /) -> None:
        """Record that a credential was verified."""
        ...

    def failed(self, error: DatabaseError, address: str, /) -> None:
        """Record that a caller was refused."""
        ...


class Authenticator:
    """Verifies a credential once, and looks it up from then on."""

    def __init__(self, methods: Methods, clock: Clock) -> None:
        self.counts = LoginCounts()
        self.recorder: LoginRecorder | None = None
        self.generation = 0
        """Goes up when principals found so far count no more; compare it before you reuse one."""
        self._clock = clock
        self._cache = PrincipalCache()
        self._refused = RefusedCache()
        self._methods = methods
        self._limit = FailureLimit(methods.failures_per_minute)
        self._subscribe(methods)

    @property
    def methods(self) -> Methods:
        """The methods in force."""
        return self._methods

    def unix_seconds(self) -> float:
        """Return the moment by which credentials end."""
        return self._clock.unix_ms() / 1000

    def known(self, credentials: Credentials) -> Principal | None:
        """Return the caller if it was verified before; None: `authenticate` has to."""
        return self._known(self._digest(credentials))

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return the caller; AuthenticationError or TooManyFailuresError says what to do.

        Only keys that have to be fetched from an issuer make it wait, 10 s at most.
        """
        digest = self._digest(credentials)
        principal = self._known(digest)
        if principal is not None:
            return principal
        self._require_attempt(digest, credentials)
        generation = self.generation
        try:
            outcome: Principal | AuthenticationError = await self._verified(credentials)
        except AuthenticationError as error:
            outcome = error
        if generation != self.generation:
            # The methods have changed meanwhile, and the new ones decide.
            return await self.authenticate(credentials)
        if isinstance(outcome, AuthenticationError):
            self._refused.put(digest, outcome, self._clock.now())
            self.refused(outcome, credentials.address)
            raise outcome
        self.counts.succeeded += 1
        if self.recorder is not None:
            self.recorder.succeeded(outcome, credentials.address)
        self._cache.put(digest, outcome)
        return outcome

    def refused(self, error: AuthenticationError, address: str) -> None:
        """Count credentials that are not valid, or not even well-formed, against their address."""
        self._limit.failed(address, self._clock.now())
        self.counts.failed += 1
        self._recorded(error, address)

    def replace(self, methods: Methods) -> None:
        """Use other methods from now on; every credential is verified again."""
        self._methods = methods
        self._limit = FailureLimit(methods.failures_per_minute)
        self._subscribe(methods)
        self._forget()

    async def run(self) -> None:
        """Keep the keys of issuers fresh, until cancelled."""
        try:
            while True:
                for keys in self._methods.fetched():
                    await keys.refresh()
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            for keys in self._methods.fetched():
                keys.close()

    def _require_attempt(self, digest: bytes, credentials: Credentials) -> None:
        """Refuse what needs no verification, or may not have one now."""
        address, now = credentials.address, self._clock.now()
        if not digest:
            self.counts.missing += 1
            missing = AuthenticationError(f"No authentication provided: {self._accepted()}")
            raise self._recorded(missing, address)
        refused = self._refused.get(digest, now)
        if refused is not None:
            self.counts.failed += 1
            raise self._recorded(refused, address)
        try:
            self._limit.require(address, now, signed=not credentials.api_key)
        except TooManyFailuresError as error:
            self.counts.turned_away += 1
            raise self._recorded(error, address) from None

    def _recorded(self, error: DatabaseError, address: str) -> DatabaseError:
        if self.recorder is not None:
            self.recorder.failed(error, address)
        return error

    def _subscribe(self, methods: Methods) -> None:
        for keys in methods.fetched():
            keys.on_removal = self._forget

    def _forget(self) -> None:
        self._cache.clear()
        self._refused.clear()
        self.generation += 1

    def _digest(self, credentials: Credentials) -> bytes:
        if self._methods.certificates is None and not (credentials.token or credentials.api_key):
            # A certificate without a method opens the connection, and is no credential.
            return b""
        return credentials.digest()

    def _known(self, digest: bytes) -> Principal | None:
        if not digest:
            return ANONYMOUS if self._methods.anonymous else None
        return self._cache.get(digest, self.unix_seconds())

    async def _verified(self, credentials: Credentials) -> Principal:
        now, methods = self.unix_seconds(), self._methods
        if credentials.token:
            check = methods.jwt or methods.kubernetes
            if check is None:
                raise AuthenticationError(
                    f"Authentication method not enabled: JWT: {self._accepted()}"
                )
            unverified = jws.read(credentials.token)
            # Whose token it is only chooses the keys: the same claim is checked once it is signed.
            if methods.kubernetes and unverified.issuer == methods.kubernetes.rules.issuer:
                check = methods.kubernetes
            return await check.verify(credentials.token, unverified, now)
        if credentials.api_key:
            if methods.api_keys is None:
                raise AuthenticationError(
                    f"Authentication method not enabled: API Key: {self._accepted()}"
                )
            return methods.api_keys.verify(credentials.api_key, now)
        rules = methods.certificates or CertificateRules()
        return certificates.principal_of(credentials.certificate, rules, now)

    def _accepted(self) -> str:
        methods = self._methods
        ways = [
            ("`authorization: Bearer TOKEN`", methods.jwt or methods.kubernetes),
            (f"an API key in `{methods.api_key_header}`", methods.api_keys),
            ("a client certificate", methods.certificates),
        ]
        named = [text for text, method in ways if method is not None]
        return f"send {' or '.join(named)}" if named else "no method is configured"
