"""What a store is asked during a traced call carries the call's place in the trace."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from amaters_server.backups.places import S3Place
from amaters_server.backups.stores.s3 import S3SnapshotUploader
from amaters_server.backups.stores.s3_settings import S3Credentials, S3Settings
from amaters_server.telemetry.tracing.context import during, parsed

KNOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LISTING = b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture
def store():
    """An empty store, and the headers of what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(LISTING)))
            self.end_headers()
            self.wfile.write(LISTING)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_a_store_is_told_the_trace_of_the_call_and_nothing_outside_of_one(store):
    endpoint, seen = store
    settings = S3Settings(endpoint, "us-east-1", "path")
    uploader = S3SnapshotUploader(S3Place("b"), settings, credentials=S3Credentials("a", "s"))

    uploader.list_remote_snapshots()
    with during(parsed(KNOWN)):
        uploader.list_remote_snapshots()

    assert [one.get("traceparent") for one in seen] == [None, KNOWN]
