"""Rolls and shrinking with consent: approvals, maintenance windows, pre-checks and restarts."""

from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.manifests import pod_template
from amaters_operator.testing import Driver
from amaters_operator.testing import database as fakes
from amaters_operator.testing.world import NAMESPACE

MANUAL = {"approval": "Manual"}
WINDOW = {"schedule": "0 14 * * *", "duration": "1h"}


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def disturbed(driver: Driver) -> list[str]:
    """What was done to healthy members, in order."""
    kinds_of = ("evict", "transfer", "remove")
    return [one for one in driver.crash_points.changes if one.startswith(kinds_of)]


def images(driver: Driver) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()}


def grown(replicas: int = 3, **spec) -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=replicas, **spec)
    made.settled()
    return made


def waiting(driver: Driver) -> str:
    """Let it arrive where it waits for approval; return the plan."""
    return driver.until(lambda one: condition(one, "ApprovalRequired").status == "True").status.plan


@pytest.fixture
def driver() -> Driver:
    return grown(upgrade=MANUAL)


def test_a_cluster_at_rest_has_no_plan(driver: Driver) -> None:
    status = driver.world.cluster().status

    assert (status.plan, status.pending_actions, status.maintenance) == ("", [], None)
    assert condition(driver.world.cluster(), "ApprovalRequired").reason == "NothingWaits"


