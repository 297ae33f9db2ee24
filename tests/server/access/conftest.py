"""Principals, roles and operations, written short."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest
from amaters_server.access.access import Access
from amaters_server.access.roles import BUILT_IN, parsed
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.model.principal import Principal, PrincipalKind

ROLES = {
    "roles": [
        {"name": "admin", "permissions": [{"resource": "*", "actions": ["admin"]}]},
        {
            "name": "clerk",
            "permissions": [
                {"resource": "collection:orders", "actions": ["write"], "key_prefixes": ["eu/"]},
                {"resource": "collection:orders", "actions": ["read"], "key_prefixes": ["e", "u"]},
                {"resource": "collection:prices", "actions": ["read"]},
                {"resource": "collection:team-*", "actions": ["read", "write"]},
            ],
        },
        {"name": "watcher", "permissions": [{"resource": "server", "actions": ["read"]}]},
        {"name": "chief", "inherits": ["clerk", "watcher"]},
    ]
}


@pytest.fixture
def caller() -> Callable[..., Principal]:
    """Make a caller with these roles."""

    def make(*roles: str, kind: PrincipalKind = PrincipalKind.JWT) -> Principal:
        return Principal(name="ann", kind=kind, roles=roles)

    return make


@pytest.fixture
def access() -> Access:
    """The roles above; a caller without any is a clerk."""
    return Access(AuthzSection(default_role="clerk"), parsed(ROLES))


@pytest.fixture
def built_in() -> Access:
    """What holds without a roles file."""
    return Access(AuthzSection(), BUILT_IN)


@pytest.fixture
def one_role() -> Callable[..., Mapping[str, object]]:
    """Make a roles document of one role with one permission."""

    def make(**permission: object) -> Mapping[str, object]:
        return {"roles": [{"name": "r", "permissions": [permission]}]}

    return make


@pytest.fixture
def settings() -> Callable[..., SimpleNamespace]:
    """Make settings that differ from the defaults in this."""

    def make(**changed: object) -> SimpleNamespace:
        return SimpleNamespace(**(AuthzSection().model_dump() | changed))

    return make
