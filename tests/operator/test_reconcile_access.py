"""AmatersAccess on a world in memory: given, renewed, taken away, refused, and never leaked."""

import asyncio
import base64
import json
import tomllib
from datetime import timedelta
from typing import Any

import pytest
from amaters_operator.api.access import AmatersAccess
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.controllers.resting import RESTING
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ForbiddenError
from amaters_operator.manifests import access_secret
from amaters_operator.manifests.access_secret import digest_of
from amaters_operator.testing import Driver
from amaters_operator.testing.accesses import access, apply, delete, known_hashes, read

LOGINS = {"kubernetes": {"audience": "amaters"}, "apiKey": {}}
CHECKOUT = "system:serviceaccount:shop:checkout"


def grown(**spec: Any) -> Driver:
    driver = Driver()
    driver.world.edit(replicas=3, **{"authentication": LOGINS} | spec)
    driver.settled()
    return driver


@pytest.fixture
def driver() -> Driver:
    return grown()


def conditions(found: AmatersAccess) -> dict[str, str]:
    return {one.type: one.status for one in found.status.conditions}


def reason(driver: Driver, name: str) -> str:
    conditions = {one.type: one for one in read(driver, name).status.conditions}
    return conditions["Ready"].reason


def message(driver: Driver, name: str) -> str:
    conditions = {one.type: one for one in read(driver, name).status.conditions}
    return conditions["Ready"].message


def in_force(driver: Driver, *names: str) -> None:
    """Make passes until all of these are Ready and at rest."""
    wanted = {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
    for _ in range(60):
        driver.once()
        if all(conditions(read(driver, name)) == wanted for name in names):
            return
    raise AssertionError([read(driver, name).status for name in names])


def data(driver: Driver) -> dict[str, str]:
    return driver.world.store.get(kinds.CONFIG_MAP, "shop", "orders-config")["data"]


def accounts(driver: Driver) -> dict[str, list[str]]:
    return tomllib.loads(data(driver)["config.toml"])["auth"]["kubernetes"]["roles"]


def roles(driver: Driver) -> dict[str, Any]:
    return {one["name"]: one for one in tomllib.loads(data(driver)["roles.toml"])["roles"]}


def hashes(driver: Driver) -> list[str]:
    return [one["key_hash"] for one in json.loads(data(driver)["access-keys.json"])]


def secret(driver: Driver, name: str = "reports-login") -> dict[str, str]:
    found = driver.world.store.get(kinds.SECRET, "shop", name)
    return {key: base64.b64decode(one).decode() for key, one in found["data"].items()}


def uids(driver: Driver) -> set[str]:
    return {pod["metadata"]["uid"] for pod in driver.world.pods()}


def test_a_service_account_has_its_rights_by_a_reload_and_loses_them_with_the_object(
    driver: Driver,
) -> None:
    before = uids(driver)
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}], prefixes=["eu/"]))
    in_force(driver, "checkout")

    [permission] = roles(driver)["access:checkout"]["permissions"]
    assert accounts(driver) == {CHECKOUT: ["access:checkout"]}
    assert permission == {
        "resource": "collection:orders",
        "actions": ["write"],
        "key_prefixes": ["eu/"],
    }
    assert set(roles(driver)) == {"admin", "user", "reader", "access:checkout"}
    loaded = [one["auth"]["kubernetes"]["roles"] for one in driver.world.configs.values()]
    assert loaded == [{CHECKOUT: ["access:checkout"]}] * 3

    delete(driver, "checkout")
    driver.passes(3)

    assert "roles.toml" not in data(driver)
    loaded = [one["auth"]["kubernetes"]["roles"] for one in driver.world.configs.values()]
    assert loaded == [{"system:serviceaccount:*:*": []}] * 3
    assert uids(driver) == before


def test_rights_of_several_objects_and_of_the_spec_add_up() -> None:
    own = LOGINS | {"kubernetes": {"audience": "amaters", "roles": {CHECKOUT: ["clerk"]}}}
    driver = grown(
        authentication=own, authorization={"roles": [{"name": "clerk"}], "defaultRole": "clerk"}
    )
    apply(
        driver,
        access("b", serviceAccounts=[{"name": "checkout"}]),
        access("a", serviceAccounts=[{"name": "checkout"}, {"name": "cart"}], verbs=["read"]),
    )
    in_force(driver, "a", "b")

    assert accounts(driver) == {
        CHECKOUT: ["clerk", "access:a", "access:b"],
        "system:serviceaccount:shop:cart": ["access:a"],
    }
    assert list(roles(driver)) == ["clerk", "access:a", "access:b"]


