"""The test bed's pure parts: addresses, certificates, kubeconfigs, images, wiping decisions."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from testbed import addresses, control_plane, kubeconfigs, lifecycle, node_files, pki, recycler
from testbed.addresses import Plan
from testbed.control_plane import ControlPlane
from testbed.daemons import LAUNCH, Daemons
from testbed.oci_layout import OciLayout, program_layer
from testbed.pki import Identity
from testbed.places import Places
from testbed.shell import TestbedError


@pytest.fixture(params=addresses.FAMILIES)
def plan(request: pytest.FixtureRequest) -> Plan:
    return Plan(request.param)


def test_no_two_nodes_share_an_address_or_a_pod_network(plan: Plan) -> None:
    nodes = addresses.nodes(addresses.MOST_NODES)

    own = [each for node in nodes for each in plan.of(node)]
    pods = [ip_network(family.pods_of(node)) for node in nodes for family in plan.families]

    everything = [*own, *plan.api_hosts, *(one.dns_service for one in plan.families)]
    assert len(set(everything)) == len(everything)
    assert not any(one.overlaps(other) for one, other in combinations(pods, 2))
    for family in plan.families:
        mine = [network for network in pods if network.version == family.version]
        assert all(network.subnet_of(ip_network(family.pods)) for network in mine)
        assert all(ip_address(family.of(node)) in ip_network(family.nodes) for node in nodes)


def test_the_addresses_of_the_usual_cluster_are_what_they_were() -> None:
    node, plan = addresses.Node(2), Plan()

    assert (plan.of(node), plan.first.pods_of(node)) == (("10.111.0.12",), "10.112.2.0/24")
    assert plan.api_hosts == ("10.96.0.1", "10.111.0.1")
    assert plan.first.dns_service == "10.96.0.10"


def test_everything_of_a_cluster_of_ipv6_is_in_ipv6_and_in_brackets(tmp_path: Path) -> None:
    plan, node = Plan("ipv6"), addresses.Node(1)
    plane = ControlPlane(Places(tmp_path, tmp_path), Daemons(Places(tmp_path, tmp_path)), plan)

    documents = [
        node_files.cni(node, plan, tmp_path),
        node_files.kubelet(node, plan, tmp_path, tmp_path, "/group"),
        node_files.proxy(node, plan, tmp_path, plan.first.of(node)),
        *control_plane.dns_objects(plan.first),
        control_plane.dns_settings(plan, tmp_path),
        plane.api_server_command(),
        plane.controllers_command(),
    ]

    text = json.dumps(documents).replace("127.0.0.1", "")
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|in-addr|IPv4", text)
    assert documents[2]["healthzBindAddress"] == "[fd00:111::b]:10256"
    assert documents[4]["addressType"] == "IPv6"
    assert plan.api_url == "https://[fd00:111::1]:6443"


def test_pods_of_a_cluster_of_two_families_get_an_address_of_each() -> None:
    ipam = node_files.cni(addresses.Node(3), Plan("dual"), Path("/n"))["plugins"][0]["ipam"]

    assert ipam["ranges"] == [[{"subnet": "10.112.3.0/24"}], [{"subnet": "fd00:112:0:3::/64"}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


@pytest.mark.parametrize(
    ("address", "header"), [("10.112.1.0/24", "ip"), ("fd00::1", "ip6"), ("::/0", "ip6")]
)
def test_packets_are_filtered_by_the_family_of_their_address(address: str, header: str) -> None:
    assert addresses.family_of(address).header == header


def test_a_cluster_brought_up_before_there_were_families_is_one_of_ipv4(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps({"nodes": 3, "made": []}))

    assert lifecycle.Cluster(Places(tmp_path, tmp_path)).plan == Plan("ipv4")


def test_a_cluster_of_another_family_is_never_taken_for_the_one_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps({"nodes": 3, "families": "ipv4"}))
    monkeypatch.setattr(lifecycle.Cluster, "is_up", lambda _: True)
    cluster = lifecycle.Cluster(Places(tmp_path, tmp_path))

    with pytest.raises(TestbedError, match="a cluster of ipv4 is up: run `down` first"):
        cluster.require_same(3, Plan("ipv6"))
    cluster.require_same(3, Plan("ipv4"))


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


def test_a_daemon_is_in_its_group_before_it_is_known(tmp_path: Path) -> None:
    """`require_alive` takes one that is not for dead."""
    group = tmp_path / "cgroup.procs"
    os.mkfifo(group)
    command = ["sh", "-c", LAUNCH, "sh", group, "/proc/self/ns/net", tmp_path / "log", "true"]

    with subprocess.Popen(command, stdout=subprocess.PIPE) as launching:
        with pytest.raises(subprocess.TimeoutExpired):
            launching.wait(0.2)
        assert group.read_text() == "0\n"
        assert launching.stdout
        assert launching.stdout.read().strip().isdigit()


def _names(archive: io.BytesIO) -> set[str]:
    archive.seek(0)
    with tarfile.open(fileobj=archive) as opened:
        return set(opened.getnames())
