"""Which AmatersAccess objects of a cluster count, and why the others do not. Pure.

Older objects come first: a new one never takes a right away from one that works.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from amaters_operator.api.access import AmatersAccess
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import grants, identity

MOST_USERS = 100
"""Users with keys: the operator reads each Secret in every pass."""
MOST_BYTES = 900 * 1024
"""Of all files of the ConfigMap: Kubernetes takes 1 MiB, and so do the nodes of a file."""
_BYTES_OF_KEYS = 700
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an object gives nothing, or is held up, and what to do."""

    reason: str
    """One CamelCase word."""
    message: str
    lasting: bool = True
    """Until a person changes something."""


def admission(
    cluster: AmatersCluster, accesses: Iterable[AmatersAccess], *, base_bytes: int
) -> dict[str, Refusal | None]:
    """Return what is wrong with each object, by name; None: it counts.

    `base_bytes` is the size of the nodes' files without any of them.
    """
    found: dict[str, Refusal | None] = {}
    users: dict[str, str] = {}
    room = MOST_BYTES - base_bytes
    for one in sorted(accesses, key=age):
        size = _bytes(one)
        refusal = _refusal(cluster, one) or _taken(one, users) or _beyond(one, users, size, room)
        found[one.name] = refusal
        if refusal is None:
            room -= size
            if one.spec.user is not None:
                users[one.spec.user.name] = one.name
    return found


def age(access: AmatersAccess) -> tuple[datetime, str]:
    """Sort key: older objects come first."""
    return access.metadata.creation_timestamp or _NEVER, access.name


def _refusal(cluster: AmatersCluster, access: AmatersAccess) -> Refusal | None:
    login = cluster.spec.authentication
    if login is None:
        text = (
            f"AmatersCluster {cluster.name} accepts every caller, so rights have no effect: set "
            "its spec.authentication"
        )
        return Refusal("AuthenticationOff", text)
    if access.spec.user is not None and login.api_key is None:
        return _method_off(cluster, "apiKey", "{}")
    if access.spec.user is None and login.kubernetes is None:
        return _method_off(cluster, "kubernetes", "{audience: amaters}")
    if login.kubernetes is not None:
        allowed = {cluster.namespace, *login.kubernetes.access_namespaces}
        others = sorted({space for space, _ in access.accounts} - allowed)
        if others and "*" not in allowed:
            text = (
                f"AmatersCluster {cluster.name} takes no ServiceAccounts of: {', '.join(others)}. "
                "Add the namespace to its spec.authentication.kubernetes.accessNamespaces, or "
                "remove the account"
            )
            return Refusal("NamespaceNotAllowed", text)
    own = [] if cluster.spec.authorization is None else cluster.spec.authorization.roles
    if grants.role_name(access.name) in [one.name for one in own]:
        text = (
            f"spec.authorization.roles of AmatersCluster {cluster.name} has a role "
            f"{grants.role_name(access.name)}, which is this object's: rename the role"
        )
        return Refusal("RoleNameTaken", text)
    return None


def _method_off(cluster: AmatersCluster, field: str, value: str) -> Refusal:
    text = (
        f"AmatersCluster {cluster.name} does not accept this kind of credential: set its "
        f"spec.authentication.{field}: {value}"
    )
    return Refusal("MethodOff", text)


def _taken(access: AmatersAccess, users: dict[str, str]) -> Refusal | None:
    user = access.spec.user
    if user is None or user.name not in users:
        return None
    text = (
        f"user {user.name} is that of the older AmatersAccess {users[user.name]}: choose another "
        "name, or add the rights there"
    )
    return Refusal("UserTaken", text)


def _beyond(access: AmatersAccess, users: dict[str, str], size: int, room: int) -> Refusal | None:
    if access.spec.user is not None and len(users) >= MOST_USERS:
        text = (
            f"the cluster has {MOST_USERS} users from older AmatersAccess objects, which is the "
            "most: delete some, or let pods log in as ServiceAccounts"
        )
        return Refusal("TooMany", text)
    if size > room:
        text = (
            f"with it the nodes' files would have more than {MOST_BYTES} bytes: write fewer "
            "collections and prefixes, or delete older objects"
        )
        return Refusal("TooMany", text)
    return None


def _bytes(access: AmatersAccess) -> int:
    """Return an upper bound of what the object adds to the nodes' files."""
    given = grants.grant(access)
    accounts = sum(len(one.encode()) + len(given.role.name) + 16 for one in given.accounts)
    keys = 0 if access.spec.user is None else 3 * _BYTES_OF_KEYS
    return len(identity.role_text(given.role).encode()) + accounts + keys
