"""Tokens to principals: those of any issuer, and those that Kubernetes gives to pods."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from amaters_server.identity import jws
from amaters_server.identity.claims import ClaimRules, Claims, checked
from amaters_server.identity.jwks import KeyRing
from amaters_server.identity.jws import Unverified, refused
from amaters_server.identity.patterns import RoleMap
from amaters_server.model.errors import AuthenticationError
from amaters_server.model.principal import Principal, PrincipalKind

Mapper: TypeAlias = Callable[[Claims], Principal]
SERVICE_ACCOUNT = "system:serviceaccount:"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBJECT = re.compile(rf"{SERVICE_ACCOUNT}{_LABEL}:{_LABEL}(\.{_LABEL})*")
"""A namespace is a DNS label, a name is some of them."""


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """How the tokens of one issuer are checked, and who their bearers are."""

    ring: KeyRing
    algorithms: frozenset[str]
    rules: ClaimRules
    principal: Mapper

    async def verify(self, token: str, unverified: Unverified, now: float) -> Principal:
        """Return the bearer; AuthenticationError says what is missing or wrong."""
        if unverified.algorithm not in self.algorithms:
            accepted = ", ".join(sorted(self.algorithms))
            raise refused(f"its algorithm is not accepted: sign it with {accepted}")
        keys = await self.ring.matching(unverified)
        if not keys:
            raise refused(
                "no key known here has the token's key id and algorithm: compare its `kid` with "
                "those of the issuer"
            )
        payload = jws.verified(token, unverified.algorithm, keys)
        return self.principal(checked(payload, self.rules, now))


def bearer(claims: Claims) -> Principal:
    """Return whom a token of an ordinary issuer is about."""
    return Principal(
        claims.name, PrincipalKind.JWT, claims.roles, claims.expires_at, id=claims.subject
    )


def bearer_beside_kubernetes(claims: Claims) -> Principal:
    """As `bearer`, but no pod: in the audit log both have the method JWT."""
    if claims.subject.startswith(SERVICE_ACCOUNT) or claims.name.startswith(SERVICE_ACCOUNT):
        raise refused(f"{SERVICE_ACCOUNT}* is named by Kubernetes alone, and signed it otherwise")
    return bearer(claims)


def service_account(roles: RoleMap) -> Mapper:
    """Return the mapper of pods: `system:serviceaccount:NAMESPACE:NAME` to its roles."""

    def principal(claims: Claims) -> Principal:
        subject = claims.subject
        if _SUBJECT.fullmatch(subject) is None:
            raise refused(f"its subject is no {SERVICE_ACCOUNT}NAMESPACE:NAME")
        given = roles.of([subject])
        if not given:
            # Any pod can ask for a token with our audience: being one is no permission.
            raise AuthenticationError(
                f"Authentication failed: {subject} has no role here: add it to "
                "auth.kubernetes.roles"
            )
        return Principal(subject, PrincipalKind.KUBERNETES, given, claims.expires_at)

    return principal
