"""From a verified caller to its grants, and from a refusal to the error it gets."""

import json
from collections.abc import Mapping
from typing import Protocol

from amaters_server.access.decision import Permission, shortened
from amaters_server.access.grants import OPEN, Grants
from amaters_server.access.roles import Roles, Rule
from amaters_server.config.faults import Fault, refusal
from amaters_server.model.errors import PermissionDeniedError
from amaters_server.model.principal import Principal, PrincipalKind

MOST_REMEMBERED = 1024
"""Sets of roles that are kept compiled."""


class AccessSettings(Protocol):
    """The part of the configuration that decides here (`config.authorization`)."""

    @property
    def enabled(self) -> bool:
        """Whether permissions are checked."""
        ...

    @property
    def default_role(self) -> str:
        """The role of callers whose credential names none."""
        ...

    @property
    def anonymous_role(self) -> str | None:
        """The role of callers that showed no credential; None: they may do nothing."""
        ...

    @property
    def default_mode(self) -> str:
        """`allow-by-default` opens collections that no role of the caller names."""
        ...


class Access:
    """The permissions of every caller; new settings and roles take effect with the next call."""

    def __init__(self, settings: AccessSettings, roles: Roles) -> None:
        """ConfigurationError when a role of the settings is not among the roles."""
        self._compiled: dict[tuple[str, ...], Grants] = {}
        self.version = 0
        """Goes up when grants found so far count no more; compare it before you reuse some."""
        self.replace(settings, roles)

    def replace(self, settings: AccessSettings, roles: Roles) -> None:
        """Take over both, or neither: ConfigurationError leaves everything as it was."""
        faults = [*_undefined(settings, roles)]
        if faults:
            raise refusal(faults)
        self._settings = settings
        self._roles = roles
        self._compiled = {}
        self.version += 1

    def grants(self, principal: Principal) -> Grants:
        """Return what the caller may do now; ask again for every call, and in long ones again."""
        roles = principal.roles
        if not roles or principal.kind is PrincipalKind.ANONYMOUS:
            roles = self.roles(principal)
        return self._compiled.get(roles) or self._compile(roles)

    def roles(self, principal: Principal) -> tuple[str, ...]:
        """Return the roles that count for the caller, in its own words."""
        if principal.kind is PrincipalKind.ANONYMOUS:
            role = self._settings.anonymous_role
            return () if role is None else (role,)
        return principal.roles or (self._settings.default_role,)

    def role_text(self, principal: Principal) -> str:
        """Return these roles as one text; a role with a comma in it is quoted."""
        return ",".join(
            json.dumps(role) if "," in role or '"' in role else role
            for role in self.roles(principal)
        )

    def refusal(self, principal: Principal, denied: Permission) -> PermissionDeniedError:
        """Return the error for a caller that was denied."""
        roles = self.roles(principal)
        unknown = [role for role in roles if role not in self._roles]
        missing = denied.missing
        if principal.kind is PrincipalKind.ANONYMOUS:
            missing += "; the call came without a credential"
        elif unknown:
            missing += f"; this server has no role {shortened(', '.join(map(repr, unknown)))}"
        return PermissionDeniedError(
            name=shortened(principal.name),
            role=shortened(self.role_text(principal)) or "none",
            action=denied.action,
            resource=denied.resource,
            missing=missing,
        )

    def _compile(self, roles: tuple[str, ...]) -> Grants:
        if not self._settings.enabled:
            return OPEN
        # Issuers may name all groups of a user as roles: only those that are roles here differ.
        known = tuple(role for role in roles if role in self._roles)
        grants = self._compiled.get(known) or self._grants(known)
        if len(self._compiled) >= MOST_REMEMBERED:
            self._compiled.clear()
        self._compiled[known] = self._compiled[roles] = grants
        return grants

    def _grants(self, known: tuple[str, ...]) -> Grants:
        rules: dict[Rule, None] = {}
        for role in known:
            rules.update(dict.fromkeys(self._roles[role]))
        allow = bool(known) and self._settings.default_mode == "allow-by-default"
        return Grants(rules, allow_unnamed=allow)


def _undefined(settings: AccessSettings, roles: Mapping[str, object]) -> list[Fault]:
    asked = {"default_role": settings.default_role, "anonymous_role": settings.anonymous_role}
    return [
        Fault(f"authz.{key}", f"there is no role {role!r}: set it to one of {', '.join(roles)}")
        for key, role in asked.items()
        if role is not None and role not in roles
    ]
