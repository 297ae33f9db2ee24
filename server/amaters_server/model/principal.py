"""Who makes a call, as the node believes it after checking the credentials."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class PrincipalKind(StrEnum):
    """The kind of credential."""

    JWT = "jwt"
    KUBERNETES = "kubernetes"
    API_KEY = "api_key"
    CERTIFICATE = "certificate"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """An identity that was verified; it is hashable, and holds no credential."""

    name: str
    """For people: it is in the audit log and in error texts."""
    kind: PrincipalKind
    roles: tuple[str, ...] = ()
    """The roles that the credential claims, or that its mapping gives; none: the default role."""
    expires_at: float | None = None
    """Unix seconds from which the credential counts no more; None: it does not expire."""
    id: str = ""
    """What stays the same when the name changes (`sub`, the key's id); the name if empty."""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.name)

    def expired(self, now: float) -> bool:
        """Whether the credential has ended at this moment (Unix seconds)."""
        return self.expires_at is not None and now >= self.expires_at


class ForwardedFor(NamedTuple):
    """On whose behalf a member has its leader carry out a call."""

    principal: Principal
    source_ip: str = ""
    internal: bool = False
    """An administrator of the internal port, to which no roles file applies."""


ANONYMOUS = Principal(name="anonymous", kind=PrincipalKind.ANONYMOUS)
"""A caller without a credential, where that is allowed."""
