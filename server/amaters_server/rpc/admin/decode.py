"""What callers of the admin service ask for, as values. Pure."""

from typing import TypeAlias

from amaters.wire import admin_pb2

from amaters_server.backups.stores.s3_settings import S3Credentials
from amaters_server.node.backup.files import StoreAccess

Placed: TypeAlias = (
    admin_pb2.CreateSnapshotRequest
    | admin_pb2.ListSnapshotsRequest
    | admin_pb2.UploadSnapshotRequest
)
"""Requests that name a place."""
Keyed: TypeAlias = Placed | admin_pb2.RestoreSnapshotRequest | admin_pb2.DeleteSnapshotRequest
"""Requests that may bring keys of a store."""


def access(request: Placed) -> StoreAccess:
    """Return which place is meant, and the keys for it."""
    return StoreAccess(request.destination, credentials(request))


def credentials(request: Keyed) -> S3Credentials | None:
    """Return the keys that the caller brings; SnapshotError when they are none."""
    if not request.HasField("credentials"):
        return None
    keys = request.credentials
    return S3Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
