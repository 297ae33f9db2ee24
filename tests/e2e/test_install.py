"""Ten lines of YAML become a replicated database."""

import time

import pytest

from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]


def test_ten_lines_of_yaml_become_three_ready_pods_on_three_nodes(cluster):
    start = time.monotonic()
    demo = cluster("demo", replicas=3)

    demo.until_ready(3)
    print(f"\nfrom apply to ready: {time.monotonic() - start:.1f} s")
    nodes = {pod["spec"]["nodeName"] for pod in demo.pods.values()}
    assert len(nodes) == 3
    demo.cli("set", "greeting", "hello", pod="demo-0")
    through_service = f"http://demo.{demo.kubectl.namespace}.svc:7878"
    read = demo.cli("--server", through_service, "get", "greeting", pod="demo-1")
    assert "hello" in read
    assert demo.leader() in demo.pods
    columns = demo.kubectl("get", "amc", "demo", "--output", "wide")
    print(columns)
    assert "3/3" in columns
    assert demo.leader() in columns


def test_a_deleted_pod_comes_back_with_its_data_and_its_member(cluster):
    heal = cluster("heal", replicas=3)
    heal.until_ready(3)
    heal.cli("set", "kept", "yes")
    before = {one["id"] for one in heal.members()}

    heal.kubectl("delete", "pod", "heal-1", "--wait=true")

    heal.until_ready(3)
    assert "yes" in heal.cli("get", "kept", pod="heal-1")
    assert {one["id"] for one in heal.members()} == before


def test_a_lost_disk_becomes_a_new_member_under_a_fresh_id(cluster):
    lost = cluster("lost", replicas=3)
    lost.until_ready(3)
    lost.cli("set", "kept", "yes")
    before = {one["name"]: one["id"] for one in lost.members()}

    lost.kubectl("delete", "pvc", "data-lost-2", "--wait=false")
    lost.kubectl("delete", "pod", "lost-2", "--wait=true")

    def replaced() -> bool:
        members = {one["name"]: one for one in lost.members(pod="lost-0")}
        newer = members.get("lost-2")
        return bool(newer) and newer["id"] > max(before.values()) and not newer["is_learner"]

    eventually("lost-2 is a new voter", replaced, within=120, explain=lost.describe)
    lost.until_ready(3)
    assert "yes" in lost.cli("get", "kept", pod="lost-2")
