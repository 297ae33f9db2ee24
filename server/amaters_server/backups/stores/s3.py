"""Uploads to S3 and whatever speaks its protocol.

Every part of an upload carries its MD5, which the store compares, and its answer is compared once
more. A download is compared with the backup's own checksum.
"""

import base64
import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypedDict

from amaters.transport.retry_policy import RetryPolicy, transient
from botocore import exceptions

from amaters_server.backups.beneath import open_regular
from amaters_server.backups.file.archive import (
    ArchiveReader,
    Pace,
    Verified,
    appearing_whole,
    at_full_speed,
    cannot_read,
)
from amaters_server.backups.file.checksum import fnv1a
from amaters_server.backups.file.header import SIZE as HEADER_BYTES
from amaters_server.backups.names import id_of_remote, is_cluster_id, remote_name
from amaters_server.backups.places import S3Place, named_in
from amaters_server.backups.stores.s3_answers import require_listing, require_same
from amaters_server.backups.stores.s3_client import s3_client
from amaters_server.backups.stores.s3_settings import S3Credentials, S3Settings, S3Tuning
from amaters_server.backups.stores.uploader import RemoteBackup
from amaters_server.model.errors import SnapshotError
from amaters_server.retries import retry_blocking

if TYPE_CHECKING:  # the stubs are no dependency of the server
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_PIECE = 1024 * 1024
_MOST_PARTS = 10_000
_CONNECTION_ENDED = transient(exceptions.HTTPClientError, exceptions.IncompleteReadError)


class _Encryption(TypedDict, total=False):
    """What an upload asks of the store."""

    ServerSideEncryption: Literal["AES256", "aws:kms"]
    SSEKMSKeyId: str


