"""What people write where only the operator should: claims and the status lead to no harm."""

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAME, NAMESPACE

PAST = "2020-01-01T00:00:00Z"


def made(replicas: int = 3, **spec: object) -> Driver:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=replicas, **spec)
    driver.settled(within=300)
    return driver


def note(driver: Driver, ordinal: int, notes: dict[str, str]) -> None:
    """Annotate and label a claim as a person does, who from then on owns what was written."""
    entry = driver.world.store.entries[kinds.CLAIM, NAMESPACE, f"data-orders-{ordinal}"]
    named = {f"amaters.io/{name}": value for name, value in notes.items()}
    meta = entry.own["metadata"]
    meta["annotations"] = (meta.get("annotations") or {}) | named
    meta["labels"] = (meta.get("labels") or {}) | {"amaters.io/quarantine": "true"}
    for manifest in entry.applied.values():
        for name in named:
            (manifest["metadata"].get("annotations") or {}).pop(name, None)


def claims(driver: Driver) -> dict[str, str]:
    """Return the size of each claim."""
    found = driver.world.store.find(kinds.CLAIM, NAMESPACE, {})
    requests = {one["metadata"]["name"]: one["spec"]["resources"]["requests"] for one in found}
    return {name: size["storage"] for name, size in requests.items()}


def forge(driver: Driver, field: str, value: object) -> None:
    """Edit the status as `kubectl edit --subresource status` does."""
    entry = driver.world.store.entries[kinds.CLUSTER, NAMESPACE, NAME]
    applied = next(one for (_, part), one in entry.applied.items() if part)
    applied["status"][field] = value


FORGED = [
    {"member": "cluster-1/99", "quarantined-at": PAST, "quarantined-until": PAST},
    {"member": "cluster-1/0", "quarantined-at": PAST, "quarantined-until": PAST},
    {"quarantined-at": PAST, "quarantined-until": PAST},
    {"member": "cluster-1/²"},
    {"member": "cluster-1/" + "9" * 30, "set-aside": "9" * 30 + f"={PAST}/{PAST}"},
    {"member": "cluster-1/" + "9" * 5000, "set-aside": "9" * 5000 + f"={PAST}/{PAST}"},
    {
        "quarantined-at": "0001-01-01T00:00:00+10:00",
        "quarantined-until": "9999-12-31T23:59:59-10:00",
    },
]


@pytest.mark.parametrize("notes", FORGED, ids=lambda one: str(one)[:60])
def test_forged_marks_on_a_voters_claim_shorten_no_quarantine(notes: dict[str, str]) -> None:
    driver = made(5)
    note(driver, 4, notes)
    driver.passes(10)
    assert driver.world.cluster().status.quarantine == []

    driver.world.edit(replicas=3)
    driver.passes(80)

    assert len(driver.world.voters) == 3
    assert "data-orders-4" in claims(driver)
    listed = {one.claim: one for one in driver.world.cluster().status.quarantine}
    assert listed["data-orders-4"].member == 5
    assert listed["data-orders-4"].until > driver.world.now


@pytest.mark.parametrize("mark", ["cluster-1/99", "cluster-1/0"])
def test_a_forged_mark_of_a_member_that_is_away_shortens_no_quarantine(
    mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = made(5)
    boots = type(driver.world)._boots
    monkeypatch.setattr(
        type(driver.world),
        "_boots",
        lambda world, pod: pod["metadata"]["name"] != "orders-4" and boots(world, pod),
    )
    driver.world.store.delete(kinds.POD, NAMESPACE, "orders-4")
    note(driver, 4, {"member": mark, "quarantined-at": PAST, "quarantined-until": PAST})

    driver.world.edit(replicas=3)
    driver.passes(80)

    assert len(driver.world.voters) == 3
    assert "data-orders-4" in claims(driver)


GARBAGE = [
    ("pods", -1),
    ("pods", 2**31 - 1),
    ("pods", 1),
    ("autoGrow", {"size": "abc", "since": PAST}),
    ("autoGrow", {"size": "NaN", "since": PAST}),
    ("autoGrow", {"size": "1Pi", "since": PAST}),
    ("members", [{"pod": "orders-" + "9" * 5000, "role": "Leader", "id": 9}]),
    ("surge", "orders-0"),
    ("bootstrap", {"initialMembers": ["garbage"], "clusterId": "other"}),
    *(
        (
            "canary",
            {
                "good": {
                    "revision": "r",
                    "fingerprint": "f",
                    "template": one,
                    "settings": '{"x": {}}',
                }
            },
        )
        for one in ('{"metadata": {}}', '{"metadata": {}, "spec": {}}', "{}", "[")
    ),
]


@pytest.mark.parametrize("forged", GARBAGE, ids=lambda one: str(one)[:60])
@pytest.mark.parametrize("canary", [None, {"bake": "30s"}], ids=["plain", "canary"])
def test_a_status_full_of_garbage_is_outlived(
    forged: tuple[str, object], canary: dict[str, str] | None
) -> None:
    driver = made(upgrade={"canary": canary})

    forge(driver, *forged)
    driver.passes(10)

    cluster = driver.settled(within=200)
    assert cluster.status.pods == 3
    assert set(claims(driver).values()) == {"10Gi"}
    assert len(claims(driver)) == len(driver.world.voters) == 3


def test_one_claim_that_a_person_has_made_huge_does_not_grow_the_others() -> None:
    driver = made(
        storage={"size": "10Gi", "autoGrow": {"below": "20%", "by": "50%", "max": "100Gi"}}
    )
    entry = driver.world.store.entries[kinds.CLAIM, NAMESPACE, "data-orders-1"]
    entry.own["spec"]["resources"]["requests"]["storage"] = "1Ti"

    driver.passes(20)

    assert sorted(claims(driver).values()) == ["10Gi", "10Gi", "1Ti"]
