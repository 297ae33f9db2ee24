"""Snapshots go to a real S3 server on schedule and on demand, and come back equal."""

import time

import pytest

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


def contents(cluster, pod: str) -> str:
    return cluster.cli("--format", "ndjson", "range", "key-", "key-~", pod=pod)


@pytest.mark.ipv6
def test_a_snapshot_taken_on_demand_and_on_schedule_restores_into_an_empty_cluster(cluster, s3):
    backup = {
        "destination": f"s3://{s3.bucket}/saved",
        "endpointUrl": s3.endpoint,
        "addressingStyle": "path",
        "credentialsSecretName": "s3-credentials",
        "retention": {"count": 3},
    }
    saved = cluster("saved", replicas=3, backup=backup)
    saved.until_ready(3)
    lines = "\n".join(f"put key-{number:04} value-{number}" for number in range(500))
    saved.kubectl("exec", "-i", "saved-0", "--", "amaters-cli", "batch", "-", stdin=lines)

    start = time.monotonic()
    saved.kubectl("annotate", "amc/saved", "amaters.io/backup=first", "--overwrite")
    uri = eventually(
        "the backup asked for is in the status",
        lambda: saved.last_backup,
        within=60,
        explain=saved.describe,
    )
    print(f"\non demand: {uri} after {time.monotonic() - start:.1f} s")
    assert uri.startswith(f"s3://{s3.bucket}/saved/")

    saved.patch(backup={**backup, "schedule": "* * * * *"})
    eventually(
        "the scheduled backup is a new one",
        lambda: saved.last_backup != uri,
        within=130,
        explain=saved.describe,
    )
    scheduled = saved.last_backup
    saved.patch(backup={**backup, "schedule": None})

    restored = cluster(
        "restored",
        replicas=3,
        backup={**backup, "destination": f"s3://{s3.bucket}/restored"},
        bootstrap={"restoreFrom": scheduled},
    )
    restored.until_ready(3)
    assert contents(restored, "restored-1") == contents(saved, "saved-1")
    assert contents(saved, "saved-1").count("\n") >= 499


def test_a_restore_with_wrong_keys_goes_on_once_the_secret_is_corrected(cluster, s3):
    backup = {
        "destination": f"s3://{s3.bucket}/origin",
        "endpointUrl": s3.endpoint,
        "addressingStyle": "path",
        "credentialsSecretName": "s3-credentials",
    }
    origin = cluster("origin", replicas=1, backup=backup)
    origin.until_ready(1)
    origin.cli("set", "key-1", "value-1")
    origin.kubectl("annotate", "amc/origin", "amaters.io/backup=first")
    uri = eventually("the backup", lambda: origin.last_backup, within=60, explain=origin.describe)

    keys(origin, "mistyped")
    backup |= {"destination": f"s3://{s3.bucket}/heir", "credentialsSecretName": "s3-heir"}
    heir = cluster("heir", replicas=1, backup=backup, bootstrap={"restoreFrom": uri})
    eventually("the failure", lambda: restore(heir).get("error"), within=60, explain=heir.describe)
    time.sleep(15)
    waiting, failed = heir.condition("Reconciling"), restore(heir)
    found = [(one["reason"], one.get("series", {}).get("count", 1)) for one in events(heir)]
    pod = heir.pods["heir-0"]["metadata"]["uid"]
    print(f"\n15 s after the first failure: {failed['failures']} failures, events {found}")
    assert (waiting["status"], waiting["reason"]) == ("True", "Restoring")
    assert failed["error"] in waiting["message"]
    assert [one for one, _ in found].count("RestoreFailed") == 1

    keys(heir, s3.secret_key, s3.access_key)
    start = time.monotonic()
    heir.until_ready(1, within=60)
    print(f"restored {time.monotonic() - start:.1f} s after the correction")
    assert "value-1" in heir.cli("get", "key-1")
    assert heir.pods["heir-0"]["metadata"]["uid"] == pod


def keys(cluster, secret: str, access: str = "mistyped") -> None:
    pair = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    meta = {"name": "s3-heir"}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": pair}
    cluster.kubectl.apply(made)


def restore(cluster) -> dict:
    return cluster.resource.get("status", {}).get("restore", {})


def events(cluster) -> list[dict]:
    found = cluster.kubectl.get("events.events.k8s.io")["items"]
    return [
        one
        for one in found
        if one["regarding"]["kind"] == "AmatersCluster" and one["regarding"]["name"] == cluster.name
    ]
