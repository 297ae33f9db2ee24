"""What a store's answers and failures mean, and what to do about them. Pure."""

import re

from botocore import exceptions

from amaters_server.model.errors import SnapshotError

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_FORBIDDEN = {401, 403}
_REFUSED = {"InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "XAdminUserNotFound"}
_ELSEWHERE = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}


def failed(error: Exception, doing: str, endpoint_url: str) -> SnapshotError:
    """Say why no answer came, or none that can be used."""
    endpoint = endpoint_url or "the S3 endpoint of the region"
    match error:
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            hint = (
                "there are no keys for the store: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment, or snapshots.s3.credentials_dir"
            )
        case exceptions.SSLError():
            hint = f"check the certificate of {endpoint}, or name its authority as ca_file"
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            hint = f"check that {endpoint} is right and can be reached from here"
        case _:
            hint = "check the [snapshots] settings"
    return SnapshotError(f"{doing} failed: {hint} ({error})")


def refused(error: exceptions.ClientError, doing: str, bucket: str) -> SnapshotError:
    """Say why the store refused."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        hint = f"bucket {bucket} does not exist: create it or correct the destination"
    elif status in _FORBIDDEN or code in _REFUSED:
        hint = f"the credentials were refused: check them and what they may do in bucket {bucket}"
    elif code in {"404", "NoSuchKey"}:
        hint = f"there is no such backup, or no bucket {bucket}"
    elif code in _ELSEWHERE:
        hint = f"bucket {bucket} is in another region: set the region"
    elif code in {"412", "PreconditionFailed"}:
        hint = "it was replaced meanwhile: try again"
    else:
        hint = "the store refused"
    return SnapshotError(f"{doing} failed: {hint} ({error})")


def require_same(etag: str, md5: str, *, encrypted: bool) -> None:
    """Compare a part's ETag, which is its MD5 unless the store's key service encrypted it."""
    found = _MD5.fullmatch(etag)
    if found and not encrypted and found[1] != md5:
        raise SnapshotError(
            f"the store holds other bytes than were sent (MD5 {found[1]}, not {md5}): upload again"
        )
