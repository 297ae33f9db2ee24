"""Clients for an object store; the only module that knows `boto3`.

A client is made for each call, so that credentials that were rotated are picked up. Those that a
token was exchanged for are kept until they are about to expire.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import botocore.loaders
import botocore.session
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError

from amaters_server.backups.stores.s3_answers import failed, no_store, refused, token_refused
from amaters_server.backups.stores.s3_settings import (
    S3Credentials,
    S3Settings,
    WebIdentity,
    identity_token,
    stored_credentials,
    web_identity_of,
)
from amaters_server.telemetry.tracing.context import header

if TYPE_CHECKING:  # the stubs are no dependency of the server
    from mypy_boto3_s3 import S3Client

AMAZON = "the S3 endpoint of the region"
CONNECT_SECONDS = 5
READ_SECONDS = 30
_RENEW_BEFORE = timedelta(minutes=5)
_MOST_SESSIONS = 16
# The description of the protocol, which takes longer to read than a call takes.
_DESCRIPTIONS = botocore.loaders.create_loader()


@contextmanager
def s3_client(
    settings: S3Settings, given: S3Credentials | None, *, attempts: int, doing: str, bucket: str
) -> Iterator["S3Client"]:
    """Lend a client; whatever it raises comes out as SnapshotError, which names the endpoint.

    `given` credentials go before all others, then those of files, then a role, then the
    environment's.
    """
    endpoint = settings.endpoint_url or AMAZON
    keys = given or _keys(settings)
    try:
        client = _session().client(
            "s3",
            endpoint_url=settings.endpoint_url or None,
            region_name=settings.region or None,
            verify=settings.ca_file or None,
            aws_access_key_id=keys.access_key_id if keys else None,
            aws_secret_access_key=keys.secret_access_key if keys else None,
            aws_session_token=(keys.session_token if keys else "") or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": settings.addressing_style},
                # Stores other than Amazon's often lack the newer checksums; MD5 they know.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        endpoint = client.meta.endpoint_url
        if settings.endpoint_url:
            client.meta.events.register_last("before-parameter-build.s3", _stay_there)
        client.meta.events.register("before-call.s3", _with_trace)
        try:
            yield client
        finally:
            client.close()
    except exceptions.ClientError as error:
        raise refused(error, doing, bucket, endpoint) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise failed(error, doing, endpoint, settings) from error
    except RecursionError:
        raise no_store(doing, endpoint, "every request is redirected") from None
    except (KeyError, AttributeError, TypeError, ResponseParserError) as error:
        # A page of somebody else reads like an answer in which everything is missing.
        raise no_store(doing, endpoint, f"{type(error).__name__}: {error}") from error


def _stay_there(context: dict[str, dict[str, object]], **_: object) -> None:
    """Have a redirect reported: the library would follow it by requests that are redirected too.

    Only Amazon's own endpoints know other regions to go to.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _with_trace(params: dict[str, Any], **_: object) -> None:
    """Let what the store does belong to the trace of the call that wants it done."""
    params["headers"].update(header())


def _keys(settings: S3Settings) -> S3Credentials | None:
    """Return the keys as they are now; None: what the environment has."""
    folder = settings.credentials_dir
    stored = stored_credentials(folder) if folder else None
    identity = None if stored is not None else web_identity_of(settings, os.environ)
    return stored if identity is None else _SESSIONS.credentials(identity, settings)


def _session() -> boto3.session.Session:
    below = botocore.session.get_session()
    below.register_component("data_loader", _DESCRIPTIONS)
    return boto3.session.Session(botocore_session=below)


class _Sessions:
    """Temporary credentials by role; several threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[WebIdentity, str, str], tuple[S3Credentials, datetime]] = {}

    def credentials(self, identity: WebIdentity, settings: S3Settings) -> S3Credentials:
        """Return credentials with some time left; exchanges the token when there are none."""
        name = (identity, settings.region, settings.ca_file)
        with self._lock:
            known = self._known.get(name)
            if known is not None and known[1] - _RENEW_BEFORE > datetime.now(UTC):
                return known[0]
            while len(self._known) >= _MOST_SESSIONS:
                self._known.pop(next(iter(self._known)))
            self._known[name] = fresh = _exchanged(identity, settings)
            return fresh[0]

    def forget(self) -> None:
        """Exchange the token again for the next call."""
        with self._lock:
            self._known.clear()


_SESSIONS = _Sessions()


def _exchanged(identity: WebIdentity, settings: S3Settings) -> tuple[S3Credentials, datetime]:
    """Exchange the token for credentials; SnapshotError says what the service answered."""
    token = identity_token(identity)
    endpoint = identity.sts_endpoint_url or "the STS endpoint of the region"
    doing = f"exchanging the web identity token for role {identity.role_arn}"
    try:
        client = _session().client(
            "sts",
            endpoint_url=identity.sts_endpoint_url or None,
            region_name=settings.region or "us-east-1",
            verify=settings.ca_file or None,
            config=Config(
                signature_version=UNSIGNED,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )
        endpoint = client.meta.endpoint_url
        try:
            answer = client.assume_role_with_web_identity(
                RoleArn=identity.role_arn,
                RoleSessionName=identity.session_name,
                WebIdentityToken=token,
            )
        finally:
            client.close()
        return _granted(answer["Credentials"])
    except exceptions.ClientError as error:
        raise token_refused(error, doing, endpoint) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise failed(error, doing, endpoint, settings) from error
    except (KeyError, TypeError, ResponseParserError) as error:
        raise no_store(doing, endpoint, f"{type(error).__name__}: {error}") from error


def _granted(found: Mapping[str, object]) -> tuple[S3Credentials, datetime]:
    expires = found["Expiration"]
    if not isinstance(expires, datetime):
        raise TypeError("Expiration")
    keys = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    return S3Credentials(*map(str, keys)), expires