def test_ready_waits_for_the_files_to_arrive_in_every_pod(driver: Driver) -> None:
    driver.database.files_arrive = False
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    driver.passes(10)

    assert conditions(read(driver, "checkout")) == {
        "Ready": "False",
        "Reconciling": "True",
        "Stalled": "False",
    }
    assert "is on its way to: orders-0, orders-1, orders-2" in message(driver, "checkout")
    driver.database.files_arrive = True
    in_force(driver, "checkout")


def test_ready_waits_for_a_member_that_does_not_answer_but_never_ends_by_one(
    driver: Driver,
) -> None:
    apply(driver, access("first", serviceAccounts=[{"name": "first"}]))
    in_force(driver, "first")
    driver.world.unreachable.add(2)
    apply(driver, access("second", serviceAccounts=[{"name": "second"}]))
    driver.passes(10)

    assert conditions(read(driver, "first"))["Ready"] == "True"
    assert message(driver, "second").endswith("no answer to the operator: orders-2")
    driver.world.unreachable.clear()
    in_force(driver, "first", "second")


def test_rights_that_change_are_ready_again_once_every_node_has_them(driver: Driver) -> None:
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    in_force(driver, "checkout")
    driver.database.files_arrive = False
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}], verbs=["read"]))
    driver.passes(5)

    assert reason(driver, "checkout") == "Loading"
    driver.database.files_arrive = True
    in_force(driver, "checkout")


def test_rights_wait_for_the_restart_that_switches_authentication_on() -> None:
    """A node takes over roles by a reload, and asks nobody before it has restarted."""
    driver = Driver()
    driver.world.edit(replicas=3)
    driver.settled()
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    driver.passes(2)
    assert reason(driver, "checkout") == "AuthenticationOff"

    driver.world.edit(authentication=LOGINS, upgrade={"paused": True})
    driver.passes(20)
    assert "to be restarted first" in message(driver, "checkout")

    driver.world.edit(upgrade={"paused": False})
    in_force(driver, "checkout")
    assert all(one["auth"]["enabled"] for one in driver.world.started.values())


def test_a_user_has_a_secret_with_a_key_of_which_nodes_know_the_hash(driver: Driver) -> None:
    before = uids(driver)
    apply(driver, access("reports", user={"name": "reporter"}, verbs=["read"]))
    in_force(driver, "reports")
    found = driver.world.store.get(kinds.SECRET, "shop", "reports-login")
    key = secret(driver)["api-key"]

    [entry] = json.loads(data(driver)["access-keys.json"])
    assert entry["key_hash"] == digest_of(key)
    assert (entry["name"], entry["roles"]) == ("reporter", ["access:reports"])
    assert secret(driver)["user"] == "reporter"
    assert secret(driver)["server"] == "orders.shop.svc:7878"
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("AmatersAccess", "reports")
    assert read(driver, "reports").status.secret_name == "reports-login"
    assert read(driver, "reports").status.renews_at - driver.world.now > timedelta(days=89)
    assert uids(driver) == before


def test_no_key_is_anywhere_but_in_its_secret(driver: Driver, caplog, capsys) -> None:
    caplog.set_level("DEBUG")
    apply(driver, access("reports", user={"name": "reporter", "renewAfter": "2d", "overlap": "1d"}))
    in_force(driver, "reports")
    keys = {secret(driver)["api-key"]}
    for _ in range(40):
        driver.once(seconds=3 * 3600)
        keys |= {one for name, one in secret(driver).items() if name.endswith("api-key")}

    others = [
        json.dumps(entry.whole())
        for (kind, *_), entry in driver.world.store.entries.items()
        if kind != kinds.SECRET
    ]
    whole = driver.world.store.get(kinds.SECRET, "shop", "reports-login")
    shown = "\n".join([*others, json.dumps(whole["metadata"]), caplog.text, *capsys.readouterr()])
    encoded = {base64.b64encode(one.encode()).decode() for one in keys}
    assert len(keys) >= 3
    assert "access.secret_written" in caplog.text
    assert not [one for one in keys | encoded if one in shown]


