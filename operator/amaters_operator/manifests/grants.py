"""Rights of AmatersAccess objects as the nodes' files hold them. Pure."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amaters_operator.api.access import AmatersAccess
from amaters_operator.api.authentication import KubernetesLogin
from amaters_operator.api.authorization import RESERVED, PermissionSpec, RoleSpec

SERVICE_ACCOUNT = "system:serviceaccount:"
NOBODY: dict[str, list[str]] = {f"{SERVICE_ACCOUNT}*:*": []}
"""No role for any pod: nodes demand an entry, also while no object and no role names one."""


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One API key of a user, by its SHA-256: of 32 random bytes nobody finds them again."""

    id: str
    digest: str
    """In base64."""
    ends: str = ""
    """RFC 3339; empty: it does not end by itself."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one AmatersAccess gives, and to whom."""

    role: RoleSpec
    accounts: tuple[str, ...] = ()
    """Subjects of tokens."""
    user: str = ""
    keys: tuple[KeyHash, ...] = ()
    """The first is the one that the user has."""

    @property
    def digest(self) -> str:
        """Changes with the rights and with who has them; not with a key."""
        parts = [self.role.model_dump(), self.accounts, self.user]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def grant(access: AmatersAccess, keys: Iterable[KeyHash] = ()) -> Grant:
    """Return what an object gives, with these keys of its user."""
    user = access.spec.user
    return Grant(
        RoleSpec(name=role_name(access.name), permissions=access.spec.permissions),
        tuple(f"{SERVICE_ACCOUNT}{space}:{name}" for space, name in access.accounts),
        "" if user is None else user.name,
        tuple(keys),
    )


def role_name(access: str) -> str:
    """Return the name of the role that is made from the object of that name."""
    return f"{RESERVED}{access}"


def roles(own: list[RoleSpec], grants: tuple[Grant, ...]) -> list[RoleSpec]:
    """Return the roles of the nodes' file, which replaces the built-in ones; none: these count."""
    if not grants:
        return own
    return [*(own or BUILT_IN), *(one.role for one in grants)]


def accounts(login: KubernetesLogin, grants: tuple[Grant, ...]) -> dict[str, list[str]]:
    """Return the roles of ServiceAccounts: those of the spec, and those of the objects."""
    found = {name: list(given) for name, given in login.roles.items()}
    for one in grants:
        for account in one.accounts:
            found.setdefault(account, []).append(one.role.name)
    return found or dict(NOBODY)


def keys_file(grants: tuple[Grant, ...]) -> str:
    """Return the users' keys in the form of `amaters-server api-key create`, without any key."""
    entries = [_entry(one, key) for one in grants for key in one.keys]
    return json.dumps(entries, indent=1) + "\n"


def _entry(given: Grant, key: KeyHash) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": key.id,
        "name": given.user,
        "user_id": given.user,
        "roles": [given.role.name],
        "key_hash": key.digest,
    }
    return entry | ({"expires_at": key.ends} if key.ends else {})


def _built_in(name: str, resource: str, *actions: Any) -> RoleSpec:  # noqa: ANN401 - of the model
    return RoleSpec(
        name=name, permissions=[PermissionSpec(resource=resource, actions=list(actions))]
    )


BUILT_IN = [
    _built_in("admin", "*", "admin"),
    _built_in("user", "collection:*", "read", "write"),
    _built_in("reader", "collection:*", "read"),
]
"""The nodes' roles without a file."""
