"""What a verified token claims, checked against the rules of this server. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from amaters_server.identity.jws import refused
from amaters_server.model.errors import CredentialExpiredError

LONGEST_NAME = 512
MOST_ROLES = 64


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What a token must say."""

    issuer: str | None = None
    audience: str | None = None
    leeway: float = 0.0
    """Seconds by which clocks may differ."""
    roles_claim: str = "roles"


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom a token is about."""

    subject: str
    name: str
    roles: tuple[str, ...]
    expires_at: float
    """Unix seconds, the leeway included."""


def checked(payload: Mapping[str, object], rules: ClaimRules, now: float) -> Claims:
    """Return the claims; AuthenticationError says which one is missing or wrong."""
    expires_at = _times(payload, rules.leeway, now)
    _issuer(payload.get("iss"), rules.issuer)
    _audience(payload.get("aud"), rules.audience)
    subject = _text(payload.get("sub"))
    if not subject:
        raise refused("the token has no `sub` claim that could be a name: add one")
    name = _text(payload.get("name")) or subject
    return Claims(subject, name, _roles(payload, rules.roles_claim), expires_at)


def _times(payload: Mapping[str, object], leeway: float, now: float) -> float:
    expires = _moment(payload, "exp")
    if expires is None:
        raise refused("the token has no `exp` claim, so it would never end: add one")
    if now >= expires + leeway:
        raise CredentialExpiredError(
            f"JWT validation failed: the token expired {now - expires:.0f} s ago: get a new one"
        )
    for claim in ("nbf", "iat"):
        moment = _moment(payload, claim)
        if moment is not None and moment > now + leeway:
            raise refused(
                f"the token is valid only in {moment - now:.0f} s (`{claim}`): compare the clocks"
            )
    return expires + leeway


def _moment(payload: Mapping[str, object], claim: str) -> float | None:
    found = payload.get(claim)
    if found is None:
        return None
    try:
        moment = float(found) if isinstance(found, int | float) else math.nan
    except OverflowError:
        moment = math.inf
    if isinstance(found, bool) or not math.isfinite(moment):
        raise refused(f"the `{claim}` claim is no number of seconds")
    return moment


def _issuer(found: object, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise refused(f"the `iss` claim is not {expected}: get a token from that issuer")


def _audience(found: object, expected: str | None) -> None:
    audiences = found if isinstance(found, list) else [] if found is None else [found]
    if expected is None and audiences:
        raise refused("the token is for an audience (`aud`), and none is configured here")
    if expected is not None and expected not in audiences:
        raise refused(f"the `aud` claim is not {expected}: get a token for that audience")


def _roles(payload: Mapping[str, object], path: str) -> tuple[str, ...]:
    found: object = payload
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return ()
    roles = [found] if isinstance(found, str) else found
    if not isinstance(roles, list) or len(roles) > MOST_ROLES or not all(map(_text, roles)):
        raise refused(f"the `{path}` claim is no list of at most {MOST_ROLES} roles")
    return tuple(dict.fromkeys(map(_text, roles)))


def _text(found: object) -> str:
    """Return a short printable text; empty if it is none."""
    fit = isinstance(found, str) and len(found) <= LONGEST_NAME and found.isprintable()
    return found if fit and isinstance(found, str) else ""