def test_a_key_is_renewed_without_a_moment_in_which_the_user_has_none_that_works(
    driver: Driver,
) -> None:
    apply(
        driver, access("reports", user={"name": "reporter", "renewAfter": "10d", "overlap": "2d"})
    )
    in_force(driver, "reports")
    first, seen = secret(driver)["api-key"], []
    began = driver.world.now
    while driver.world.now - began < timedelta(days=25):
        # Before the nodes have a file, and after: whoever reads the Secret now can log in.
        driver.database.files_arrive = not driver.database.files_arrive
        driver.once(seconds=7200)
        key = secret(driver)["api-key"]
        seen += [] if key in seen else [key]
        for ordinal in driver.world.configs:
            known = known_hashes(driver, ordinal)
            assert digest_of(key) in known, "every node takes the key that the Secret has"
        assert conditions(read(driver, "reports"))["Ready"] == "True"

    assert len(seen) == 3
    assert seen[0] == first
    driver.database.files_arrive = True
    driver.passes(5, seconds=86400)
    assert digest_of(first) not in hashes(driver), "the old key ends with the overlap"


def test_the_old_key_works_for_the_overlap_and_says_itself_when_it_ends(driver: Driver) -> None:
    apply(
        driver, access("reports", user={"name": "reporter", "renewAfter": "10d", "overlap": "2d"})
    )
    in_force(driver, "reports")
    first = secret(driver)["api-key"]
    driver.world.now += timedelta(days=10)
    for _ in range(10):
        driver.once()
    second = secret(driver)["api-key"]
    entries = {one["key_hash"]: one for one in json.loads(data(driver)["access-keys.json"])}

    assert first != second
    assert set(entries) == {digest_of(first), digest_of(second)}
    assert "expires_at" not in entries[digest_of(second)]
    ends = entries[digest_of(first)]["expires_at"]
    assert (
        ends
        == driver.world.store.get(kinds.SECRET, "shop", "reports-login")["metadata"]["annotations"][
            "amaters.io/previous-key-ends"
        ]
    )
    driver.world.now += timedelta(days=2)
    driver.passes(3)
    assert hashes(driver) == [digest_of(second)]
    assert "previous-key-hash" not in secret(driver)


def test_a_deleted_secret_is_made_again_and_the_old_key_ends(driver: Driver) -> None:
    apply(driver, access("reports", user={"name": "reporter"}))
    in_force(driver, "reports")
    first = secret(driver)["api-key"]
    driver.world.store.delete(kinds.SECRET, "shop", "reports-login")
    in_force(driver, "reports")

    assert secret(driver)["api-key"] != first
    assert hashes(driver) == [digest_of(secret(driver)["api-key"])]


@pytest.mark.parametrize("content", ["", "secret", "amk_short", "amk_" + "x" * 42 + "!"])
def test_a_key_that_somebody_wrote_by_hand_is_replaced(driver: Driver, content: str) -> None:
    """The hash of a key that can be guessed would be in a ConfigMap."""
    apply(driver, access("reports", user={"name": "reporter"}))
    in_force(driver, "reports")
    found = driver.world.store.entries[kinds.SECRET, "shop", "reports-login"]
    found.own["data"]["api-key"] = base64.b64encode(content.encode()).decode()
    found.applied.clear()
    in_force(driver, "reports")

    assert secret(driver)["api-key"].startswith("amk_")
    assert hashes(driver) == [digest_of(secret(driver)["api-key"])]


def test_what_a_person_removes_of_the_secrets_description_returns(driver: Driver) -> None:
    apply(driver, access("reports", user={"name": "reporter"}))
    in_force(driver, "reports")
    entry = driver.world.store.entries[kinds.SECRET, "shop", "reports-login"]
    key = secret(driver)["api-key"]
    entry.own["metadata"]["annotations"] = {"mine": "1"}
    entry.own["metadata"]["labels"] = {}
    entry.own["data"]["mine"] = "MQ=="
    driver.passes(2)
    found = driver.world.store.get(kinds.SECRET, "shop", "reports-login")

    assert secret(driver)["api-key"] == key
    assert found["metadata"]["labels"]["amaters.io/access"] == "reports"
    assert found["metadata"]["annotations"].keys() >= {"mine", "amaters.io/issued-at"}
    assert secret(driver)["mine"] == "1"


