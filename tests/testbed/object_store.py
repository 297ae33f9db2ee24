"""A real S3 server inside the cluster's network: pods reach it, and so does the host by a relay."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from testbed import binaries, control_plane
from testbed.addresses import OBJECT_STORE_PORT, at
from testbed.lifecycle import Cluster
from testbed.shell import TestbedError, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
BUCKET = "backups"
DAEMON = "object-store"
RELAY_PORT = 17070


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """How to reach the store, and with what credentials."""

    endpoint: str
    host_endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = REGION

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of the objects below the prefix, asked from the host."""
        pages = _client(self).get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for page in found for each in page.get("Contents", [])]


def start(cluster: Cluster) -> ObjectStore:
    """Start the store with an empty bucket; return the running one when there is one."""
    if not cluster.members():
        raise TestbedError("the object store lives in the cluster's network: run `up` first")
    record = cluster.places.state / "object-store.json"
    if DAEMON in cluster.daemons.alive() and record.exists():
        return ObjectStore(**json.loads(record.read_text()))
    store = _launch(cluster)
    record.touch(mode=0o600)
    record.write_text(json.dumps(asdict(store)))
    return store


def stop(cluster: Cluster) -> None:
    """End the store; what it holds stays until `down`."""
    for name in (DAEMON, f"relay-{DAEMON}"):
        cluster.daemons.stop(name)


def _launch(cluster: Cluster) -> ObjectStore:
    binaries.ensure(cluster.places, [binaries.OBJECT_STORE], say=lambda _: None)
    folder = cluster.places.state / "objects"
    folder.mkdir(exist_ok=True)
    host = cluster.plan.first.control_plane
    address = at(host, OBJECT_STORE_PORT)
    access, secret = "amaters", secrets.token_hex(16)
    cluster.daemons.start(
        DAEMON,
        control_plane.SEAT,
        [f"{cluster.places.bin}/versitygw", "--port", address, "posix", str(folder)],
        env={"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
    )
    port = cluster.open_relay(f"relay-{DAEMON}", host, OBJECT_STORE_PORT, preferred=RELAY_PORT)
    store = ObjectStore(
        endpoint=f"http://{address}",
        host_endpoint=f"http://127.0.0.1:{port}",
        bucket=BUCKET,
        access_key=access,
        secret_key=secret,
    )
    hint = cluster.daemons.last_words(DAEMON)
    wait_until(lambda: _has_bucket(store), "answer of the object store", seconds=20, hint=hint)
    return store


def _has_bucket(store: ObjectStore) -> bool:
    client = _client(store)
    try:
        client.create_bucket(Bucket=store.bucket)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return True
    except (BotoCoreError, ClientError):
        return False
    return True


def _client(store: ObjectStore) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=store.host_endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
