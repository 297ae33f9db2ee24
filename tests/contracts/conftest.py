"""An S3 store for the uploader suite: a real versitygw on a folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest
from amaters_server.testing.ports import free_ports
from botocore.config import Config

VERSION = "v1.8.0"
ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".cache" / "tools" / "versitygw"
FROM_TESTBED = ROOT / ".cache" / "testbed" / "bin" / "versitygw"


SESSION = boto3.session.Session()


class Store(NamedTuple):
    """A running store and what opens it."""

    endpoint: str
    access_key: str = "amaters"
    secret_key: str = "not-a-secret"

    def client(self):
        return SESSION.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )


def gateway() -> str:
    """Where the program is; built with Go where nobody has it yet."""
    for known in (os.environ.get("AMATERS_VERSITYGW"), shutil.which("versitygw")):
        if known:
            return known
    for path in (FROM_TESTBED, BUILT):
        if path.exists():
            return str(path)
    package = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
    building = {**os.environ, "GOBIN": str(BUILT.parent), "CGO_ENABLED": "0"}
    try:
        subprocess.run(["go", "install", package], env=building, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.fail(
            f"the S3 suite needs versitygw and could not build it ({error}): install Go, point "
            "AMATERS_VERSITYGW at the program, or set AMATERS_SKIP_S3=1"
        )
    return str(BUILT)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if os.environ.get("AMATERS_SKIP_S3") == "1":
        pytest.skip("AMATERS_SKIP_S3=1")
    folder = tmp_path_factory.mktemp("objects")
    (port,) = free_ports(1)
    store = Store(f"http://127.0.0.1:{port}")
    process = subprocess.Popen(
        [gateway(), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder)],
        env={
            **os.environ,
            "ROOT_ACCESS_KEY": store.access_key,
            "ROOT_SECRET_KEY": store.secret_key,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(process, port)
        yield store
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.kill()
    _, said = process.communicate()
    pytest.fail(f"versitygw does not answer: {said.decode(errors='replace')[-2000:]}")


@pytest.fixture
def bucket(store: Store, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    name = f"b{abs(hash(request.node.nodeid)) % 10**12}"
    client = store.client()
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def credentials(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node's environment holds; nothing of the developer's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
