"""Which places a caller may name: configured ones and what is below them, nothing else."""

from pathlib import Path

import pytest
from amaters_server.backups.names import remote_name
from amaters_server.backups.places import FolderPlace, S3Place, place_of, places
from amaters_server.model.errors import ConfigurationError, SnapshotError

CLUSTER = "0123456789abcdef" * 2
CONFIGURED = places(["/backups/orders", "s3://bucket/orders/", "local:///mnt/share", "s3://whole"])


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("/backups/orders", FolderPlace(Path("/backups/orders"))),
        ("/backups/orders/", FolderPlace(Path("/backups/orders"))),
        ("local:///backups/orders/x/y", FolderPlace(Path("/backups/orders"), ("x", "y"))),
        ("/mnt/share/x", FolderPlace(Path("/mnt/share"), ("x",))),
        ("s3://bucket/orders", S3Place("bucket", "orders")),
        ("s3://bucket/orders/deeper/", S3Place("bucket", "orders/deeper")),
        ("s3://whole/anything", S3Place("whole", "anything")),
        ("s3://whole", S3Place("whole")),
    ],
)
def test_a_configured_place_and_what_is_below_may_be_named(asked: str, place: object) -> None:
    assert CONFIGURED.named(asked) == place


@pytest.mark.parametrize(
    "asked",
    [
        "/",
        "/backups",
        "/backups/ordersX",
        "/etc",
        "/mnt",
        "s3://bucket",
        "s3://bucket/orders2",
        "s3://attacker/x",
        "s3://wholeX",
        "//backups/orders",
    ],
)
def test_any_other_place_is_refused_with_the_key_that_would_allow_it(asked: str) -> None:
    with pytest.raises(SnapshotError, match=r"not among .*snapshots\.allowed_destinations"):
        CONFIGURED.named(asked)
    with pytest.raises(SnapshotError, match="not among"):
        CONFIGURED.of_backup(f"{asked.rstrip('/') or '//'}/{remote_name(1)}")


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "orders",
        "../orders",
        "/backups/orders/../../etc",
        "/backups/orders/.",
        "/backups/orders/\0/etc",
        "s3://",
        "s3://bucket/orders/../other",
        "local://backups",
        "ftp://x/y",
    ],
)
def test_what_means_no_place_or_leads_out_of_one_is_refused(asked: str) -> None:
    with pytest.raises(SnapshotError, match="is no place for backups"):
        CONFIGURED.named(asked)


def test_an_endless_name_is_not_repeated_in_the_answer() -> None:
    with pytest.raises(SnapshotError) as refused:
        CONFIGURED.named("/" + "x" * 1_000_000)

    assert len(str(refused.value)) < 1000


def test_with_nothing_configured_nothing_may_be_named() -> None:
    with pytest.raises(SnapshotError, match=r"\(none\)"):
        places([]).named("/tmp")


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        (f"local:///backups/orders/{CLUSTER}/{remote_name(1)}", "local:///backups/orders"),
        (f"/backups/orders/{remote_name(1)}", "local:///backups/orders"),
        (f"/backups/orders//x/{remote_name(1)}", "local:///backups/orders/x"),
        (f"s3://bucket/orders/{CLUSTER}/{remote_name(1)}", "s3://bucket/orders"),
        (f"s3://whole/{CLUSTER}/{remote_name(1)}", "s3://whole"),
        (f"s3://whole/{remote_name(1)}", "s3://whole"),
    ],
)
def test_a_backup_belongs_to_the_place_that_clusters_share(uri: str, place: str) -> None:
    found, full = CONFIGURED.of_backup(uri)

    assert str(found) == place
    assert full.startswith(f"{place}/")
    assert full.endswith(remote_name(1))


def test_one_clusters_folder_may_be_what_is_configured() -> None:
    only = places([f"s3://bucket/orders/{CLUSTER}"])

    place, uri = only.of_backup(f"s3://bucket/orders/{CLUSTER}/{remote_name(1)}")

    assert str(place) == f"s3://bucket/orders/{CLUSTER}"
    assert uri == f"s3://bucket/orders/{CLUSTER}/{remote_name(1)}"


def test_a_backup_is_not_reached_through_a_parent_folder() -> None:
    for uri in (
        f"/backups/orders/../{CLUSTER}/{remote_name(1)}",
        f"/backups/orders/x/../../etc/{remote_name(1)}",
    ):
        with pytest.raises(SnapshotError, match="is no place for backups"):
            CONFIGURED.of_backup(uri)


@pytest.mark.parametrize("destination", ["relative", "s3:///x", "/a/../b"])
def test_a_configured_place_that_is_none_is_refused_at_the_start(destination: str) -> None:
    with pytest.raises(ConfigurationError, match=r"snapshots\.destination"):
        place_of(destination)