def test_nothing_healthy_is_touched_before_the_plan_is_approved(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    plan = waiting(driver)
    driver.passes(20)

    cluster = driver.world.cluster()
    assert disturbed(driver) == []
    assert cluster.status.plan == plan
    assert cluster.status.phase == "UpgradeWaiting"
    required = condition(cluster, "ApprovalRequired")
    assert required.reason == "WaitsForApproval"
    assert "`kubectl amaters approve orders`" in required.message
    assert f"amaters.io/approve={plan}" in required.message
    assert condition(cluster, "Reconciling").reason == "WaitsForApproval"
    assert condition(cluster, "Stalled").status == "False"
    assert condition(cluster, "Ready").status == "True"


def test_the_plan_names_pods_order_reason_and_what_is_left_of_the_majority(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal
    driver.world.edit(image="amaters:2")
    waiting(driver)

    pending = driver.world.cluster().status.pending_actions

    followers = sorted((one for one in range(3) if one != leader), reverse=True)
    assert [(one.action, one.pod) for one in pending] == [
        *(("ReplacePod", f"orders-{one}") for one in followers),
        ("TransferLeadership", f"orders-{leader}"),
        ("ReplacePod", f"orders-{leader}"),
    ]
    margins = [(one.margin.before, one.margin.needed, one.margin.after) for one in pending]
    assert margins == [(3, 2, 2), (3, 2, 2), (3, 2, 3), (3, 2, 2)]
    assert all(one.reason for one in pending)


def test_an_approved_plan_is_carried_out_to_its_end_under_one_approval(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    plan = waiting(driver)
    driver.world.annotate(approve=plan)
    seen = set()

    def done(cluster) -> bool:
        seen.add(cluster.status.plan)
        return cluster.status.image == "amaters:2" and cluster.status.phase == "Running"

    driver.until(done)

    assert seen == {plan, ""}
    assert len(disturbed(driver)) == 4
    assert driver.most_down == 1
    assert not [note for note in driver.events() if note.startswith("ApprovalIgnored")]


def test_the_plan_is_shown_also_when_nothing_waits() -> None:
    driver = grown()
    driver.world.edit(image="amaters:2")

    cluster = driver.until(lambda one: one.status.upgrade.progress == "1/3")

    assert cluster.status.plan
    assert len(cluster.status.pending_actions) == 3
    assert condition(cluster, "ApprovalRequired").status == "False"
    assert driver.settled().status.pending_actions == []


def test_an_approval_of_another_plan_does_nothing_and_is_reported_once(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    old = waiting(driver)
    driver.world.edit(image="amaters:3")
    new = driver.until(lambda one: one.status.plan not in ("", old)).status.plan
    driver.world.annotate(approve=old)

    driver.passes(30, seconds=30)

    assert disturbed(driver) == []
    notes = [note for note in driver.events() if note.startswith("ApprovalIgnored")]
    assert len(notes) == 1
    assert f"amaters.io/approve={old} approves nothing: the plan is {new}" in notes[0]
    [event] = [
        one
        for one in driver.world.store.find(kinds.EVENT, NAMESPACE, {})
        if one["reason"] == "ApprovalIgnored"
    ]
    assert event.get("series") is None
    assert driver.world.cluster().status.plan == new

    driver.world.annotate(approve=new)
    assert driver.settled().status.image == "amaters:3"


def test_an_edit_in_the_middle_of_an_approved_roll_needs_another_approval(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    driver.world.annotate(approve=waiting(driver))
    driver.until(lambda one: one.status.upgrade.progress == "1/3")
    driver.world.edit(image="amaters:3")
    waiting(driver)
    before = disturbed(driver)

    driver.passes(20)

    assert disturbed(driver) == before
    assert driver.most_down == 1


@pytest.mark.parametrize("hold", ["paused", "hibernate"])
def test_what_a_person_holds_keeps_its_plan_and_its_approval(driver: Driver, hold: str) -> None:
    driver.world.edit(image="amaters:2")
    plan = waiting(driver)
    driver.world.edit(**{hold: True})
    driver.passes(10)
    held = driver.world.cluster()

    assert held.status.plan == plan
    assert condition(held, "ApprovalRequired").status == "True"
    driver.world.annotate(approve=plan)
    driver.passes(2)
    driver.world.edit(**{hold: False})
    assert driver.settled().status.image == "amaters:2"


def test_a_roll_that_is_paused_in_its_middle_goes_on_under_the_same_approval(
    driver: Driver,
) -> None:
    driver.world.edit(image="amaters:2")
    driver.world.annotate(approve=waiting(driver))
    driver.until(lambda one: one.status.upgrade.progress == "1/3")
    driver.world.edit(paused=True)
    driver.passes(10)
    before = disturbed(driver)
    driver.passes(10)
    assert disturbed(driver) == before

    driver.world.edit(paused=False)
    assert driver.settled().status.image == "amaters:2"


def test_no_approval_is_used_twice(driver: Driver) -> None:
    """There and back and there again: the annotation of the first time is still there."""
    driver.world.edit(image="amaters:2")
    first = waiting(driver)
    driver.world.annotate(approve=first)
    driver.settled()
    driver.world.edit(image="amaters:1", upgrade={"approval": "Automatic"})
    driver.settled()
    before = disturbed(driver)

    driver.world.edit(image="amaters:2", upgrade=MANUAL)
    again = waiting(driver)
    driver.passes(20)

    assert again != first
    assert disturbed(driver) == before


def test_a_pod_template_of_another_operator_version_waits_too(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pod_template.template

    def newer(cluster, shape):
        made = before(cluster, shape)
        made["spec"]["shareProcessNamespace"] = False
        return made

    monkeypatch.setattr(pod_template, "template", newer)
    plan = waiting(driver)
    driver.passes(20)
    assert disturbed(driver) == []

    driver.world.annotate(approve=plan)
    driver.settled()

    assert len(disturbed(driver)) == 4
    assert all("shareProcessNamespace" in pod["spec"] for pod in driver.world.pods())


@pytest.mark.parametrize(
    "upgrade",
    [MANUAL, {"maintenanceWindows": [{"schedule": "0 2 * * *", "duration": "1h"}]}],
    ids=["approval", "window"],
)
def test_healing_waits_for_no_consent(upgrade: dict) -> None:
    driver = grown(upgrade=upgrade)
    leader = driver.world.members[driver.world.leader].ordinal
    victim = next(one for one in range(3) if one != leader)
    driver.world.bad_images = {"amaters:bad"}
    driver.world.edit(image="amaters:bad")
    driver.until(lambda one: one.status.phase == "UpgradeWaiting")
    driver.world.store.delete(kinds.POD, NAMESPACE, f"orders-{victim}")  # it comes back broken
    driver.until(lambda one: one.status.phase == "UpgradeStuck")

    driver.world.edit(image="amaters:2")
    driver.until(
        lambda _: driver.world.pod(victim)["spec"]["containers"][0]["image"] == "amaters:2"
    )
    driver.until(lambda one: one.status.ready == "3/3")

    assert disturbed(driver) == [f"evict orders-{victim}"]
    assert images(driver) == {"amaters:1", "amaters:2"}


def test_a_member_that_lost_its_disk_is_replaced_without_approval(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal
    driver.world.lose_disk(next(one for one in range(3) if one != leader))
    driver.passes(2)

    driver.settled()

    assert sorted(driver.world.members) != [1, 2, 3]
    assert len(driver.world.voters) == 3


def test_shrinking_waits_for_approval_where_the_spec_says_so_and_growing_never() -> None:
    driver = grown(replicas=4, upgrade=MANUAL)
    driver.world.leader = 4
    driver.world.edit(replicas=3)
    plan = waiting(driver)
    driver.passes(10)

    pending = driver.world.cluster().status.pending_actions
    assert disturbed(driver) == []
    assert [(one.action, one.pod) for one in pending] == [
        ("TransferLeadership", "orders-3"),
        ("RemoveMember", "orders-3"),
    ]
    removal = pending[-1].margin
    assert (removal.before, removal.needed, removal.after) == (4, 2, 3)

    driver.world.annotate(approve=plan)
    assert driver.settled().status.ready == "3/3"
    driver.world.edit(replicas=4)
    assert driver.settled().status.ready == "4/4"


def test_shrinking_without_windows_and_approvals_asks_nobody() -> None:
    driver = grown(replicas=4)
    driver.world.edit(replicas=3)

    assert driver.settled().status.ready == "3/3"


def test_a_cluster_grows_while_its_roll_waits_for_approval(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    plan = waiting(driver)
    driver.world.edit(replicas=4)
    driver.until(lambda one: one.status.ready == "4/4")
    driver.until(lambda one: one.status.phase == "UpgradeWaiting")

    assert disturbed(driver) == []
    assert driver.world.cluster().status.plan == plan
    driver.world.annotate(approve=plan)
    driver.settled()
    assert images(driver) == {"amaters:2"}


def test_one_approval_covers_a_roll_and_the_shrinking_after_it() -> None:
    driver = grown(replicas=4, upgrade=MANUAL)
    driver.world.edit(image="amaters:2", replicas=3)
    driver.world.annotate(approve=waiting(driver))

    cluster = driver.settled()

    assert (cluster.status.ready, cluster.status.image) == ("3/3", "amaters:2")


class TestWindows:
    """It is 12:00 in the world when the clusters are made."""

    @pytest.fixture
    def driver(self) -> Driver:
        made = grown(upgrade={"maintenanceWindows": [WINDOW]})
        made.world.edit(image="amaters:2")
        return made

    def at(self, driver: Driver, hour: int, minute: int = 0) -> None:
        driver.world.now = driver.world.now.replace(hour=hour, minute=minute, second=0)

    def test_a_roll_waits_for_its_window_and_says_when_it_opens(self, driver: Driver) -> None:
        driver.passes(20)
        cluster = driver.world.cluster()

        assert disturbed(driver) == []
        assert cluster.status.phase == "UpgradeWaiting"
        assert cluster.status.maintenance.next == driver.world.now.replace(
            hour=14, minute=0, second=0
        )
        assert cluster.status.maintenance.open_until is None
        required = condition(cluster, "ApprovalRequired")
        assert (required.status, required.reason) == ("False", "WaitsForWindow")
        assert "2026-03-01T14:00:00Z" in condition(cluster, "UpgradeInProgress").message

        self.at(driver, 13, 59)
        driver.passes(2)
        assert disturbed(driver) == []
        self.at(driver, 14)
        cluster = driver.settled()
        assert images(driver) == {"amaters:2"}
        assert cluster.status.maintenance.open_until == driver.world.now.replace(
            hour=15, minute=0, second=0
        )

    def test_a_window_that_closes_stops_the_roll_before_the_next_pod(self, driver: Driver) -> None:
        self.at(driver, 14)
        driver.until(lambda one: one.status.upgrade.progress == "1/3")
        before = disturbed(driver)
        self.at(driver, 15)
        driver.passes(30)

        assert disturbed(driver) == before
        assert len(images(driver)) == 2
        driver.world.now += timedelta(days=1)
        self.at(driver, 14)
        driver.settled()
        assert images(driver) == {"amaters:2"}
        assert driver.most_down == 1

    def test_the_clocks_of_machines_open_no_window(self, driver: Driver) -> None:
        driver.world.clock_skew = {one: timedelta(hours=2, minutes=10) for one in range(3)}
        driver.passes(20)

        assert disturbed(driver) == []

    def test_an_approved_plan_waits_for_the_window_too(self, driver: Driver) -> None:
        driver.world.edit(upgrade=MANUAL | {"maintenanceWindows": [WINDOW]})
        plan = waiting(driver)
        assert "then it waits for the maintenance window at 2026-03-01T14:00:00Z" in (
            condition(driver.world.cluster(), "ApprovalRequired").message
        )
        driver.world.annotate(approve=plan)
        driver.passes(10)
        assert disturbed(driver) == []

        self.at(driver, 14)
        driver.settled()
        assert images(driver) == {"amaters:2"}

    def test_a_window_that_never_opens_stalls_the_cluster_and_says_what_to_write(
        self, driver: Driver
    ) -> None:
        never = {"schedule": "0 0 30 2 *", "duration": "1h"}
        driver.world.edit(upgrade={"maintenanceWindows": [never]})
        driver.passes(5)

        stalled = condition(driver.world.cluster(), "Stalled")
        assert (stalled.status, stalled.reason) == ("True", "InvalidMaintenanceWindow")
        assert "spec.upgrade.maintenanceWindows[0].schedule" in stalled.message
        assert disturbed(driver) == []


class TestPreCheck:
    @pytest.fixture
    def driver(self, monkeypatch: pytest.MonkeyPatch) -> Driver:
        monkeypatch.setattr(fakes, "VERSION", "0.3.0")
        made = Driver()
        made.world.edit(image="registry:5000/amaters:v0.3.0", replicas=3)
        made.settled()
        return made

    def test_members_too_old_for_the_target_defer_the_roll_with_an_event(
        self, driver: Driver
    ) -> None:
        driver.world.edit(image="registry:5000/amaters:v1.0.0")
        driver.passes(30)

        assert disturbed(driver) == []
        notes = [note for note in driver.events() if note.startswith("VersionNotCompatible")]
        assert len(notes) == 1
        assert "version v1.0.0 would be kept out by the members: orders-0 runs 0.3.0" in notes[0]
        assert condition(driver.world.cluster(), "Reconciling").reason == "VersionNotCompatible"

        driver.world.edit(image="registry:5000/amaters:v0.4.1")
        driver.settled()
        assert images(driver) == {"registry:5000/amaters:v0.4.1"}

    def test_a_member_that_is_down_defers_the_roll_with_an_event(self, driver: Driver) -> None:
        leader = driver.world.members[driver.world.leader].ordinal
        silent = next(one for one in range(3) if one != leader)
        driver.world.unreachable = {silent}
        driver.passes(2)
        driver.world.edit(image="registry:5000/amaters:v0.4.1")
        driver.passes(20)

        assert disturbed(driver) == []
        notes = [note for note in driver.events() if note.startswith("RollDeferred")]
        assert len(notes) == 1
        assert f"(orders-{silent}) does not take part" in notes[0]

        driver.world.unreachable = set()
        driver.settled()
        assert len(disturbed(driver)) == 4

    def test_a_roll_reports_no_deferral_for_the_pods_that_it_replaces(self, driver: Driver) -> None:
        driver.world.edit(image="registry:5000/amaters:v0.4.1")
        driver.settled()

        assert not [note for note in driver.events() if note.startswith("RollDeferred")]


class TestRestart:
    def test_a_token_rolls_all_pods_once_through_the_usual_roll(self) -> None:
        driver = grown()
        uids = {pod["metadata"]["uid"] for pod in driver.world.pods()}
        driver.world.annotate(restart="2026-03-01")
        driver.settled()
        driver.passes(10)

        assert not uids & {pod["metadata"]["uid"] for pod in driver.world.pods()}
        assert len(disturbed(driver)) == 4
        assert driver.most_down == 1

        driver.world.annotate()  # a person tidies up
        driver.passes(10)
        assert len(disturbed(driver)) == 4
        driver.world.annotate(restart="again")
        driver.settled()
        assert len(disturbed(driver)) == 8

    def test_a_restart_waits_for_approval_like_any_roll(self, driver: Driver) -> None:
        driver.world.annotate(restart="now")
        plan = waiting(driver)
        assert disturbed(driver) == []

        driver.world.annotate(restart="now", approve=plan)
        driver.settled()
        assert len(disturbed(driver)) == 4
