"""What the operator may do: one table, and the chart, the watches and the page agree with it."""

import re
from pathlib import Path

import pytest
import yaml
from amaters_operator.app.watch import WATCHED
from amaters_operator.kube import kinds, rights
from amaters_operator.kube.errors import ForbiddenError
from amaters_operator.kube.rights import ALLOWED, GRANTS, Right
from amaters_operator.testing import Driver

ROOT = Path(__file__).parents[2]
DECLARED = {right for grant in GRANTS for right in grant.rights}


def granted_by_the_chart() -> set[tuple[str, str, str]]:
    text = (ROOT / "charts" / "amaters-operator" / "templates" / "_names.tpl").read_text()
    rules = text.split('{{- define "operator.rules" -}}')[1].split("{{- end -}}")[0]
    rules = re.sub(r"^{{-.*\n", "", rules, flags=re.MULTILINE)  # Rules that values leave out.
    return {
        (group, resource, verb)
        for rule in yaml.safe_load(rules)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_chart_grants_what_is_declared_and_nothing_else() -> None:
    assert granted_by_the_chart() == DECLARED


def test_secrets_are_only_read_by_name() -> None:
    assert {right.verb for right in DECLARED if right.resource == "secrets"} == {
        "get",
        "create",
        "patch",
    }
    assert kinds.SECRET not in WATCHED


def test_what_is_watched_is_declared() -> None:
    wanted = {Right(kind.group, kind.plural, verb) for kind in WATCHED for verb in rights.WATCH}

    assert wanted <= DECLARED
    assert {right for right in DECLARED if right.verb == "watch"} == {
        right for right in wanted if right.verb == "watch"
    }


def test_every_declared_right_has_a_reason_and_is_declared_once() -> None:
    every = [right for grant in GRANTS for right in grant.rights]

    assert len(every) == len(set(every))
    assert all(grant.why for grant in GRANTS)


@pytest.mark.parametrize(
    ("method", "path", "watch", "right"),
    [
        ("GET", "/api/v1/namespaces/ns/secrets/tls", False, ("", "secrets", "get")),
        ("GET", "/api/v1/pods", True, ("", "pods", "watch")),
        ("get", "/api/v1/namespaces/ns/pods", False, ("", "pods", "list")),
        ("POST", "/api/v1/namespaces/ns/pods/a/eviction", False, ("", "pods/eviction", "create")),
        (
            "PATCH",
            "/apis/amaters.io/v1alpha1/namespaces/ns/amatersclusters/a/status",
            False,
            ("amaters.io", "amatersclusters/status", "patch"),
        ),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", False,
         ("coordination.k8s.io", "leases", "update")),
        ("DELETE", "/apis/policy/v1/namespaces/n/poddisruptionbudgets/b", False,
         ("policy", "poddisruptionbudgets", "delete")),
        ("GET", "/apis/monitoring.coreos.com/v1", False, ("", rights.DISCOVERY, "get")),
        ("GET", "/api/v1", False, ("", rights.DISCOVERY, "get")),
        ("GET", "/version", False, ("", rights.DISCOVERY, "get")),
    ],
)  # fmt: skip
def test_a_request_is_named_as_the_api_server_names_it(method, path, watch, right) -> None:
    assert rights.of_request(method, path, watch=watch) == right


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: kind.name)
def test_every_kinds_own_paths_are_understood(kind) -> None:
    assert rights.of_request("GET", kind.path("ns", "a")).resource == kind.plural
    assert rights.of_request("GET", kind.path("ns")).verb == "list"
    assert rights.of_request("GET", kind.root).resource == rights.DISCOVERY


def test_names_are_those_of_kubectl() -> None:
    assert Right("apps", "statefulsets", "get").qualified == "statefulsets.apps"
    assert Right("amaters.io", "amatersclusters/status", "patch").qualified == (
        "amatersclusters.amaters.io/status"
    )
    assert Right("", "pods/eviction", "create").qualified == "pods/eviction"


async def test_the_test_kit_refuses_what_is_not_declared() -> None:
    driver = Driver()

    with pytest.raises(ForbiddenError, match=r"declare it in kube/rights\.py"):
        await driver.kube.find(kinds.SECRET, "shop", labels={})


def test_nothing_that_the_operator_applies_has_a_finalizer() -> None:
    """A namespace with the operator inside is deleted: nobody would be left to remove it."""
    driver = Driver()
    driver.kube.monitors = True
    driver.world.edit(replicas=3, networkPolicy={"enabled": True})
    driver.settled()
    driver.world.edit(image="amaters:2")
    driver.settled()
    applied = [
        made for entry in driver.world.store.entries.values() for made in entry.applied.values()
    ]

    assert len(applied) > 8
    assert [made for made in applied if "finalizers" in made["metadata"]] == []


PAGE = (ROOT / "docs" / "operator-permissions.md").read_text()
ROW = re.compile(r"^\| `([\w./]+)` \| ([\w, ]+) \| (.+?) \|$", re.MULTILINE)


def test_the_page_shows_every_right_with_its_reason() -> None:
    shown = {
        (resource, verb, why)
        for resource, verbs, why in ROW.findall(PAGE)
        for verb in verbs.split(", ")
    }
    declared = {
        (right.qualified, right.verb, grant.why)
        for grant in (*GRANTS, *rights.LEASE_GRANTS)
        for right in grant.rights
    }

    assert shown == declared, f"write into the page: {chr(10).join(rows())}"


def rows() -> list[str]:
    return [
        f"| `{grant.rights[0].qualified}` | {', '.join(grant.verbs)} | {grant.why} |"
        for grant in (*GRANTS, *rights.LEASE_GRANTS)
    ]


def test_every_right_of_the_lease_is_allowed_too() -> None:
    assert Right("coordination.k8s.io", "leases", "update") in ALLOWED