def test_a_copied_key_is_its_first_users_and_the_rest_goes_on(driver: Driver) -> None:
    """Nodes refuse a whole file in which one key occurs twice."""
    apply(driver, access("reports", user={"name": "reporter"}))
    in_force(driver, "reports")
    driver.world.step(5)
    apply(driver, access("another", user={"name": "other"}))
    in_force(driver, "another")
    key = secret(driver)["api-key"]
    copy = driver.world.store.entries[kinds.SECRET, "shop", "another-login"]
    for manifest in (copy.own, *copy.applied.values()):
        manifest.get("data", {})["api-key"] = base64.b64encode(key.encode()).decode()
    driver.passes(3)

    assert reason(driver, "another") == "KeyTaken"
    assert "kubectl delete secret another-login" in message(driver, "another")
    assert hashes(driver) == [digest_of(key)]
    in_force(driver, "reports")
    driver.world.store.delete(kinds.SECRET, "shop", "another-login")
    in_force(driver, "reports", "another")
    assert len(set(hashes(driver))) == 2


def test_a_foreign_secret_is_never_taken_over(driver: Driver) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "reports-login", "namespace": "shop"},
        "data": {"api-key": base64.b64encode(b"amk_" + b"a" * 43).decode()},
    }
    driver.world.store.put(foreign)
    apply(driver, access("reports", user={"name": "reporter"}))
    driver.passes(5)
    found = driver.world.store.get(kinds.SECRET, "shop", "reports-login")

    assert reason(driver, "reports") == "SecretNameTaken"
    assert found["data"] == foreign["data"]
    assert hashes(driver) == []
    driver.world.store.delete(kinds.SECRET, "shop", "reports-login")
    in_force(driver, "reports")


def test_a_secret_of_somebody_who_was_faster_is_not_overwritten(
    driver: Driver, monkeypatch
) -> None:
    """It appears between the look and the write."""
    apply(driver, access("reports", user={"name": "reporter"}))
    look = driver.kube.get

    async def late(kind, namespace, name):
        found = await look(kind, namespace, name)
        if kind == kinds.SECRET and found is None:
            meta = {"name": name, "namespace": namespace}
            driver.world.store.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
        return found

    monkeypatch.setattr(driver.kube, "get", late)
    driver.passes(3)

    assert "data" not in driver.world.store.get(kinds.SECRET, "shop", "reports-login")
    assert reason(driver, "reports") == "SecretNameTaken"


@pytest.mark.parametrize("renewal", [False, True])
def test_an_operator_that_may_not_write_secrets_says_so(driver: Driver, renewal: bool) -> None:
    no = {"Secret reports-login": ForbiddenError("cannot create Secret: no (HTTP 403)")}
    if renewal:
        apply(driver, access("reports", user={"name": "reporter"}))
        in_force(driver, "reports")
        driver.world.now += timedelta(days=91)
        driver.kube.refusals = no
        known = hashes(driver)
    else:
        driver.kube.refusals = no
        apply(driver, access("reports", user={"name": "reporter"}))
        known = []
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    in_force(driver, "checkout")
    found = {one.type: one for one in read(driver, "reports").status.conditions}

    assert found["Ready"].status == str(renewal)
    assert (found["Stalled"].status, found["Stalled"].reason) == ("True", "SecretForbidden")
    assert "set access.secrets in the values of its chart" in found["Stalled"].message
    assert hashes(driver) == known, "the key that there is goes on working"


def test_two_objects_with_one_user_leave_the_older_one_alone(driver: Driver) -> None:
    apply(driver, access("z-first", user={"name": "reporter"}))
    in_force(driver, "z-first")
    driver.world.now += timedelta(minutes=1)
    apply(driver, access("a-second", user={"name": "reporter"}))
    driver.passes(3)

    assert reason(driver, "a-second") == "UserTaken"
    assert "of the older AmatersAccess z-first" in message(driver, "a-second")
    assert driver.world.store.get(kinds.SECRET, "shop", "a-second-login") is None
    assert conditions(read(driver, "z-first"))["Ready"] == "True"
    delete(driver, "z-first")
    in_force(driver, "a-second")


