"""Commands against a fake kubectl: what is asked, what is written, and the exit codes."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from amaters_kubectl import call as calls
from amaters_kubectl import following_logs
from amaters_kubectl.cluster import goals
from amaters_kubectl.cluster.view import fenced_pods, view
from amaters_kubectl.program import COMMANDS, cli
from click.testing import CliRunner

READ_ONLY = ("status", "plan", "history", "logs", "version", "undelete")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_shows_an_example(kube, name):
    if name == "__complete":
        return
    answer = kube.run(name, "--help")

    assert answer.exit_code == 0
    assert f"  kubectl amaters {name}" in answer.output.partition("Example")[2]
    assert kube.calls == []


def test_the_list_of_commands_cuts_no_sentence(kube):
    answer = kube.run("--help")

    commands = answer.output.partition("Commands:")[2].splitlines()
    assert len([line for line in commands if line.strip()]) == len(COMMANDS) - 1
    assert [line for line in commands if line.endswith("...")] == []


def test_a_healthy_cluster_is_0_and_an_unhealthy_one_is_3(kube, make):
    assert kube.run("status", "orders", "-n", "shop").exit_code == 0

    kube.set(
        make.orders(
            conditions={"Stalled": make.condition("Stalled", "True", "X", "raise the quota")}
        )
    )
    answer = kube.run("status", "orders")

    assert answer.exit_code == 3
    assert "raise the quota" in answer.output


def test_options_count_before_and_after_the_command_and_the_later_one_wins(kube):
    assert (
        kube.run(
            "-n", "other", "--context", "c", "status", "-n", "shop", "--kubeconfig", "/k", "orders"
        ).exit_code
        == 0
    )

    [asked] = kube.calls
    assert asked[:4] == ["get", "--namespace=shop", "--context=c", "--kubeconfig=/k"]


def test_without_a_name_the_only_cluster_is_meant_and_several_are_listed(kube, make):
    assert "orders-1" in kube.run("status").output
    assert kube.run("pause").exit_code == 0

    second = make.orders()
    second["metadata"]["name"] = "stock"
    kube.set(make.orders(), second)
    listed = kube.run("status")
    refused = kube.run("pause")

    assert "stock" in listed.output
    assert "LEADER" in listed.output
    assert refused.exit_code == 1
    assert "orders, stock" in refused.output


def test_all_namespaces_are_listed(kube, make):
    other = make.orders()
    other["metadata"]["namespace"] = "far"
    kube.set(make.orders(), other)

    assert "far" not in kube.run("status").output
    assert "far" in kube.run("status", "-A").output


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_the_same_as_people(kube, form):
    answer = kube.run("status", "orders", "-o", form)

    found = yaml.safe_load(answer.output) if form == "yaml" else json.loads(answer.output)
    assert found["health"] == "healthy"
    assert [one["pod"] for one in found["members"]] == ["orders-0", "orders-1", "orders-2"]
    assert found["members"][1]["diskPercent"] == 12


def test_output_for_no_terminal_has_no_colors(kube):
    assert "\x1b" not in kube.run("status", "orders").output


@pytest.mark.parametrize(
    ("said", "code", "advice"),
    [
        (
            'Error from server (NotFound): amatersclusters.amaters.io "x" not found',
            "not_found",
            "--namespace",
        ),
        (
            'error: the server doesn\'t have a resource type "amatersclusters"',
            "no_crd",
            "install the operator",
        ),
        (
            'Error from server (Forbidden): x is forbidden: User "u" cannot get',
            "forbidden",
            "docs/kubectl.md",
        ),
        ("error: You must be logged in to the server (Unauthorized)", "unauthorized", "log in"),
        (
            "Unable to connect to the server: dial tcp: lookup k: no such host",
            "unreachable",
            "--context",
        ),
        (
            "The connection to the server localhost:8080 was refused - did you specify the right host",
            "unreachable",
            "--context",
        ),
        ('error: context "nope" does not exist', "no_context", "get-contexts"),
        ("", "kubectl", "without a word"),
    ],
)
def test_a_failure_has_a_code_the_fact_and_the_next_step(kube, make, said, code, advice):
    kube.set(make.orders(), failures={"get": said})

    people = kube.run("status", "orders")
    programs = kube.run("status", "orders", "-o", "json")

    assert "Error: (" not in people.stderr
    assert people.exit_code == programs.exit_code == 1
    assert advice in people.stderr
    assert json.loads(programs.stderr)["code"] == code


def test_without_kubectl_it_says_so(kube, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    answer = kube.run("status", "orders")

    assert answer.exit_code == 1
    assert "kubectl is not on PATH" in answer.stderr


@pytest.mark.parametrize("name", ["-x", "--all", "Orders", "a b", "../x", "x;y", ""])
def test_a_name_is_never_an_option_of_kubectl(kube, name):
    answer = kube.run("status", "--", name)

    assert answer.exit_code == 2
    assert kube.calls == []


def test_amc_slash_name_is_a_name(kube):
    assert kube.run("status", "amc/orders").exit_code == 0


@pytest.mark.parametrize(
    ("command", "field", "wanted", "extra"),
    [
        ("pause", "paused", True, ()),
        ("resume", "paused", False, ()),
        ("hibernate", "hibernate", True, ("--yes",)),
        ("wake", "hibernate", False, ()),
    ],
)
def test_a_hold_is_one_field_of_the_spec(kube, make, command, field, wanted, extra):
    source = make.orders()
    source["spec"][field] = not wanted
    kube.set(source)

    answer = kube.run(command, "orders", *extra)

    assert answer.exit_code == 0, answer.output
    assert kube.patches == [{"spec": {field: wanted}}]
    assert kube.cluster["spec"][field] is wanted


def test_what_is_so_already_is_not_written(kube):
    assert kube.run("resume", "orders").exit_code == 0
    assert kube.patches == []


def test_a_crd_that_does_not_know_the_field_is_named(kube, make):
    kube.set(make.orders(), unknown=["paused"])

    answer = kube.run("pause", "orders")

    assert answer.exit_code == 1
    assert "upgrade CRDs and operator first" in answer.stderr


def test_another_owner_of_the_field_is_named(kube, make):
    source = make.orders()
    source["metadata"]["managedFields"] = [
        {"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:paused": {}}}},
    ]
    kube.set(source)

    answer = kube.run("pause", "orders")

    assert "argocd-controller writes spec.paused" in answer.stderr
    assert "kubectl-edit" not in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("hibernate", "orders"),
        ("restart", "orders"),
        ("transfer", "orders"),
        ("fence", "orders", "orders-0"),
    ],
)
def test_what_disrupts_asks_first(kube, monkeypatch, arguments):
    silent = kube.run(*arguments)
    assert silent.exit_code == 2
    assert "--yes" in silent.stderr

    monkeypatch.setattr(calls, "_answers", lambda: True)
    refused = CliRunner().invoke(cli, arguments, input="n\n")
    assert refused.exit_code == 1
    assert "nothing was changed" in refused.stderr
    assert kube.patches == []

    agreed = CliRunner().invoke(cli, arguments, input="y\n")
    assert agreed.exit_code == 0
    assert len(kube.patches) == 1


def pending(make, **more):
    source = make.orders(
        plan="3f9a",
        pendingActions=[{"pod": "orders-2", "action": "Replace", "reason": "image", "margin": "1"}],
        **more,
    )
    source["spec"]["upgrade"] = {"approval": "Manual"}
    return source


def test_approve_writes_the_hash_that_was_shown(kube, make):
    kube.set(pending(make))

    answer = kube.run("approve", "orders", "--yes")

    assert answer.exit_code == 0, answer.output
    assert kube.patches == [
        {"metadata": {"annotations": {"amaters.io/approve": "3f9a"}, "resourceVersion": "9"}}
    ]


def test_another_plan_than_the_named_one_is_not_approved(kube, make):
    kube.set(pending(make))

    answer = kube.run("approve", "orders", "--plan", "beef")

    assert answer.exit_code == 1
    assert "the pending plan of orders is 3f9a, not beef" in answer.stderr
    assert kube.patches == []


def test_a_plan_that_changes_meanwhile_is_not_approved(kube, make):
    kube.set(pending(make), conflicts=1, meanwhile={"x": "y"})
    assert kube.run("approve", "orders", "--plan", "3f9a").exit_code == 0
    assert len(kube.patches) == 2, "another change of the object alone does not matter"


def test_nothing_pending_is_nothing_to_approve(kube):
    answer = kube.run("approve", "orders", "--yes")

    assert answer.exit_code == 1
    assert "no plan that waits" in answer.stderr


def test_fences_add_up_and_survive_a_conflict(kube, make):
    source = make.orders()
    source["metadata"]["annotations"]["amaters.io/fenced"] = "orders-2"
    kube.set(source, conflicts=1, meanwhile={"amaters.io/fenced": "orders-1"})

    answer = kube.run("fence", "orders", "orders-0", "--yes")

    assert answer.exit_code == 0, answer.output
    assert kube.cluster["metadata"]["annotations"]["amaters.io/fenced"] == "orders-0,orders-1"


@pytest.mark.parametrize(
    ("before", "arguments", "after"),
    [
        ("orders-0,orders-2", ("unfence", "orders", "orders-0"), "orders-2"),
        ("orders-0", ("unfence", "orders", "orders-0"), None),
        ("*", ("unfence", "orders", "orders-0"), "orders-1,orders-2"),
        ("*", ("unfence", "orders", "--all"), None),
        ("orders-0", ("fence", "orders", "--all", "--yes"), "*"),
    ],
)
def test_unfence_takes_away(kube, make, before, arguments, after):
    source = make.orders()
    source["metadata"]["annotations"]["amaters.io/fenced"] = before
    kube.set(source)

    assert kube.run(*arguments).exit_code == 0
    assert kube.cluster["metadata"]["annotations"].get("amaters.io/fenced") == after


def test_a_pod_of_another_cluster_is_not_fenced(kube):
    answer = kube.run("fence", "orders", "stock-0", "--yes")

    assert answer.exit_code == 1
    assert "no member of orders" in answer.stderr


def test_transfer_without_a_pod_takes_the_follower_that_is_most_up_to_date(kube, make):
    kube.set(
        make.orders(
            members=[
                make.member(0, lagEntries=5),
                make.member(1, "Leader"),
                make.member(2, lagEntries=2),
            ]
        )
    )

    answer = kube.run("transfer", "orders", "--yes")

    [patch] = kube.patches
    assert answer.exit_code == 0
    assert patch["metadata"]["annotations"]["amaters.io/transfer"].startswith("orders-2 20")


@pytest.mark.parametrize(("leader", "code"), [("orders-2", 0), ("orders-1", 1)])
def test_transfer_waits_for_the_answer_and_fails_when_another_leads(
    kube, make, leader, code, monkeypatch
):
    monkeypatch.setattr(calls, "now", lambda: datetime(2026, 11, 28, 12, tzinfo=UTC))
    answer = {"request": "orders-2 2026-11-28T12:00:00Z", "message": "done or not"}
    kube.set(make.orders(), reaction={"status": {"leader": leader, "transfer": answer}})

    assert kube.run("transfer", "orders", "orders-2", "--yes", "--wait").exit_code == code


def test_transfer_to_the_leader_is_done_already(kube):
    assert "leads already" in kube.run("transfer", "orders", "orders-1").output
    assert kube.patches == []


def test_restart_is_done_when_every_pod_is_of_this_restart(kube, make, monkeypatch):
    moment = "2026-11-28T12:00:00Z"
    monkeypatch.setattr(calls, "now", lambda: datetime(2026, 11, 28, 12, tzinfo=UTC))
    old = [make.pod(0, restart=moment), make.pod(1, restart=moment), make.pod(2)]
    kube.set(make.orders(), objects={"pods": old})
    late = kube.run("restart", "orders", "--yes", "--wait", "--timeout", "0.1")

    assert late.exit_code == 4
    assert "2 of 3 pods are restarted" in late.stderr

    kube.set(make.orders(), objects={"pods": [make.pod(n, restart=moment) for n in range(3)]})
    assert kube.run("restart", "orders", "--yes", "--wait").exit_code == 0
    assert kube.patches[-1] == {"metadata": {"annotations": {"amaters.io/restart": moment}}}


def test_a_wait_that_ends_early_is_4_and_says_how_far_it_is(kube):
    answer = kube.run("pause", "orders", "--wait", "--timeout", "0.05")

    assert answer.exit_code == 4
    assert "waiting for the operator to confirm the pause" in answer.stderr


def waiting(make, reason="WaitsForApproval", **status):
    """Return a cluster whose plan waits."""
    conditions = {
        "ApprovalRequired": make.condition("ApprovalRequired", "True", reason, "plan p1 waits"),
        "Reconciling": make.condition("Reconciling", "True", reason, "plan p1 waits"),
    }
    source = make.orders(conditions=conditions, plan="p1", phase="UpgradeWaiting", **status)
    source["spec"]["upgrade"] = {"approval": "Manual"}
    return source


@pytest.mark.parametrize("command", [["resume", "orders"], ["restart", "orders", "--yes"]])
def test_a_wait_ends_when_only_a_person_can_go_on(kube, make, command):
    kube.set(waiting(make), objects={"pods": [make.pod(0)]})

    answer = kube.run(*command, "--wait", "--timeout", "20")

    assert answer.exit_code == 4
    assert "plan p1 waits for approval: kubectl amaters approve orders -n shop" in answer.stderr


def test_a_wait_for_a_window_or_for_an_approval_just_given_goes_on(make):
    by_window, approved = waiting(make, reason="WaitsForWindow"), waiting(make)
    approved["metadata"]["annotations"] = {"amaters.io/approve": "p1"}

    assert goals.settled(view(by_window)).held == ""
    assert goals.settled(view(approved)).held == ""


@pytest.mark.parametrize(
    "command",
    [["restart", "orders"], ["transfer", "orders", "orders-2"], ["fence", "orders", "orders-2"]],
)
def test_a_wait_ends_at_once_while_the_operator_is_paused(kube, make, command):
    source = make.orders()
    source["spec"]["paused"] = True
    kube.set(source, objects={"pods": [make.pod(0)]})

    answer = kube.run(*command, "--yes", "--wait", "--timeout", "20")

    assert answer.exit_code == 4
    assert "it is paused: kubectl amaters resume orders -n shop" in answer.stderr


def test_a_restart_says_what_it_waits_for(kube, make):
    kube.set(waiting(make))
    assert "once its plan is approved" in kube.run("restart", "orders", "--yes").output

    source = make.orders()
    source["spec"]["paused"] = True
    kube.set(source)
    assert "kubectl amaters resume" in kube.run("restart", "orders", "--yes").output

    source["spec"] |= {"paused": False, "upgrade": {"maintenanceWindows": [{"duration": "4h"}]}}
    kube.set(source)
    assert "in the next maintenance window" in kube.run("restart", "orders", "--yes").output


def test_undelete_lists_and_marks_the_claim(kube, make):
    kept = [{"claim": "data-orders-3", "member": "4", "until": "2026-12-01T08:00:00Z"}]
    claim = {"metadata": {"name": "data-orders-3", "namespace": "shop"}}
    kube.set(make.orders(quarantine=kept), objects={"persistentvolumeclaims": [claim]})

    listed = kube.run("undelete", "orders")
    marked = kube.run("undelete", "orders", "data-orders-3")
    refused = kube.run("undelete", "orders", "data-orders-0")

    assert "data-orders-3" in listed.output
    assert marked.exit_code == 0
    assert kube.patches == [{"metadata": {"annotations": {"amaters.io/undelete": "true"}}}]
    assert refused.exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [({}, 0), ({"until": "2026-12-01T08:00:00Z"}, 4)])
def test_undelete_waits_until_the_claim_has_no_end(kube, make, end, code):
    kept = {"claim": "data-orders-3", "member": 4, "since": "2026-11-28T08:00:00Z"} | end
    claim = {"metadata": {"name": "data-orders-3", "namespace": "shop"}}
    kube.set(make.orders(quarantine=[kept]), objects={"persistentvolumeclaims": [claim]})

    waited = kube.run("undelete", "orders", "data-orders-3", "--wait", "--timeout", "1")

    assert waited.exit_code == code


def event(name, kind, reason, at, **more):
    return {
        "metadata": {"name": f"{name}.1", "namespace": "shop"},
        "involvedObject": {"kind": kind, "name": name},
        "type": "Normal",
        "reason": reason,
        "message": f"{reason} of {name}",
        "lastTimestamp": at,
        **more,
    }


def test_history_is_events_and_status_by_time(kube, make):
    events = [
        event("orders", "AmatersCluster", "Promoted", "2026-11-28T11:00:00Z", count=3),
        event("orders-2", "Pod", "BackOff", "2026-11-28T10:00:00Z", type="Warning"),
        event("orders-stock-0", "Pod", "Strange", "2026-11-28T10:00:00Z"),
        event("stock", "AmatersCluster", "Strange", "2026-11-28T10:00:00Z"),
        event("orders", "AmatersCluster", "Series", None, eventTime="2026-11-28T08:00:00.5Z"),
    ]
    kube.set(make.orders(), objects={"events": events})

    people = kube.run("history", "orders").output
    found = json.loads(kube.run("history", "orders", "-o", "json").output)["history"]
    warnings = kube.run("history", "orders", "--warnings").output

    assert [one["reason"] for one in found if one["kind"] != "Status"] == [
        "Series",
        "BackOff",
        "Promoted",
    ]
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert "Promoted  Promoted of orders (3 times)" in people
    assert "Strange" not in people
    assert warnings.count("\n") == 1


def birth() -> list[dict]:
    """What Kubernetes says of three pods that are born."""
    steps = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "Unhealthy")
    return [
        event(
            f"orders-{pod}",
            "Pod",
            reason,
            f"2026-11-28T10:0{at}:{pod:02}Z",
            message=f"{reason} shop/orders-{pod} on node-{7 + pod} in {pod}.5s",
        )
        for pod in range(3)
        for at, reason in enumerate(steps)
    ]


def test_history_folds_what_all_pods_say_and_shows_the_newest_first(kube, make):
    late = event("orders-1", "Pod", "Killing", "2026-11-28T11:00:00Z", message="Stopping amaters")
    kube.set(make.orders(conditions={}), objects={"events": [*birth(), late]})

    lines = kube.run("history", "orders").output.splitlines()
    every = kube.run("history", "orders", "--all").output.splitlines()
    few = kube.run("history", "orders", "--limit", "2")

    known = {one["reason"] for one in (*birth(), late)}
    said = [line for line in lines if known & set(line.split())]
    reasons = [word for line in said for word in line.split() if word in known][: len(said) * 2]
    assert list(dict.fromkeys(reasons)) == [
        "Killing",
        "Unhealthy",
        "Started",
        "Created",
        "Pulled",
        "Pulling",
        "Scheduled",
    ]
    assert len(said) == 7
    assert "orders-0, orders-1, orders-2: Started shop/orders-2" in said[2]
    assert "(3 times in 2s)" in " ".join(" ".join(lines).split())
    assert len([line for line in every if known & set(line.split())]) == 19
    assert "Killing" in lines[0]
    assert {word for word in few.stdout.split() if word in known} == {"Killing", "Unhealthy"}
    assert "older lines are left out" in few.stderr


def test_history_since(kube, make):
    fresh = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    kube.set(
        make.orders(conditions={}),
        objects={
            "events": [
                event("orders", "AmatersCluster", "New", fresh),
                event("orders", "AmatersCluster", "Old", "2020-01-01T00:00:00Z"),
            ]
        },
    )

    output = kube.run("history", "orders", "--since", "1h").output

    assert "New" in output
    assert "Old" not in output
    assert kube.run("history", "orders", "--since", "1h29m1s").output == output
    assert kube.run("history", "orders", "--since", "soon").exit_code == 2


LOGS = {
    "orders-0": [
        '2026-11-28T10:00:00.1Z {"level":"info","event":"raft.leader","term":7}',
        '2026-11-28T10:00:03.000000001Z {"level":"error","event":"disk.failed","reason":"no space"}',
        "2026-11-28T10:00:03.000000002Z Traceback (most recent call last):",
    ],
    "orders-1": [
        "2026-11-28T10:00:02Z 2026-11-28 [warning  ] peer.lost  peer=3",
        '2026-11-28T10:00:03.000000001Z {"level":"debug","event":"tick"}',
    ],
}


def test_logs_of_all_members_are_one_log_by_time(kube, make):
    kube.set(make.orders(), objects={"pods": [make.pod(1), make.pod(0)]}, logs=LOGS)

    lines = kube.run("logs", "orders").output.splitlines()

    assert [line.split()[0][-1] for line in lines] == ["0", "1", "0", "1", "0"]
    assert lines[0] == "orders-0  10:00:00.100  info      raft.leader  term=7"
    assert 'disk.failed  reason="no space"' in lines[2]


def test_logs_without_a_line_say_so(kube, make):
    kube.set(make.orders(), objects={"pods": [make.pod(0)]}, logs={"orders-0": []})

    answer = kube.run("logs", "orders", "--since", "10s")

    assert answer.exit_code == 0
    assert "no such line" in answer.stderr


def test_logs_since_are_asked_for_in_seconds_and_a_wrong_time_is_refused(kube, make):
    kube.set(make.orders(), objects={"pods": [make.pod(0)]}, logs={"orders-0": LOGS["orders-0"]})

    kube.run("logs", "orders", "--since", "1d30m")

    assert "--since=88200s" in kube.calls[-1]
    for wrong in ("", "soon", "1h1d", "90"):
        assert kube.run("logs", "orders", "--since", wrong).exit_code == 2, wrong


def test_no_character_of_a_log_steers_the_terminal_that_shows_the_json(kube, make):
    said = "a\x9b31mb\x7fc\u202ed é 漢 😀"
    log = {"orders-0": [f"2026-11-28T10:00:00Z {said}"]}
    kube.set(make.orders(), objects={"pods": [make.pod(0)]}, logs=log)

    shown = kube.run("logs", "orders", "-o", "json").output

    assert shown.rstrip("\n").isprintable()
    assert "é 漢 😀" in shown
    assert json.loads(shown)["line"] == said


def test_logs_of_a_level_keep_the_traceback_of_their_line(kube, make):
    kube.set(make.orders(), objects={"pods": [make.pod(0), make.pod(1)]}, logs=LOGS)

    lines = kube.run("logs", "orders", "--level", "warning").output.splitlines()

    assert len(lines) == 3
    assert "peer.lost" in lines[0]
    assert "Traceback" in lines[2]


def test_a_member_without_a_log_does_not_hide_the_others(kube, make):
    kube.set(make.orders(), objects={"pods": [make.pod(0), make.pod(2)]}, logs=LOGS)

    answer = kube.run("logs", "orders", "-o", "json")

    assert answer.exit_code == 0
    assert {json.loads(line)["pod"] for line in answer.stdout.splitlines()} == {"orders-0"}
    assert "orders-2" in answer.stderr


def again(kube):
    """The calls that continue a log where it ended."""
    return [one for one in kube.calls if any("--since-time" in part for part in one)]


@pytest.mark.slow
def test_logs_are_followed_over_the_end_of_a_container(kube, make, monkeypatch):
    kube.set(make.orders(), logs=LOGS)
    monkeypatch.setattr(following_logs, "_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(following_logs, "_SETTLE_SECONDS", 1.5)
    follower = following_logs.Follower(calls.Kubectl(), ["orders-0", "orders-1"], ["--tail=10"])
    found, notes = [], []
    try:
        for batch in follower.lines():
            if isinstance(batch, str):
                notes.append(batch)
            else:
                found += batch
            if len(found) >= 5 and len(notes) >= 2:
                break
        end = time.monotonic() + 10
        while time.monotonic() < end and len(asked := again(kube)) < 4:
            time.sleep(0.05)
    finally:
        follower.stop()
    while not follower._lines.empty():
        found.append(follower._lines.get())

    assert [one.at for one in found] == sorted(one.at for one in found)
    assert len(found) == 5, "what was shown once is not shown again"
    assert {note.partition(":")[0] for note in notes} == {"orders-0", "orders-1"}
    assert "--since-time=2026-11-28T10:00:03Z" in asked[0]


def test_versions_and_whether_they_fit(kube, make):
    deployment = {
        "metadata": {
            "name": "op",
            "namespace": "amaters",
            "labels": {"app.kubernetes.io/name": "amaters-operator"},
        },
        "spec": {
            "template": {
                "spec": {"containers": [{"image": "r:5000/amaters-operator:0.2.9@sha256:ab"}]}
            }
        },
    }
    crd = {
        "metadata": {"name": "amatersclusters.amaters.io"},
        "spec": {"versions": [{"name": "v1alpha1", "served": True}]},
    }
    kube.set(
        make.orders(), objects={"deployments": [deployment], "customresourcedefinitions": [crd]}
    )

    answer = kube.run("version").output
    alone = kube.run("version", "--client").output

    assert "0.2.9 (amaters/op)" in answer
    assert "v1alpha1" in answer
    assert "use the same version" in answer
    assert alone.count("\n") == 1


def test_versions_that_may_not_be_read_are_named(kube, make):
    kube.set(
        make.orders(),
        failures={
            "deployments": "Error from server (Forbidden): x is forbidden",
            "customres": "Error from server (Forbidden): y",
        },
    )

    answer = kube.run("version")

    assert answer.exit_code == 0
    assert "operators cannot be read" in answer.output


def test_kubectl_completes_commands_and_clusters(kube):
    assert kube.run("__complete", "sta").output.splitlines() == [
        "status\tShow the members, what is wrong, and what...",
        ":4",
    ]
    assert kube.run("__complete", "status", "-n", "shop", "or").output.splitlines() == [
        "orders",
        ":4",
    ]
    assert kube.run("completion", "kubectl").output.startswith("#!/bin/sh")
    assert "_KUBECTL_AMATERS_COMPLETE" in kube.run("completion", "bash").output


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_only_reads_writes_nothing(kube, make, name):
    kube.set(make.orders(), objects={"pods": [make.pod(0)]}, logs=LOGS)

    kube.run(name, *(() if name == "version" else ("orders",)))

    assert kube.calls
    assert kube.patches == []


@pytest.mark.parametrize(
    ("annotation", "status", "done"),
    [
        ("orders-1", {"fenced": ["orders-1"], "leader": "orders-1"}, False),
        ("orders-1", {"fenced": ["orders-1"], "leader": "orders-0"}, True),
        ("orders-1", {"fenced": [], "leader": "orders-0"}, False),
        ("*", {"fenced": ["orders-0", "orders-1", "orders-2"]}, True),
        ("*", {"fenced": ["orders-0", "orders-1"]}, False),
        ("orders-0,orders-1,orders-2", {"fenced": ["orders-0", "orders-1", "orders-2"]}, True),
        ("", {"fenced": []}, True),
        ("", {"fenced": ["orders-2"]}, False),
    ],
)
def test_a_fence_is_done_when_the_nodes_report_it_and_none_of_them_leads(
    make, annotation, status, done
):
    cluster = view(make.orders(**status))

    assert goals.fenced(cluster, fenced_pods(annotation)).done is done


@pytest.mark.parametrize(
    ("goal", "status", "spec", "done"),
    [
        (
            goals.paused,
            {"phase": "Paused", "conditions": {"Paused": "True"}},
            {"paused": True},
            True,
        ),
        (goals.paused, {}, {"paused": True}, False),
        (
            goals.paused,
            {"observedGeneration": 3, "conditions": {"Paused": "True"}},
            {"paused": True},
            False,
        ),
        (goals.hibernated, {"conditions": {"Hibernated": "False"}}, {"hibernate": True}, False),
        (
            goals.hibernated,
            {"conditions": {"Hibernated": "True"}, "members": []},
            {"hibernate": True},
            True,
        ),
        (goals.awake, {"conditions": {"Hibernated": "True"}}, {}, False),
        (goals.awake, {"readyReplicas": 2}, {}, False),
        (goals.awake, {}, {}, True),
        (goals.settled, {}, {}, True),
        (goals.settled, {"conditions": {"Reconciling": "True"}}, {}, False),
        (goals.settled, {"conditions": {"Stalled": "True"}}, {}, False),
        (goals.settled, {"phase": "Upgrading"}, {}, False),
        (goals.settled, {"conditions": {"Ready": "False"}}, {}, False),
    ],
)
def test_a_goal_is_judged_from_what_the_operator_reports(make, goal, status, spec, done):
    conditions = {
        kind: make.condition(kind, said) for kind, said in status.pop("conditions", {}).items()
    }
    source = make.orders(conditions=conditions, **status)
    source["spec"] |= spec

    assert goal(view(source)).done is done
