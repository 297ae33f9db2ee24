"""What a store's answers and failures mean, and what to do about them. Pure.

Every error names the endpoint, says what to do next, and quotes a bounded part of what was said.
"""

import re
from collections.abc import Callable, Mapping

from botocore import exceptions

from amaters_server.backups.stores.s3_settings import S3Settings
from amaters_server.model.errors import SnapshotError

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_MOST_QUOTED = 300
_FORBIDDEN = {401, 403}
_REDIRECTS = {301, 302, 303, 307, 308}
_SERVER_ERROR = 500
_CLOCKS = {"RequestTimeTooSkewed", "RequestExpired"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_UNKNOWN_TOKEN = {"InvalidToken", "InvalidClientTokenId", "InvalidIdentityToken"}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "XAdminUserNotFound"}
_ELSEWHERE = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_BUSY = {"SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests", "RequestLimitExceeded"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "StorageFull", "507"}
_REPLACED = {"412", "PreconditionFailed"}
_UNRESOLVED = (
    "NameResolution",
    "Name or service not known",
    "Temporary failure in name",
    "nodename",
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "record layer failure")


def failed(error: Exception, doing: str, endpoint: str, settings: S3Settings) -> SnapshotError:
    """Say why no answer came, or none that can be used."""
    said = str(error)
    if isinstance(error, exceptions.BotoCoreError) and (cause := error.kwargs.get("error")):
        said = f"{said}: {cause}"
    match error:
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            hint = (
                "there are no keys for the store: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment, or snapshots.s3.credentials_dir"
            )
        case exceptions.SSLError():
            hint = _hint_for_tls(said, endpoint)
        case exceptions.ReadTimeoutError() | exceptions.ConnectTimeoutError():
            hint = f"{endpoint} did not answer in time: check it, and the network between"
        case exceptions.ConnectionError() if any(one in said for one in _UNRESOLVED):
            hint = _hint_for_names(endpoint, settings)
        case exceptions.IncompleteReadError() | exceptions.ResponseStreamingError():
            hint = f"the connection to {endpoint} broke in the middle of an answer: try again"
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            hint = f"check that {endpoint} is right and can be reached from here"
        case _:
            hint = "check the [snapshots] settings"
    return _error(doing, endpoint, hint, said)


def refused(error: exceptions.ClientError, doing: str, bucket: str, endpoint: str) -> SnapshotError:
    """Say why the store refused."""
    code, status = _code(error), _status(error)
    if _is_page(error):
        return no_store(doing, endpoint, f"HTTP status {status}, {_type(error)}")
    if status in _REDIRECTS and code not in _ELSEWHERE:
        return _error(doing, endpoint, _hint_for_redirect(error, bucket), str(error))
    for known, hint in _HINTS:
        if known(code, status):
            return _error(doing, endpoint, hint.format(bucket=bucket, region=_region(error)), error)
    hint = "the store has failed: try again later, and see its own log"
    if status < _SERVER_ERROR:
        hint = "the store refused"
    return _error(doing, endpoint, hint, error)


def token_refused(error: exceptions.ClientError, doing: str, endpoint: str) -> SnapshotError:
    """Say why a token was not exchanged."""
    if _is_page(error):
        return no_store(doing, endpoint, f"HTTP status {_status(error)}, {_type(error)}")
    code = _code(error)
    if code in _EXPIRED:
        hint = "the token has expired: check that the file is renewed, and this node's clock"
    elif code in _UNKNOWN_TOKEN:
        hint = "the token is not accepted: check its audience and issuer"
    elif code in {"AccessDenied", "AccessDeniedException"}:
        hint = "the role does not trust this token: correct the role's trust policy, or role_arn"
    elif _status(error) >= _SERVER_ERROR:
        hint = "the token service has failed: try again later"
    else:
        hint = "check role_arn and sts_endpoint_url"
    return _error(doing, endpoint, hint, error)


def no_store(doing: str, endpoint: str, said: str) -> SnapshotError:
    """Say that whoever answers there does not speak the protocol."""
    hint = (
        "what answers there is no S3 store: a proxy, a login page or another service; correct "
        "endpoint_url"
    )
    return _error(doing, endpoint, hint, said)