def test_accounts_of_other_namespaces_need_the_clusters_permission(driver: Driver) -> None:
    apply(driver, access("front", serviceAccounts=[{"name": "cart", "namespace": "front"}]))
    driver.passes(3)
    assert reason(driver, "front") == "NamespaceNotAllowed"
    assert "front" in message(driver, "front")

    allowed = {"audience": "amaters", "accessNamespaces": ["front"]}
    driver.world.edit(authentication=LOGINS | {"kubernetes": allowed})
    in_force(driver, "front")
    assert accounts(driver) == {"system:serviceaccount:front:cart": ["access:front"]}

    driver.world.edit(authentication=LOGINS)
    driver.passes(4)
    assert accounts(driver) == {"system:serviceaccount:*:*": []}
    assert reason(driver, "front") == "NamespaceNotAllowed"


@pytest.mark.parametrize(
    ("login", "who", "field"),
    [
        ({"apiKey": {}}, {"serviceAccounts": [{"name": "a"}]}, "kubernetes: {audience: amaters}"),
        ({"kubernetes": {"audience": "amaters"}}, {"user": {"name": "a"}}, "apiKey: {}"),
    ],
)
def test_a_method_that_is_off_is_named_with_what_to_set(login, who, field) -> None:
    driver = grown(authentication=login)
    apply(driver, access("one", **who))
    driver.passes(3)

    assert reason(driver, "one") == "MethodOff"
    assert message(driver, "one").endswith(f"set its spec.authentication.{field}")
    assert driver.world.store.get(kinds.SECRET, "shop", "one-login") is None


def test_an_object_without_its_cluster_says_so_and_counts_once_there_is_one() -> None:
    driver = Driver()
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    driver.passes(1)
    assert reason(driver, "checkout") == "ClusterNotFound"
    assert conditions(read(driver, "checkout"))["Stalled"] == "True"

    driver.world.edit(replicas=3, authentication=LOGINS)
    in_force(driver, "checkout")
    driver.world.delete_cluster()
    driver.passes(1)
    assert reason(driver, "checkout") == "ClusterNotFound"


def test_an_object_of_another_cluster_is_not_ours(driver: Driver) -> None:
    apply(driver, access("other", serviceAccounts=[{"name": "a"}], clusterName="prices"))
    driver.passes(3)

    assert accounts(driver) == {"system:serviceaccount:*:*": []}
    assert read(driver, "other").status.conditions == []


def test_one_object_of_no_form_does_not_hold_up_the_others(driver: Driver) -> None:
    apply(
        driver,
        access("bad", user={"name": "a", "renewAfter": "soon"}),
        access("good", serviceAccounts=[{"name": "good"}]),
    )
    in_force(driver, "good")
    bad = driver.world.store.get(kinds.ACCESS, "shop", "bad")["status"]["conditions"]

    assert {one["reason"] for one in bad} >= {"InvalidSpec"}
    assert "user.renewAfter" in bad[0]["message"]
    assert driver.settled().status.phase == "Running"


def test_an_object_that_is_being_deleted_gives_nothing(driver: Driver) -> None:
    apply(driver, access("checkout", serviceAccounts=[{"name": "checkout"}]))
    in_force(driver, "checkout")
    entry = driver.world.store.entries[kinds.ACCESS, "shop", "checkout"]
    entry.own["metadata"]["deletionTimestamp"] = driver.world.now.isoformat()
    driver.passes(3)

    assert accounts(driver) == {"system:serviceaccount:*:*": []}


def test_a_cluster_that_is_not_reconciled_holds_up_new_objects_alone(driver: Driver) -> None:
    apply(driver, access("first", serviceAccounts=[{"name": "first"}]))
    in_force(driver, "first")
    driver.world.edit(replicas="many")
    apply(driver, access("second", serviceAccounts=[{"name": "second"}]))
    driver.passes(2)

    assert conditions(read(driver, "first"))["Ready"] == "True"
    assert reason(driver, "second") == "ClusterStalled"


def told(driver: Driver, name: str) -> list[tuple[str, str]]:
    """The events about the object: type and reason."""
    found = [entry.whole() for entry in driver.world.store.entries.values()]
    about = [one for one in found if one["kind"] == "Event"]
    about = [one for one in about if one["regarding"]["kind"] == "AmatersAccess"]
    return [(one["type"], one["reason"]) for one in about if one["regarding"]["name"] == name]


