"""Every example of docs/permissions.md is one that the server takes."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from amaters_server.access.access import Access
from amaters_server.access.decision import permitted
from amaters_server.access.roles import parsed
from amaters_server.config.security.authorization import AuditSection, AuthzSection, faults
from amaters_server.model.keys import data_key
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.model.queries import Get, Put

PAGE = (Path(__file__).parents[3] / "docs" / "permissions.md").read_text()
TOML = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
JSON = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
ROLES = [one for one in TOML + JSON if "roles" in one]
SETTINGS = [one for one in TOML if "roles" not in one]


def test_there_are_examples_of_all_kinds():
    assert (len(ROLES), len(SETTINGS), len(JSON)) == (2, 2, 1)


@pytest.mark.parametrize("document", ROLES)
def test_roles_are_accepted(document):
    assert "admin" in parsed(document)


@pytest.mark.parametrize("document", SETTINGS)
def test_settings_are_accepted(document):
    authz = AuthzSection.model_validate(document["authz"])
    audit = AuditSection.model_validate(document.get("audit", {}))

    assert set(document) <= {"authz", "audit"}
    assert not list(faults(authz, audit))


def test_the_three_steps_fit_together():
    """The settings name a default role that the file defines."""
    access = Access(AuthzSection.model_validate(SETTINGS[0]["authz"]), parsed(ROLES[0]))

    def may(role: str, asked: Get | Put) -> bool:
        roles = (role,) if role else ()
        return bool(permitted(access.grants(Principal("a", PrincipalKind.JWT, roles)), asked))

    orders = Get(data_key("orders", b"eu/1"))
    assert may("reports", orders)
    assert may("billing", orders)
    assert may("billing", Put(data_key("billing-eu", b"1"), b""))
    assert not may("reports", Get(data_key("orders", b"us/1")))
    assert not may("reports", Put(data_key("orders", b"eu/1"), b""))
    assert not may("", orders)
