"""The sections about the cluster and its backups."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from amaters_server.config.addresses import (
    MAX_ID,
    BindAddressOrDefault,
    MemberName,
    Peer,
    PeerText,
    ReachableAddress,
    host_port,
    peer,
)
from amaters_server.config.faults import Fault
from amaters_server.config.sections import Count, NetworkSection, Positive, Section


def _place(text: str) -> str:
    bucket = text.removeprefix("s3://")
    local = text.removeprefix("local://")
    if text and not local.startswith("/") and (bucket == text or not bucket.partition("/")[0]):
        raise ValueError(
            f"Invalid destination: '{text}' is not s3://BUCKET/PREFIX or /FOLDER: write one of them"
        )
    # Secret keys of these stores may hold slashes.
    name, _, prefix = bucket.partition("/")
    if bucket != text and "@" in (name + prefix if ":" in name else name):
        raise ValueError(
            "Invalid destination: no credentials belong in it: remove the part before the @, and "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    if not {".", ".."}.isdisjoint(text.split("/")):
        raise ValueError(f"Invalid destination: '{text}' has . or .. in it: write it without")
    return text


def _store(text: str) -> str:
    """Return the URL without user and password: they are never used."""
    scheme, colon, rest = text.partition("://")
    if not text:
        return text
    if not colon or scheme.lower() not in {"http", "https"}:
        raise ValueError("Invalid URL of the store: use one that begins with http:// or https://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


class ClusterSection(Section):
    """The members of the cluster, and how this node joins. Without the table: a single node."""

    enabled: bool = Field(default=True, description="False: as if the table were absent.")
    node_id: Annotated[int, Field(ge=0, le=MAX_ID)] = Field(
        default=0,
        description="This node's id; 0: found in `peers` by address, or given on joining.",
    )
    name: MemberName = Field(
        default="", description="A display name; Kubernetes uses the name of the pod."
    )
    peers: tuple[PeerText, ...] = Field(
        default=(), description='The initial members, this node included: `"id:host:port"`.'
    )
    join: tuple[ReachableAddress, ...] = Field(
        default=(), description="Internal addresses of members to ask when `peers` is out of date."
    )
    bind_address: BindAddressOrDefault = Field(
        default="",
        description="Where other members and administrators connect. Empty: the port of this "
        "node's own entry (its `advertise_address`, or the one of its `node_id` in `peers`), and "
        "its address too when that is an IP address of this host. Where the entry is a name, as in "
        "Kubernetes, or an address of something in between, all addresses of this host.",
    )
    advertise_address: ReachableAddress = Field(
        default="", description="`host:port` at which other members reach this node."
    )
    client_advertise_address: ReachableAddress = Field(
        default="", description="`host:port` at which clients reach this node."
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Part of the cluster's identity: nodes with different tokens never form one "
        "cluster.",
    )
    heartbeat_interval_ms: Positive = Field(
        default=100, description="Milliseconds between heartbeats."
    )
    election_timeout_ms: Positive = Field(
        default=300,
        description="Milliseconds without a heartbeat after which a member starts an election "
        "(± a third).",
    )
    log_retention_entries: Positive = Field(
        default=100_000, description="Log entries kept for members that lag."
    )
    log_retention_mb: Positive = Field(
        default=256, description="Megabytes of log kept for such members."
    )
    snapshot_rate_limit_mb: Count = Field(
        default=0, description="Megabytes per second of a snapshot to a follower; 0: no limit."
    )
    tls_cert: Path | None = Field(
        default=None, description="As `network.tls_cert`, for the internal port."
    )
    tls_key: Path | None = Field(
        default=None, description="As `network.tls_key`, for the internal port."
    )
    tls_ca: Path | None = Field(
        default=None,
        description="As `network.tls_ca`, for the internal port: whose certificates members and "
        "administrators show. Absent: that one.",
    )
    admin_principals: tuple[str, ...] = Field(
        default=(),
        description="Whose certificates administer on the internal port, as in "
        "`auth.mtls.allowed_principals`. Empty: those with this node's own subject and SANs. All "
        "others may only act as the member whose address they are for.",
    )

    def initial_members(self) -> tuple[Peer, ...]:
        """Return `peers` taken apart, by id."""
        return tuple(sorted(peer(text) for text in self.peers))


def verifies_inside(network: NetworkSection, cluster: ClusterSection | None) -> bool:
    """Whether callers have to show certificates there."""
    ca = network.tls_ca if cluster is None else cluster.tls_ca or network.tls_ca
    return network.tls_enabled and ca is not None


def inside_faults(network: NetworkSection, cluster: ClusterSection | None) -> Iterator[Fault]:
    """Name what cannot take effect."""
    if cluster is not None and cluster.admin_principals and not verifies_inside(network, cluster):
        yield Fault(
            "cluster.admin_principals",
            "admin_principals has no effect while nobody shows a certificate on the internal port, "
            "where every caller administers: set network.tls_enabled to true, and cluster.tls_ca "
            "to the authority of members and administrators",
        )


def inside_exposure(
    network: NetworkSection, cluster: ClusterSection | None, address: str
) -> str | None:
    """Return what strangers can do at the internal address; None when it keeps them out."""
    if verifies_inside(network, cluster):
        return None
    who = "any process of this host" if _is_loopback(address) else "anyone who reaches it"
    return (
        f"{who} can administer the cluster and act as a member at {address}, the internal port: "
        "set network.tls_enabled to true, and cluster.tls_ca or network.tls_ca"
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(host_port(address).host).is_loopback
    except ValueError:
        return False


class S3Section(Section):
    """An S3 store; its credentials come from files or the environment, never from this file."""

    endpoint_url: Annotated[str, AfterValidator(_store)] = Field(
        default="", description="URL of the store when it is not Amazon's."
    )
    region: str = Field(default="", description="Region of the bucket.")
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="`auto`, `path` or `virtual`."
    )
    server_side_encryption: Literal["", "AES256", "aws:kms"] = Field(
        default="", description="`AES256` (SSE-S3), `aws:kms` (SSE-KMS), or empty."
    )
    kms_key_id: str = Field(
        default="", description="Key for `aws:kms`: its id or ARN. Empty: the bucket's own."
    )
    ca_file: Path | None = Field(
        default=None, description="Authorities that sign the store's certificate."
    )
    credentials_dir: Path | None = Field(
        default=None,
        description="Folder with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, perhaps, "
        "AWS_SESSION_TOKEN, read on each use; without them, the environment is used.",
    )
    role_arn: str = Field(
        default="",
        description="Role to act in by a web identity token. Empty: AWS_ROLE_ARN, when the "
        "environment has no keys.",
    )
    web_identity_token_file: Path | None = Field(
        default=None,
        description="Token for `role_arn`, read on each exchange. Absent: "
        "AWS_WEB_IDENTITY_TOKEN_FILE.",
    )
    sts_endpoint_url: Annotated[str, AfterValidator(_store)] = Field(
        default="", description="Where the token is exchanged when it is not at Amazon's STS."
    )


def store_faults(s3: S3Section) -> Iterator[Fault]:
    """Name what cannot take effect."""
    if s3.kms_key_id and s3.server_side_encryption != "aws:kms":
        yield Fault(
            "snapshots.s3.kms_key_id",
            'kms_key_id has no effect: set snapshots.s3.server_side_encryption to "aws:kms"',
        )


class SnapshotsSection(Section):
    """Backups: their folder, and where uploads go."""

    dir: Path = Field(
        default=Path("snapshots"), description="Their folder, below `server.data_dir`."
    )
    destination: Annotated[str, AfterValidator(_place)] = Field(
        default="",
        description="Where uploads go: `s3://bucket/prefix`, an absolute path, or empty.",
    )
    allowed_destinations: tuple[Annotated[str, AfterValidator(_place)], ...] = Field(
        default=(),
        description="Other destinations that a caller may name: buckets with prefixes, "
        "and folders, each with what is below it. All others are refused.",
    )
    keep_local: Positive = Field(
        default=3, description="Local backups kept, those with the highest ids."
    )
    s3: S3Section = S3Section()
