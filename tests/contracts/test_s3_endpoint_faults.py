"""Whatever an endpoint does wrong becomes one clear error that names it and the next step.

The endpoint is one of our own, for no real store does these things when asked; `test_s3_failures`
has the real one.
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
from amaters_server.backups.file.archive import ArchiveWriter
from amaters_server.backups.places import S3Place
from amaters_server.backups.stores import s3_client
from amaters_server.backups.stores.s3 import S3SnapshotUploader
from amaters_server.backups.stores.s3_settings import S3Credentials, S3Settings, S3Tuning
from amaters_server.model.errors import SnapshotError
from amaters_server.testing.certificates import Authority

OURS = "0123456789abcdef" * 2
URI = f"s3://b/{OURS}/remote-snapshot-{1:020}.bin"
KEYS = S3Credentials("access", "secret-of-the-test", "token-of-the-test")
PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body><br>Hello</body></html>"
XHTML = b"<html><head><title>Log in</title></head><body><p>Hello</p></body></html>"
HTML, XML = "text/html; charset=utf-8", "application/xml"


def fault(code: str, message: str = "said the store", **more: str) -> bytes:
    extra = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>".encode()


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    type: str = XML
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """Announced instead of the body's own."""


class Endpoint:
    """Answers every request alike, or as a function of it, and remembers them."""

    def __init__(self, answer: Answer | Callable[[str, str], Answer], tls=None) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.requests.append((self.command, self.path, dict(self.headers)))
                owner.bodies.append(body)
                given = answer if isinstance(answer, Answer) else answer(self.command, self.path)
                self.send_response(given.status)
                if given.type:
                    self.send_header("Content-Type", given.type)
                for name, value in given.headers.items():
                    self.send_header(name, value)
                length = len(given.body) if given.length is None else given.length
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(given.body)
                self.close_connection = given.length is not None

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # Of TLS that the client gave up.
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the developer's own, and no waiting between the attempts of the library."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    s3_client._SESSIONS.forget()
    yield
    s3_client._SESSIONS.forget()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "one.bin"
    with ArchiveWriter(path, backup_id=1, timestamp_ms=5) as writer:
        writer.write(b"content" * 1000)
        writer.commit()
    return path


def uploader(url: str, given: S3Credentials | None = KEYS, **more) -> S3SnapshotUploader:
    settings = S3Settings(url, **{"region": "us-east-1", "addressing_style": "path", **more})
    tuning = S3Tuning(attempts=2)
    return S3SnapshotUploader(
        S3Place("b"), settings, credentials=given, tuning=tuning, pause=lambda _: None
    )


CALLS = {
    "upload": lambda one, path, target: one.upload_snapshot(path, 1, OURS),
    "download": lambda one, path, target: one.download_snapshot(URI, target),
    "list": lambda one, path, target: one.list_remote_snapshots(),
    "begin": lambda one, path, target: one.read_beginning(URI, 40),
}
ANSWERS = {
    "a redirect elsewhere": (
        Answer(302, b"", "", {"Location": "https://login.example/"}),
        "redirects to https://login.example/",
    ),
    "a redirect for good": (
        Answer(301, b"", "", {"Location": "http://store.example/"}),
        "redirects to http://store.example/",
    ),
    "a redirect without an address": (Answer(307, b"", ""), "redirects to another address"),
    "another region": (
        Answer(301, fault("PermanentRedirect"), headers={"x-amz-bucket-region": "eu-north-1"}),
        "bucket b is in another region: set the region eu-north-1",
    ),
    "a signature of another region": (
        Answer(400, fault("AuthorizationHeaderMalformed", Region="eu-west-3")),
        "set the region eu-west-3",
    ),
    "a page that forbids": (Answer(403, PAGE, HTML), "what answers there is no S3 store"),
    "a page of a proxy": (Answer(502, PAGE, HTML), "what answers there is no S3 store"),
    "a page not found": (Answer(404, PAGE, HTML), "what answers there is no S3 store"),
    "plain text": (
        Answer(400, b"Client sent an HTTP request to an HTTPS server.\n", "text/plain"),
        "what answers there is no S3 store",
    ),
    "another service": (Answer(404, b'{"error": "no"}', "application/json"), "is no S3 store"),
    "clocks that differ": (Answer(403, fault("RequestTimeTooSkewed")), "the clocks of this node"),
    "an expired token": (Answer(400, fault("ExpiredToken")), "the session token has expired"),
    "an unknown token": (Answer(400, fault("InvalidToken")), "the session token is not the store"),
    "a wrong secret": (Answer(403, fault("SignatureDoesNotMatch")), "credentials were refused"),
    "no right": (Answer(403, fault("AccessDenied")), "credentials were refused: check them"),
    "an overloaded store": (Answer(503, fault("SlowDown")), "the store is overloaded"),
    "a failing store": (Answer(500, fault("InternalError")), "the store has failed: try again"),
    "a full store": (Answer(507, fault("XMinioStorageFull")), "has no room left"),
    "no key service": (Answer(400, fault("KMS.NotFoundException")), "the key service refused"),
    "an unheard code": (Answer(418, fault("Teapot")), "the store refused"),
    "a text without end": (Answer(400, fault("Odd", "x" * 5000)), "the store refused"),
    "characters that move the cursor": (Answer(400, fault("Odd", "a&#10;b")), "the store refused"),
    "no such bucket": (Answer(404, fault("NoSuchBucket")), "bucket b does not exist: create it"),
}


