"""Snapshots go to a real S3 server on schedule and on demand, and come back equal."""

import time

import lifecycle
import object_store
import places
import pytest

from demo.kubectl import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def s3(kubectl):
    """Endpoint and bucket of the test bed's S3 server, with credentials in a Secret."""
    place = object_store.start(lifecycle.Cluster(places.places()))
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s3-credentials"},
            "stringData": {
                "AWS_ACCESS_KEY_ID": place.access_key,
                "AWS_SECRET_ACCESS_KEY": place.secret_key,
            },
        }
    )
    return place


def contents(cluster, pod: str) -> str:
    return cluster.cli("--format", "ndjson", "range", "key-", "key-~", pod=pod)


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
