"""Every module that reads bytes of others has a property test: a new decoder cannot be forgotten."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "client/amaters",
    "server/amaters_server",
    "operator/amaters_operator",
    "operator/amaters_kubectl",
)
READS = {
    "FromString",
    "MergeFromString",
    "ParseFromString",
    "loads",
    "unpack",
    "unpack_from",
    "b64decode",
    "unquote_to_bytes",
    "base64url_decode",
    "load_pem_x509_certificate",
    "load_pem_x509_certificates",
    "load_der_x509_certificate",
    "decompress",
}
"""What a call is named that makes a value of bytes."""

DECODERS = {
    "properties/test_decoders.py": (
        "amaters/cli/commands/data.py",
        "amaters/cli/commands/server.py",
        "amaters/cli/toml_text.py",
        "amaters_operator/controllers/secrets.py",
        "amaters_operator/kube/client.py",
        "amaters_server/access/roles.py",
        "amaters_server/config/toml_file.py",
        "amaters_server/node/snapshot_transfer/files.py",
        "amaters_server/raft/log.py",
        "amaters_server/rpc/peer/messages.py",
        "amaters_server/rpc/peer/string_calls.py",
        "amaters_server/storage/data_format.py",
        "amaters_server/storage/durable_mark.py",
        "amaters_server/storage/rocks/log_folder.py",
        "amaters_server/storage/set_aside.py",
    ),
    "client/tables/test_decoders.py": (
        "amaters/cli/commands/tables/backup_file.py",
        "amaters/cli/commands/tables/bookmark.py",
        "amaters/cli/commands/tables/counting.py",
        "amaters/cli/commands/tables/records.py",
    ),
    "kubectl/test_answers.py": (
        "amaters_kubectl/cluster/log_lines.py",
        "amaters_kubectl/kubectl.py",
    ),
    "kubectl/test_support_bundle.py": ("amaters_kubectl/bundle/redaction.py",),
    "properties/test_command_codec.py": (
        "amaters_server/machine/codec.py",
        "amaters_server/machine/membership.py",
    ),
    "properties/test_updates.py": (
        "amaters_server/machine/updates/arithmetic.py",
        "amaters_server/machine/updates/evaluation.py",
    ),
    "properties/test_usual_requests.py": (
        "amaters_server/rpc/aql/batches.py",
        "amaters_server/rpc/aql/queries.py",
    ),
    "operator/test_held_back.py": ("amaters_operator/controllers/held_back.py",),
    "operator/test_decide_access.py": ("amaters_operator/manifests/access_secret.py",),
    "server/backups/test_archive_file.py": (
        "amaters_server/backups/file/archive.py",
        "amaters_server/backups/file/frame.py",
        "amaters_server/backups/file/header.py",
    ),
    "server/node/test_verification.py": ("amaters_server/node/maintenance/verification.py",),
    "server/gateway/test_requests.py": (
        "amaters_server/gateway/requests.py",
        "amaters_server/gateway/targets.py",
    ),
    "server/identity/test_decoders.py": (
        "amaters_server/identity/api_keys.py",
        "amaters_server/identity/certificates.py",
        "amaters_server/identity/jws.py",
        "amaters_server/model/strict_json.py",
    ),
}
"""The property test of each module."""

NOT_OF_OTHERS = {
    "amaters/cli/commands/keys/store.py": "descriptions in the user's own folder",
    "amaters_operator/database/certificates.py": "Secrets of the cluster's owner",
    "amaters_server/app/composition/tracing.py": "one request, in one guard; answers of this node",
    "amaters_server/gateway/endpoints.py": "answers of this process's own service",
    "amaters_server/machine/backup.py": "rows of a verified backup, decoded as the state's",
    "amaters_server/machine/state.py": "rows that this state machine wrote",
    "amaters_server/node/membership/membership_changes.py": "an entry that was checked before",
    "amaters_server/node/snapshot_transfer/receiver.py": "one message, in one guard",
    "amaters_server/rpc/aql/scans.py": "values that were checked when they were written",
    "amaters_server/rpc/aql/streams.py": "one message, in one guard, as servicers.py does it",
    "amaters_server/rpc/peer/certificates.py": "certificates that the TLS handshake verified",
    "amaters_server/rpc/peer/service.py": "one message, in one guard",
    "amaters_server/rpc/transport/servicers.py": "one message, in one guard, for every method",
    "amaters_server/rpc/transport/tls.py": "the server's own certificate files",
    "amaters_server/telemetry/logs.py": "a line that this process formatted",
}
"""Modules that read what needs no property test of their own, and why."""


def readers() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to((ROOT / package).parent).as_posix()
            if "_pb2" in name or "/testing/" in name:
                continue
            calls = (
                one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)
            )
            named = {getattr(one.func, "attr", getattr(one.func, "id", "")) for one in calls}
            if named & READS:
                yield name


def test_every_decoder_has_its_property_test_or_a_reason():
    listed = {module for modules in DECODERS.values() for module in modules}
    found = set(readers())

    assert found - listed - set(NOT_OF_OTHERS) == set(), "add a property test, and the module here"
    assert set(NOT_OF_OTHERS) - found == set(), "these read nothing any more"
    assert listed & set(NOT_OF_OTHERS) == set()


@pytest.mark.parametrize("test", DECODERS)
def test_the_property_tests_are_there(test):
    text = (ROOT / "tests" / test).read_text()

    assert "from hypothesis import" in text
    for module in DECODERS[test]:
        assert any((ROOT / package).parent.joinpath(module).exists() for package in PACKAGES)