OF_EVERY_CALL = ("a redirect elsewhere", "a page of a proxy", "an expired token")


@pytest.mark.parametrize(
    ("name", "call"),
    [(name, call) for name in ANSWERS for call in CALLS if call == "list" or name in OF_EVERY_CALL],
)
def test_an_answer_that_is_a_fault_is_one_error(name, call, path, tmp_path):
    answer, says = ANSWERS[name]
    if call == "download" and answer.body and answer.type == XML:
        # A download begins with a HEAD, whose answer has no body to tell the cause.
        answer, says = Answer(answer.status, b"", XML, answer.headers), " failed"
    with (
        Endpoint(answer) as endpoint,
        pytest.raises(SnapshotError, match=says) as failure,
    ):
        CALLS[call](uploader(endpoint.url), path, tmp_path / "back.bin")

    text = str(failure.value)
    assert endpoint.url in text
    assert len(text) < 900
    assert text.isprintable()
    assert "secret-of-the-test" not in text
    assert "token-of-the-test" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("body", [PAGE, XHTML, b"", b"{}"], ids=["html", "xhtml", "empty", "json"])
@pytest.mark.parametrize("call", ["upload", "download", "list"])
def test_a_page_that_is_no_error_is_taken_for_none_of_an_answer(call, body, path, tmp_path):
    """Any bytes may be the beginning of a backup: its header is checked after that."""
    with (
        Endpoint(Answer(200, body, HTML)) as endpoint,
        pytest.raises(SnapshotError) as failure,
    ):
        CALLS[call](uploader(endpoint.url), path, tmp_path / "back.bin")

    assert endpoint.url in str(failure.value)
    assert "is no S3 store" in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_an_overloaded_store_is_asked_again_before_the_error(path):
    answers = [Answer(503, fault("SlowDown"))]
    listing = Answer(200, b"<ListBucketResult><Name>b</Name></ListBucketResult>")

    with Endpoint(lambda *_: answers.pop() if answers else listing) as endpoint:
        assert uploader(endpoint.url).list_remote_snapshots() == []

    assert len(endpoint.requests) == 2


def test_a_body_that_is_cut_off_every_time_is_one_error(tmp_path):
    def answer(method: str, _: str) -> Answer:
        if method == "HEAD":
            return Answer(200, b"x" * 50, headers={"ETag": '"e"'})
        return Answer(206, b"x" * 10, headers={"ETag": '"e"'}, length=50)

    with (
        Endpoint(answer) as endpoint,
        pytest.raises(SnapshotError, match="broke in the middle") as failure,
    ):
        uploader(endpoint.url).download_snapshot(URI, tmp_path / "back.bin")

    assert endpoint.url in str(failure.value)
    assert [method for method, *_ in endpoint.requests] == ["HEAD", "GET", "GET"]
    assert not list(tmp_path.iterdir())


def test_a_listing_that_is_cut_off_is_one_error():
    cut = Answer(200, b"<ListBucketResult><Name>b</Na", length=500)

    with Endpoint(cut) as endpoint, pytest.raises(SnapshotError) as failure:
        uploader(endpoint.url).list_remote_snapshots()

    assert endpoint.url in str(failure.value)