def test_events_say_what_was_given_renewed_and_refused_each_once(driver: Driver) -> None:
    apply(
        driver,
        access("reports", user={"name": "reporter", "renewAfter": "10d", "overlap": "2d"}),
        access("twice", user={"name": "reporter"}),
    )
    in_force(driver, "reports")
    driver.passes(5)

    assert told(driver, "reports") == [("Normal", "KeyMade"), ("Normal", "InForce")]
    assert told(driver, "twice") == [("Warning", "UserTaken")]
    driver.world.now += timedelta(days=10)
    driver.passes(8)
    assert told(driver, "reports")[2:] == [("Normal", "KeyMade")]
    until = "the one before works until 2026-03-1"
    assert [one for one in driver.events() if until in one]
    delete(driver, "reports")
    in_force(driver, "twice")
    assert told(driver, "twice")[1:] == [("Normal", "KeyMade"), ("Normal", "InForce")]


def test_the_next_pass_is_not_later_than_what_is_due(driver: Driver) -> None:
    apply(
        driver, access("reports", user={"name": "reporter", "renewAfter": "10d", "overlap": "2d"})
    )
    in_force(driver, "reports")
    controller = ClusterController(driver.kube, driver.database, instance="test")

    def pause() -> timedelta:
        found = asyncio.run(controller.reconcile("shop", "orders"))
        driver.world.step(0)
        return found

    assert pause() == RESTING
    driver.world.now = read(driver, "reports").status.renews_at - timedelta(seconds=9)
    assert pause() == timedelta(seconds=9)
    driver.world.now += timedelta(seconds=9)
    pauses = [pause() for _ in range(5)]
    assert "next-api-key" not in secret(driver), "the steps of a renewal follow each other"
    assert max(pauses[:3]) <= timedelta(seconds=2)
    assert pauses[3:] == [RESTING] * 2


def test_a_paused_cluster_makes_no_secret_and_says_what_it_waits_for(driver: Driver) -> None:
    apply(driver, access("old", user={"name": "old", "renewAfter": "10d", "overlap": "2d"}))
    in_force(driver, "old")
    driver.world.edit(paused=True)
    driver.world.now += timedelta(days=10)
    apply(
        driver,
        access("checkout", serviceAccounts=[{"name": "checkout"}]),
        access("reports", user={"name": "reporter"}),
    )
    driver.passes(5)
    controller = ClusterController(driver.kube, driver.database, instance="test")
    pause = asyncio.run(controller.reconcile("shop", "orders"))

    assert "while the cluster's spec.paused is set" in message(driver, "checkout")
    assert reason(driver, "reports") == "Held"
    assert driver.world.store.get(kinds.SECRET, "shop", "reports-login") is None
    assert "next-api-key" not in secret(driver, "old-login")
    assert conditions(read(driver, "old"))["Ready"] == "True"
    assert pause >= timedelta(seconds=2)
    driver.world.edit(paused=False)
    in_force(driver, "checkout", "reports", "old")


def test_nothing_is_written_at_rest(driver: Driver) -> None:
    apply(
        driver,
        access("checkout", serviceAccounts=[{"name": "checkout"}]),
        access("reports", user={"name": "reporter"}),
        access("refused", serviceAccounts=[{"name": "a", "namespace": "b"}]),
    )
    in_force(driver, "checkout", "reports")
    driver.passes(2)
    before = len(driver.crash_points.changes)
    driver.passes(20)

    written = driver.crash_points.changes[before:]
    ours = ("Secret", "AmatersAccess", "AmatersCluster", "reload", "record")
    assert written
    assert not [one for one in written if any(name in one for name in ours)]


def test_backups_know_the_files_with_the_rights_for_current() -> None:
    """Else no node would have the newest configuration, and no backup would be made."""
    driver = grown(backup={"destination": "s3://backups/orders"})
    apply(driver, access("reports", user={"name": "reporter"}))
    in_force(driver, "reports")
    driver.world.annotate(backup="now")
    driver.passes(4)

    assert driver.world.cluster().status.backup.last is not None


def test_the_secrets_reader_never_shows_a_key() -> None:
    keys = access_secret.Keys("amk_" + "a" * 43, None, "amk_" + "b" * 43)

    assert "amk_" not in repr(keys)
