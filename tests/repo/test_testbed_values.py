"""The test bed's pure parts: addresses, certificates, kubeconfigs, images, wiping decisions."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from testbed import addresses, kubeconfigs, pki, recycler
from testbed.oci_layout import OciLayout, program_layer
from testbed.pki import Identity


def test_no_two_nodes_share_an_address_or_a_pod_network() -> None:
    nodes = addresses.nodes(addresses.MOST_NODES)

    everything = [each for node in nodes for each in (node.address, node.pod_network, node.link)]

    assert len(set(everything)) == 3 * addresses.MOST_NODES
    assert addresses.CONTROL_PLANE not in everything


def test_a_node_is_found_by_its_kubernetes_name() -> None:
    assert addresses.named("node2") == addresses.Node(2)


@pytest.mark.parametrize("name", ["", "node", "node0", "node10", "nodeX", "worker1"])
def test_a_name_that_is_no_node_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="node"):
        addresses.named(name)


def test_a_certificate_names_user_group_and_hosts_and_is_signed_by_its_authority() -> None:
    authority = pki.authority("root")

    pair = authority.issue(Identity("alice", "admins"), ["db.example", "10.0.0.1"])

    signed = x509.load_pem_x509_certificate(pair.certificate)
    signed.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.certificate))
    assert signed.subject.rfc4514_string() == "O=admins,CN=alice"
    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["db.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    uses = signed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH in uses
    assert isinstance(signed.public_key(), ec.EllipticCurvePublicKey)


def test_private_keys_are_written_for_root_alone(tmp_path: Path) -> None:
    pki.authority("root").pair.write(tmp_path, "ca")

    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_holds_everything_needed_to_connect() -> None:
    authority = pki.authority("root")
    pair = authority.issue(Identity("admin"))

    document = json.loads(
        kubeconfigs.render(
            server="https://127.0.0.1:16443",
            authority=authority.pair.certificate,
            user="admin",
            pair=pair,
        )
    )

    context = document["contexts"][0]
    assert document["current-context"] == context["name"]
    assert context["context"]["cluster"] == document["clusters"][0]["name"]
    assert context["context"]["user"] == document["users"][0]["name"]
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]) == pair.key


def test_an_image_stream_leaves_out_the_layers_that_are_known(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    layer = program_layer("run", b"x" * 100_000)
    layout.add("example/one:1", layer=layer, config={"Entrypoint": ["/run"]})
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"

    whole, rest = io.BytesIO(), io.BytesIO()
    layout.stream(["example/one:1"], whole, known=set())
    layout.stream(["example/one:1"], rest, known={digest})

    assert _names(whole) - _names(rest) == {f"blobs/sha256/{digest.removeprefix('sha256:')}"}
    assert {"index.json", "oci-layout"} <= _names(rest)


def test_pruning_keeps_what_an_image_uses_and_nothing_else(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    layout.add("example/one:1", layer=program_layer("run", b"old"), config={})
    old = set(layout.blobs("example/one:1").values())
    layout.add("example/one:1", layer=program_layer("run", b"new"), config={})

    layout.prune()

    assert set(tmp_path.glob("blobs/sha256/*")) == set(layout.blobs("example/one:1").values())
    assert not old & set(tmp_path.glob("blobs/sha256/*"))


def test_a_volume_that_a_pod_still_mounts_is_in_use() -> None:
    home = "/dev/loop3 /state/volumes/a ext4 rw 0 0"
    pod = "/dev/loop3 /state/kubelet/pods/x/volumes/a ext4 rw 0 0"
    other = "/dev/loop4 /state/kubelet/pods/y/volumes/b ext4 rw 0 0"

    assert recycler.in_use(Path("/state/volumes/a"), f"{home}\n{pod}\n")
    assert not recycler.in_use(Path("/state/volumes/a"), f"{home}\n{other}\n")


def _names(archive: io.BytesIO) -> set[str]:
    archive.seek(0)
    with tarfile.open(fileobj=archive) as opened:
        return set(opened.getnames())