EMPTY = Answer(200, b"<ListBucketResult><Name>b</Name></ListBucketResult>")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def served(authority: Authority, folder: Path, *names: str, **validity) -> ssl.SSLContext:
    """Return the server side of TLS with a certificate for these names."""
    if validity:
        issued = authority.issue(**validity)
    else:
        issued = authority.issue_for("store", *(names or ("127.0.0.1",)))
    issued.write(folder, authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def test_a_certificate_of_an_authority_that_is_named_is_trusted(authority, tmp_path):
    with Endpoint(EMPTY, served(authority, tmp_path)) as endpoint:
        ca_file = str(tmp_path / "ca.crt")
        assert uploader(endpoint.url, ca_file=ca_file).list_remote_snapshots() == []


@pytest.mark.parametrize(
    ("names", "validity", "ca", "says"),
    [
        ((), {}, "", "name its authority as ca_file"),
        ((), {}, "other", "name its authority as ca_file"),
        (("store.example",), {}, "ca.crt", "is for another name"),
        (
            (),
            {
                "starts": datetime.now(UTC) - timedelta(days=3),
                "lasts": timedelta(days=1),
            },
            "ca.crt",
            "has expired: renew it",
        ),
    ],
    ids=["unknown", "of another authority", "for another name", "expired"],
)
def test_a_certificate_that_cannot_be_trusted_is_told(
    authority, tmp_path, names, validity, ca, says
):
    (tmp_path / "other").write_bytes(Authority("another").pem)
    context = served(authority, tmp_path, *names, **validity)
    trusted = str(tmp_path / ca) if ca else ""

    with (
        Endpoint(EMPTY, context) as endpoint,
        pytest.raises(SnapshotError, match=says) as failure,
    ):
        uploader(endpoint.url, ca_file=trusted).list_remote_snapshots()

    assert endpoint.url in str(failure.value)


def test_tls_to_a_port_without_it_is_told():
    with (
        Endpoint(EMPTY) as endpoint,
        pytest.raises(SnapshotError, match="does not speak TLS: write http://"),
    ):
        uploader(endpoint.url.replace("http:", "https:")).list_remote_snapshots()


def test_a_port_that_nobody_serves_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    with pytest.raises(SnapshotError, match=f"check that {url} is right and can be reached"):
        uploader(url).list_remote_snapshots()


def test_an_endpoint_that_never_answers_is_told(monkeypatch):
    monkeypatch.setattr(s3_client, "READ_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SnapshotError, match=f"{url} did not answer in time"):
            uploader(url).list_remote_snapshots()


@pytest.mark.parametrize(
    ("style", "says"),
    [
        (
            "path",
            r"http://store\.invalid:1 cannot be resolved: correct endpoint_url, or the DNS \(",
        ),
        ("virtual", "needs addressing_style = path"),
    ],
)
def test_a_name_that_cannot_be_resolved_is_told(style, says, monkeypatch):
    def unresolved(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(SnapshotError, match=says):
        uploader("http://store.invalid:1", addressing_style=style).list_remote_snapshots()


@pytest.mark.parametrize(
    ("style", "host", "target"),
    [("path", "store.test", "/bucket?"), ("virtual", "bucket.store.test", "/?")],
)
def test_the_bucket_is_named_in_the_path_or_in_the_host(style, host, target, monkeypatch):
    resolve = socket.getaddrinfo

    def here(name, *more, **others):
        ours = isinstance(name, str) and name.endswith("store.test")
        return resolve("127.0.0.1" if ours else name, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with Endpoint(EMPTY) as endpoint:
        port = endpoint.url.rpartition(":")[2]
        settings = S3Settings(f"http://store.test:{port}", "us-east-1", style)
        place = S3Place("bucket")
        assert S3SnapshotUploader(place, settings, credentials=KEYS).list_remote_snapshots() == []

    ((_, path, headers),) = endpoint.requests
    assert headers["Host"] == f"{host}:{port}"
    assert path.startswith(target)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, {}),
        ({"server_side_encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"server_side_encryption": "aws:kms", "kms_key_id": "arn:key"},
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "arn:key",
            },
        ),
        ({"server_side_encryption": "aws:kms"}, {"x-amz-server-side-encryption": "aws:kms"}),
    ],
    ids=["none", "SSE-S3", "SSE-KMS", "SSE-KMS with the key of the bucket"],
)
def test_an_upload_asks_for_encryption(settings, asked, path):
    with (
        Endpoint(Answer(400, fault("Odd"))) as endpoint,
        pytest.raises(SnapshotError),
    ):
        uploader(endpoint.url, **settings).upload_snapshot(path, 1, OURS)

    headers = {name.lower(): value for name, value in endpoint.requests[0][2].items()}
    found = {name: value for name, value in headers.items() if "encryption" in name}
    assert found == asked


def test_a_session_token_goes_along():
    with Endpoint(EMPTY) as endpoint:
        uploader(endpoint.url).list_remote_snapshots()

    headers = {name.lower(): value for name, value in endpoint.requests[0][2].items()}
    assert headers["x-amz-security-token"] == "token-of-the-test"


# --- web identity -------------------------------------------------------------------------------


def granted(expires: datetime, access: str = "temporary") -> Answer:
    keys = (
        f"<Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>session</SessionToken><Expiration>{expires.isoformat()}</Expiration>"
        "</Credentials>"
    )
    result = f"<AssumeRoleWithWebIdentityResult>{keys}</AssumeRoleWithWebIdentityResult>"
    body = f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>"
    return Answer(200, body.encode())


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("identity-token\n")
    return tmp_path / "token"


def in_hours(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.mark.parametrize("by", ["settings", "environment"])
def test_a_web_identity_token_is_exchanged_once_and_its_keys_are_used(by, token_file, monkeypatch):
    with Endpoint(granted(in_hours(1))) as sts, Endpoint(EMPTY) as endpoint:
        more = {}
        if by == "settings":
            more = {
                "role_arn": "arn:aws:iam::1:role/r",
                "token_file": str(token_file),
                "sts_endpoint_url": sts.url,
            }
        else:
            monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        for _ in range(2):
            assert uploader(endpoint.url, None, **more).list_remote_snapshots() == []

    (asked,) = sts.bodies
    assert b"WebIdentityToken=identity-token&" in asked + b"&"
    assert b"Action=AssumeRoleWithWebIdentity" in asked
    assert len(endpoint.requests) == 2
    for _, _, headers in endpoint.requests:
        assert "Credential=temporary/" in headers["Authorization"]
        assert headers["X-Amz-Security-Token"] == "session"


def test_keys_that_are_about_to_expire_are_renewed_with_the_token_of_that_moment(token_file):
    with Endpoint(granted(in_hours(0.02))) as sts, Endpoint(EMPTY) as endpoint:
        more = {"role_arn": "r" * 20, "token_file": str(token_file), "sts_endpoint_url": sts.url}
        uploader(endpoint.url, None, **more).list_remote_snapshots()
        token_file.write_text("the-next-token")
        uploader(endpoint.url, None, **more).list_remote_snapshots()

    assert len(sts.bodies) == 2
    assert b"the-next-token" in sts.bodies[1]


def test_keys_in_the_environment_go_before_a_role_of_the_environment(token_file, monkeypatch):
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with Endpoint(EMPTY) as endpoint:
        uploader(endpoint.url, None).list_remote_snapshots()

    assert "Credential=ambient/" in endpoint.requests[0][2]["Authorization"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(400, fault("ExpiredTokenException")), "the token has expired"),
        (Answer(400, fault("InvalidIdentityToken")), "the token is not accepted"),
        (Answer(403, fault("AccessDenied")), "the role does not trust this token"),
        (Answer(503, fault("Busy")), "the token service has failed"),
        (Answer(400, fault("ValidationError")), "check role_arn and sts_endpoint_url"),
        (Answer(403, PAGE, HTML), "is no S3 store"),
        (Answer(200, PAGE, HTML), "is no S3 store"),
        (Answer(200, XHTML, HTML), "is no S3 store"),
    ],
    ids=["expired", "unknown", "untrusted", "failing", "invalid", "page", "page as 200", "xhtml"],
)
def test_a_token_that_is_not_exchanged_is_one_error(answer, says, token_file):
    wrapped = Answer(
        answer.status, b"<ErrorResponse>" + answer.body + b"</ErrorResponse>", answer.type
    )
    more = {"role_arn": "r" * 20, "token_file": str(token_file)}
    with (
        Endpoint(wrapped if answer.type == XML else answer) as sts,
        pytest.raises(SnapshotError, match=says) as failure,
    ):
        uploader(
            "http://127.0.0.1:1", None, sts_endpoint_url=sts.url, **more
        ).list_remote_snapshots()

    assert sts.url in str(failure.value)
    assert "identity-token" not in str(failure.value)


def test_a_role_without_a_token_says_which_file_is_missing(tmp_path):
    with pytest.raises(SnapshotError, match="AWS_WEB_IDENTITY_TOKEN_FILE"):
        uploader("http://127.0.0.1:1", None, role_arn="r" * 20).list_remote_snapshots()
    absent = {"role_arn": "r" * 20, "token_file": str(tmp_path / "absent")}
    with pytest.raises(SnapshotError, match="is missing, empty or none: mount a token"):
        uploader("http://127.0.0.1:1", None, **absent).list_remote_snapshots()