class S3SnapshotUploader:
    """Keeps backups as `PREFIX/CLUSTER/remote-snapshot-ID.bin` in one bucket."""

    def __init__(
        self,
        place: S3Place,
        settings: S3Settings,
        *,
        credentials: S3Credentials | None = None,
        tuning: S3Tuning | None = None,
        pause: Callable[[float], None] = time.sleep,
        pace: Pace = at_full_speed,
    ) -> None:
        """Name the place; nothing is contacted yet. `credentials` go before all others."""
        self._place = place
        self._settings = settings
        self._credentials = credentials
        self._tuning = tuning or S3Tuning()
        self._pause = pause
        self._pace = pace

    def upload_snapshot(self, path: Path, backup_id: int, cluster_id: str) -> str:
        """Store the file in parts, each compared by the store; returns its URI."""
        verified = ArchiveReader(path).verify()
        if verified.header.backup_id != backup_id:
            raise SnapshotError(
                f"{path.name} holds backup {verified.header.backup_id}, not {backup_id}"
            )
        key = f"{self._place.start}{cluster_id}/{remote_name(backup_id)}"
        uri = self._place.uri(key)
        with self._client(f"uploading {uri}") as client:
            try:
                with open_regular(path) as file:
                    etag = self._store(client, key, file, verified.size_bytes)
            except exceptions.BotoCoreError:
                raise  # some of these are OSErrors too, but not the file's
            except OSError as error:
                raise cannot_read(path, error) from error
            self._require_stored(client, key, verified, etag)
        return uri

    def download_snapshot(self, uri: str, target: Path) -> None:
        """Fetch a backup, resuming where the connection broke; compares its checksum."""
        key = self._key(uri)
        with appearing_whole(target) as file, self._client(f"downloading {uri}") as client:
            self._fetch(client, key, file)

    def list_remote_snapshots(self) -> list[RemoteBackup]:
        """Return everything stored, of all clusters, in ascending order of ids."""
        place = self._place
        with self._client(f"listing {place}") as client:
            found, folders = self._listed(client, place.start, "")
            for one in folders:
                cluster_id = one[len(place.start) :].rstrip("/")
                if is_cluster_id(cluster_id):
                    found += self._listed(client, one, cluster_id)[0]
        return sorted(found)

    def read_beginning(self, uri: str, most_bytes: int) -> bytes:
        """Return the first bytes of a stored backup."""
        key = self._key(uri)
        with self._client(f"reading {uri}") as client:
            answer = client.get_object(
                Bucket=self._place.bucket, Key=key, Range=f"bytes=0-{most_bytes - 1}"
            )
            return answer["Body"].read()

    def delete_snapshot(self, uri: str) -> None:
        """Delete a stored backup; one that is gone already is no error."""
        key = self._key(uri)
        with self._client(f"deleting {uri}") as client:
            client.delete_object(Bucket=self._place.bucket, Key=key)

    def _key(self, uri: str) -> str:
        return self._place.start + "/".join(named_in(self._place, uri))

    def _listed(
        self, client: "S3Client", start: str, cluster_id: str
    ) -> tuple[list[RemoteBackup], list[str]]:
        """Return the backups right below there, and what else is below there."""
        found: list[RemoteBackup] = []
        folders: list[str] = []
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=self._place.bucket,
            Prefix=start,
            Delimiter="/",
            PaginationConfig={"PageSize": self._tuning.page_keys},
        )
        for page in pages:
            require_listing(page, f"listing {self._place}", client.meta.endpoint_url)
            folders += [one.get("Prefix", "") for one in page.get("CommonPrefixes", ())]
            for stored in page.get("Contents", ()):
                key = stored.get("Key", "")
                backup_id = id_of_remote(key[len(start) :])
                if backup_id is not None:
                    at = int(stored["LastModified"].timestamp() * 1000)
                    uri, size = self._place.uri(key), stored.get("Size", 0)
                    found.append(RemoteBackup(backup_id, uri, size, at, cluster_id))
        return found, folders

    def _store(self, client: "S3Client", key: str, file: BinaryIO, size: int) -> str:
        """Store the file as one object, or nothing of it; return the tag it must have."""
        bucket = self._place.bucket
        upload = self._begin(client, key)
        digests: list[bytes] = []
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
                require_same(answer["ETag"], digest.hexdigest(), encrypted=encrypted)
                digests.append(digest.digest())
                parts.append({"ETag": answer["ETag"], "PartNumber": len(parts) + 1})
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with suppress(exceptions.BotoCoreError, exceptions.ClientError):
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise
        together = hashlib.md5(b"".join(digests), usedforsecurity=False)
        return f"{together.hexdigest()}-{len(digests)}"

    def _require_stored(self, client: "S3Client", key: str, verified: Verified, etag: str) -> None:
        """Read back what is stored: by the tag made of all parts, else byte by byte."""
        uri = self._place.uri(key)
        stored = client.head_object(Bucket=self._place.bucket, Key=key)
        if stored["ContentLength"] != verified.size_bytes:
            client.delete_object(Bucket=self._place.bucket, Key=key)
            raise SnapshotError(
                f"{uri} has {stored['ContentLength']} bytes where {verified.size_bytes} were "
                "sent: upload it again"
            )
        if stored["ETag"].strip('"') == etag:
            return
        # Some stores make their tags in another way, and so does encryption with a key service.
        answer = client.get_object(
            Bucket=self._place.bucket, Key=key, Range=f"bytes={HEADER_BYTES}-"
        )
        checksum = fnv1a(b"")
        for piece in answer["Body"].iter_chunks(_PIECE):
            self._pace(len(piece))
            checksum = fnv1a(piece, checksum)
        if checksum != verified.header.checksum:
            client.delete_object(Bucket=self._place.bucket, Key=key)
            raise SnapshotError(f"{uri} holds other bytes than were sent: upload it again")

    def _begin(self, client: "S3Client", key: str) -> str:
        settings, options = self._settings, _Encryption()
        if settings.server_side_encryption:
            options["ServerSideEncryption"] = settings.server_side_encryption
        if settings.kms_key_id:
            options["SSEKMSKeyId"] = settings.kms_key_id
        answer = client.create_multipart_upload(Bucket=self._place.bucket, Key=key, **options)
        return answer["UploadId"]

    def _fetch(self, client: "S3Client", key: str, file: BinaryIO) -> None:
        bucket = self._place.bucket
        first = client.head_object(Bucket=bucket, Key=key)
        size, etag = first["ContentLength"], first["ETag"]

        def read_on() -> None:
            if file.tell() == size:
                return
            answer = client.get_object(
                Bucket=bucket, Key=key, IfMatch=etag, Range=f"bytes={file.tell()}-"
            )
            for piece in answer["Body"].iter_chunks(_PIECE):
                self._pace(len(piece))
                file.write(piece)

        policy = RetryPolicy(self._tuning.attempts, base_delay_ms=400)
        retry_blocking(read_on, policy, classify=_CONNECTION_ENDED, sleep=self._pause)

    def _client(self, doing: str) -> AbstractContextManager["S3Client"]:
        """Lend a client; whatever it raises comes out as SnapshotError."""
        return s3_client(
            self._settings,
            self._credentials,
            attempts=self._tuning.attempts,
            doing=doing,
            bucket=self._place.bucket,
        )