def require_listing(answer: Mapping[str, object], doing: str, endpoint: str) -> None:
    """Raise SnapshotError for a page that is read as an empty listing: it names no bucket."""
    if "Name" not in answer and "KeyCount" not in answer:
        raise no_store(doing, endpoint, "the listing names no bucket")


def require_same(etag: str, md5: str, *, encrypted: bool) -> None:
    """Compare a part's ETag, which is its MD5 unless the store's key service encrypted it."""
    found = _MD5.fullmatch(etag)
    if found and not encrypted and found[1] != md5:
        raise SnapshotError(
            f"the store holds other bytes than were sent (MD5 {found[1]}, not {md5}): upload again"
        )


def _error(doing: str, endpoint: str, hint: str, said: object) -> SnapshotError:
    text = "".join(one if one.isprintable() else " " for one in str(said))
    quoted = text if len(text) <= _MOST_QUOTED else text[:_MOST_QUOTED] + "..."
    where = "" if endpoint in hint or endpoint in quoted else f" at {endpoint}"
    return SnapshotError(f"{doing} failed{where}: {hint} ({quoted})")


def _hint_for_tls(said: str, endpoint: str) -> str:
    if any(one in said for one in _NO_TLS):
        return f"{endpoint} does not speak TLS: write http:// in endpoint_url if that is meant"
    if "Hostname mismatch" in said or "doesn't match" in said:
        return f"the certificate of {endpoint} is for another name: correct endpoint_url"
    if "expired" in said:
        return f"the certificate of {endpoint} has expired: renew it, or check this node's clock"
    return f"check the certificate of {endpoint}, or name its authority as ca_file"


def _hint_for_names(endpoint: str, settings: S3Settings) -> str:
    hint = f"the name in {endpoint} cannot be resolved: correct endpoint_url, or the DNS"
    if settings.addressing_style != "path" and settings.endpoint_url:
        hint += "; a store without a name for each bucket needs addressing_style = path"
    return hint


def _hint_for_redirect(error: exceptions.ClientError, bucket: str) -> str:
    headers = _headers(error)
    region = headers.get("x-amz-bucket-region", "")
    if region:
        return f"bucket {bucket} is in region {region}: set the region"
    to = headers.get("location", "")
    return f"it redirects to {to or 'another address'}: set that as endpoint_url if it is the store"


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _headers(error: exceptions.ClientError) -> Mapping[str, str]:
    return error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})


def _type(error: exceptions.ClientError) -> str:
    return _headers(error).get("content-type", "").partition(";")[0].strip().lower()


def _is_page(error: exceptions.ClientError) -> bool:
    """Whether it is no answer of a store: those have errors in XML, or nothing for a HEAD."""
    return _type(error) in {"text/html", "text/plain", "application/json"} and _code(error) in {
        str(_status(error)),
        "",
    }


def _region(error: exceptions.ClientError) -> str:
    named = error.response.get("Error", {}).get("Region", "")
    return str(named or _headers(error).get("x-amz-bucket-region", ""))


Known = Callable[[str, int], bool]


def _any_of(codes: set[str]) -> Known:
    return lambda code, _: code in codes


_HINTS: tuple[tuple[Known, str], ...] = (
    (
        _any_of({"NoSuchBucket"}),
        "bucket {bucket} does not exist: create it or correct the destination",
    ),
    (
        _any_of(_CLOCKS),
        "the clocks of this node and of the store differ too much: set both by NTP",
    ),
    (_any_of(_EXPIRED), "the session token has expired: provide fresh credentials"),
    (_any_of(_UNKNOWN_TOKEN), "the session token is not the store's: provide fresh credentials"),
    (_any_of(_ELSEWHERE), "bucket {bucket} is in another region: set the region {region}"),
    (
        _any_of(_BUSY),
        "the store is overloaded, and all attempts were answered so: try again later, or less often",
    ),
    (_any_of(_FULL), "the store has no room left: delete old backups, or enlarge it"),
    (
        lambda code, _: code.startswith("KMS."),
        "the key service refused: check kms_key_id and who may use that key",
    ),
    (
        lambda code, status: status in _FORBIDDEN or code in _REFUSED,
        "the credentials were refused: check them and what they may do in bucket {bucket}",
    ),
    (_any_of({"404", "NoSuchKey"}), "there is no such backup, or no bucket {bucket}"),
    (_any_of(_REPLACED), "it was replaced meanwhile: try again"),
)
