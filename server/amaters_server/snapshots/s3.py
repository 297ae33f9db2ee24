"""Uploads to S3 and whatever speaks its protocol; the only module that knows `boto3`.

Every part of an upload carries its MD5, which the store compares, and its answer is compared once
more. A download is compared with the snapshot's own checksum. A client is made for each call, so
credentials that were rotated are picked up.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import boto3
import botocore.loaders
import botocore.session
from botocore import exceptions
from botocore.config import Config

from amaters_server.model.errors import SnapshotError
from amaters_server.snapshots.archive import (
    ArchiveReader,
    Pace,
    appearing_whole,
    at_full_speed,
    cannot_read,
)
from amaters_server.snapshots.s3_place import S3Settings, S3Tuning, bucket_and_key, place_of
from amaters_server.snapshots.uploader import RemoteSnapshot

if TYPE_CHECKING:  # the stubs are no dependency of the server
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_PIECE = 1024 * 1024
_MOST_PARTS = 10_000
_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_FORBIDDEN = {401, 403}
_REFUSED = {"InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "XAdminUserNotFound"}
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}
# The description of the protocol, which takes longer to read than a call takes.
_DESCRIPTIONS = botocore.loaders.create_loader()


class S3SnapshotUploader:
    """Keeps snapshots as `PREFIX/remote-snapshot-ID.bin` in one bucket."""

    def __init__(
        self,
        destination: str,
        settings: S3Settings,
        *,
        tuning: S3Tuning | None = None,
        pause: Callable[[float], None] = time.sleep,
        pace: Pace = at_full_speed,
    ) -> None:
        """Parse the destination, `s3://bucket/prefix`; nothing is contacted yet."""
        self._place = place_of(destination)
        self._settings = settings
        self._tuning = tuning or S3Tuning()
        self._pause = pause
        self._pace = pace

    def upload_snapshot(self, path: Path, snapshot_id: int) -> str:
        """Store the file in parts, each compared by the store; returns its URI."""
        verified = ArchiveReader(path).verify()
        if verified.header.snapshot_id != snapshot_id:
            raise SnapshotError(
                f"{path.name} holds snapshot {verified.header.snapshot_id}, not {snapshot_id}"
            )
        key = self._place.key(snapshot_id)
        uri = self._place.uri(key)
        with self._client(f"uploading {uri}", self._place.bucket) as client:
            try:
                with path.open("rb") as file:
                    self._store(client, key, file, verified.size_bytes)
            except exceptions.BotoCoreError:
                raise  # some of these are OSErrors too, but not the file's
            except OSError as error:
                raise cannot_read(path, error) from error
            stored = client.head_object(Bucket=self._place.bucket, Key=key)["ContentLength"]
        if stored != verified.size_bytes:
            raise SnapshotError(
                f"{uri} has {stored} bytes where {path.name} has {verified.size_bytes}: upload "
                "it again"
            )
        return uri

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Fetch a snapshot, resuming where the connection broke; compares its checksum."""
        bucket, key = bucket_and_key(uri)
        with (
            appearing_whole(target) as partial,
            partial.open("wb") as file,
            self._client(f"downloading {uri}", bucket) as client,
        ):
            self._fetch(client, bucket, key, file)

    def list_remote_snapshots(self) -> list[RemoteSnapshot]:
        """Return everything stored, in ascending order of ids."""
        place = self._place
        found: list[RemoteSnapshot] = []
        with self._client(f"listing {place.uri(place.start)}", place.bucket) as client:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=place.bucket,
                Prefix=place.start,
                PaginationConfig={"PageSize": self._tuning.page_keys},
            )
            for page in pages:
                for stored in page.get("Contents", ()):
                    key = stored.get("Key", "")
                    snapshot_id = place.id_of(key)
                    if snapshot_id is not None:
                        found.append(
                            RemoteSnapshot(snapshot_id, place.uri(key), stored.get("Size", 0))
                        )
        return sorted(found)

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored snapshot; one that is gone already is no error."""
        bucket, key = bucket_and_key(uri)
        with self._client(f"deleting {uri}", bucket) as client:
            client.delete_object(Bucket=bucket, Key=key)

    def _store(self, client: "S3Client", key: str, file: BinaryIO, size: int) -> None:
        """Store the file as one object; on failure nothing of it stays."""
        bucket = self._place.bucket
        upload = self._begin(client, key)
        try:
            parts: list[CompletedPartTypeDef] = []
            while piece := file.read(max(self._tuning.part_bytes, -(-size // _MOST_PARTS))):
                self._pace(len(piece))
                digest = hashlib.md5(piece, usedforsecurity=False)
                answer = client.upload_part(
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=len(parts) + 1,
                    Body=piece,
                    ContentMD5=base64.b64encode(digest.digest()).decode(),
                )
                encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256"
                _require_same(answer["ETag"], digest.hexdigest(), encrypted=encrypted)
                parts.append({"ETag": answer["ETag"], "PartNumber": len(parts) + 1})
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with suppress(exceptions.BotoCoreError, exceptions.ClientError):
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise

    def _begin(self, client: "S3Client", key: str) -> str:
        bucket, encryption = self._place.bucket, self._settings.server_side_encryption
        if encryption:
            answer = client.create_multipart_upload(
                Bucket=bucket, Key=key, ServerSideEncryption=encryption
            )
        else:
            answer = client.create_multipart_upload(Bucket=bucket, Key=key)
        return answer["UploadId"]

    def _fetch(self, client: "S3Client", bucket: str, key: str, file: BinaryIO) -> None:
        first = client.head_object(Bucket=bucket, Key=key)
        size, etag = first["ContentLength"], first["ETag"]
        for attempt in range(1, self._tuning.attempts + 1):
            try:
                answer = client.get_object(
                    Bucket=bucket, Key=key, IfMatch=etag, Range=f"bytes={file.tell()}-"
                )
                for piece in answer["Body"].iter_chunks(_PIECE):
                    self._pace(len(piece))
                    file.write(piece)
            except (exceptions.HTTPClientError, exceptions.IncompleteReadError):
                if attempt == self._tuning.attempts:
                    raise
                self._pause(0.2 * 2**attempt)
            if file.tell() >= size:
                return

    @contextmanager
    def _client(self, doing: str, bucket: str) -> Iterator["S3Client"]:
        """Lend a client; whatever it raises comes out as SnapshotError."""
        settings = self._settings
        try:
            client = _session().client(
                "s3",
                endpoint_url=settings.endpoint_url or None,
                region_name=settings.region or None,
                verify=settings.ca_file or None,
                config=Config(
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": self._tuning.attempts},
                    s3={"addressing_style": settings.addressing_style},
                    # Stores other than Amazon's often lack the newer checksums; MD5 they know.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
            try:
                yield client
            finally:
                client.close()
        except exceptions.ClientError as error:
            raise _explain_answer(error, doing, bucket) from error
        except (exceptions.BotoCoreError, ValueError) as error:
            raise self._explain(error, doing) from error

    def _explain(self, error: Exception, doing: str) -> SnapshotError:
        endpoint = self._settings.endpoint_url or "the S3 endpoint of the region"
        match error:
            case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
                hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
            case exceptions.SSLError():
                hint = f"check the certificate of {endpoint}, or name its authority as ca_file"
            case exceptions.ConnectionError() | exceptions.HTTPClientError():
                hint = f"check that {endpoint} is right and can be reached from here"
            case _:
                hint = "check the [snapshots] settings"
        return SnapshotError(f"{doing} failed: {hint} ({error})")


def _session() -> boto3.session.Session:
    below = botocore.session.get_session()
    below.register_component("data_loader", _DESCRIPTIONS)
    return boto3.session.Session(botocore_session=below)


def _explain_answer(error: exceptions.ClientError, doing: str, bucket: str) -> SnapshotError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        hint = f"bucket {bucket} does not exist: create it or correct the destination"
    elif status in _FORBIDDEN or code in _REFUSED:
        hint = f"the credentials were refused: check them and what they may do in bucket {bucket}"
    elif code in {"404", "NoSuchKey"}:
        hint = f"there is no such snapshot, or no bucket {bucket}"
    elif code in _ELSEWHERE:
        hint = f"bucket {bucket} is in another region: set the region"
    elif code in {"412", "PreconditionFailed"}:
        hint = "it was replaced meanwhile: try again"
    else:
        hint = "the store refused"
    return SnapshotError(f"{doing} failed: {hint} ({error})")


def _require_same(etag: str, md5: str, *, encrypted: bool) -> None:
    """Compare a part's ETag, which is its MD5 unless the store's key service encrypted it."""
    found = _MD5.fullmatch(etag)
    if found and not encrypted and found[1] != md5:
        raise SnapshotError(
            f"the store holds other bytes than were sent (MD5 {found[1]}, not {md5}): upload again"
        )
