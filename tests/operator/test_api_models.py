from datetime import UTC, datetime

import pytest
from amaters_operator.api import AmatersCluster
from amaters_operator.api.conditions import Condition, settle
from pydantic import ValidationError


def manifest(**spec) -> dict:
    return {
        "apiVersion": "amaters.io/v1alpha1",
        "kind": "AmatersCluster",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u-1", "managedFields": []},
        "spec": {"image": "amaters:1"} | spec,
    }


def test_an_image_alone_makes_a_whole_cluster() -> None:
    cluster = AmatersCluster.model_validate(manifest())

    assert cluster.key == "shop/orders"
    assert cluster.spec.replicas == 3
    assert cluster.spec.config.cluster.election_timeout_ms == 1000
    assert cluster.spec.backup is None


def test_fields_of_a_newer_crd_are_ignored() -> None:
    cluster = AmatersCluster.model_validate(manifest(somethingNew={"a": 1}))

    assert "somethingNew" not in cluster.spec.model_dump(by_alias=True)


@pytest.mark.parametrize("replicas", [0, 10, "many"])
def test_a_spec_that_the_crd_would_refuse_is_refused_here_too(replicas: object) -> None:
    with pytest.raises(ValidationError, match="replicas"):
        AmatersCluster.model_validate(manifest(replicas=replicas))


def test_status_is_read_as_it_was_written() -> None:
    given = manifest() | {"status": {"backup": {"lastToken": "now", "failures": 2}}}

    status = AmatersCluster.model_validate(given).status

    assert status.backup is not None
    assert status.backup.last_token == "now"
    assert status.model_dump(by_alias=True, exclude_unset=True) == given["status"]


def condition(status: str, since: str, message: str = "") -> Condition:
    return Condition(
        type="Ready", status=status, reason="R", message=message, last_transition_time=since
    )


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = [condition("True", "2026-01-01T00:00:00Z")]
    later = datetime(2026, 1, 2, tzinfo=UTC).isoformat()

    same = settle([condition("True", later, "another word")], before)
    changed = settle([condition("False", later)], before)

    assert same[0].last_transition_time == "2026-01-01T00:00:00Z"
    assert same[0].message == "another word"
    assert changed[0].last_transition_time == later
