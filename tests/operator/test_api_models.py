from datetime import UTC, datetime, timedelta, timezone

import pytest
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, settle
from amaters_operator.api.scalars import Duration, duration
from pydantic import TypeAdapter, ValidationError


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


WRONG = [
    ({"image": "foo bar:"}, "write an image as"),
    ({"image": "registry/amaters:"}, "write an image as"),
    ({"image": "Amaters:1"}, "write an image as"),
    ({"image": "amaters:1 "}, "write an image as"),
    ({"image": "amaters:1\n"}, "write an image as"),
    ({"storage": {"size": "10Qx"}}, "write an amount of bytes"),
    ({"storage": {"size": "10 Gi"}}, "write an amount of bytes"),
    ({"storage": {"size": "10gb"}}, "write an amount of bytes"),
    ({"storage": {"size": "10ki"}}, "write an amount of bytes"),
    ({"storage": {"size": "500m"}}, "write an amount of bytes"),
    ({"storage": {"size": "0Gi"}}, "write an amount of bytes"),
    ({"storage": {"quarantine": "3w"}}, "write a time above zero"),
    ({"storage": {"quarantine": "0h"}}, "write a time above zero"),
    ({"storage": {"autoGrow": {"max": "1Ti", "below": "20"}}}, "write a share"),
    ({"storage": {"autoGrow": {"max": "1Ti", "below": "91%"}}}, "write a share"),
    ({"storage": {"autoGrow": {"max": "1Ti", "by": "0%"}}}, "write an increase"),
    ({"storage": {"autoGrow": {"below": "20%"}}}, "Field required"),
    ({"resources": {"requests": {"memory": "10Qx"}}}, "write an amount, a number"),
    ({"resources": {"limits": {"cpu": "two"}}}, "write an amount, a number"),
]
RIGHT = [
    {"image": "amaters"},
    {"image": "localhost/amaters-server:0.3.0-rc.1_2"},
    {"image": "registry.example:5000/team/amaters__server:1"},
    {"image": "REG.example/a/b@sha256:" + "0a" * 32},
    {"image": "reg/a:1@sha256:" + "0a" * 32},
    {"storage": {"size": "10Gi"}},
    {"storage": {"size": "1.5Ti"}},
    {"storage": {"size": "0.5G"}},
    {"storage": {"size": "10737418240"}},
    {"storage": {"quarantine": "1h30m", "autoGrow": {"max": "1Ti"}}},
    {"storage": {"autoGrow": {"max": "1.5Ti", "below": "5%", "by": "100%"}}},
    {"resources": {"requests": {"cpu": 2, "memory": "512Mi"}, "limits": {"cpu": "1e3"}}},
    {"resources": {"requests": {"cpu": ".5", "memory": "512Ki"}, "limits": {"cpu": "250m"}}},
]


@pytest.mark.parametrize(("spec", "said"), WRONG)
def test_images_and_amounts_of_no_form_are_refused_with_what_to_write(spec, said) -> None:
    with pytest.raises(ValidationError, match=said):
        AmatersCluster.model_validate(manifest(**spec))


@pytest.mark.parametrize("spec", RIGHT)
def test_images_and_amounts_that_kubernetes_takes_are_taken(spec) -> None:
    AmatersCluster.model_validate(manifest(**spec))


def test_status_is_read_as_it_was_written() -> None:
    given = manifest() | {"status": {"backup": {"lastToken": "now", "failures": 2}}}

    status = AmatersCluster.model_validate(given).status

    assert status.backup is not None
    assert status.backup.last_token == "now"
    assert status.model_dump(by_alias=True, mode="json", exclude_unset=True) == given["status"]


def condition(status: str, since: datetime, message: str = "") -> Condition:
    return Condition(
        type="Ready", status=status, reason="R", message=message, last_transition_time=since
    )


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    earlier, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    before = [condition("True", earlier)]

    same = settle([condition("True", later, "another word")], before)
    changed = settle([condition("False", later)], before)

    assert same[0].last_transition_time == earlier
    assert same[0].message == "another word"
    assert changed[0].last_transition_time == later


def test_a_time_is_written_in_utc_to_the_second_whatever_it_was_made_of() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    given = condition("True", moment)
    copied = given.model_copy(update={"last_transition_time": moment})

    assert given.last_transition_time == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    for one in (given, copied):
        assert one.model_dump(mode="json")["last_transition_time"] == "2026-01-02T01:04:05Z"


@pytest.mark.parametrize(
    ("text", "seconds"), [("72h", 259200), ("90m", 5400), ("1h30m", 5400), ("0h5s", 5)]
)
def test_a_duration_is_hours_minutes_and_seconds(text: str, seconds: int) -> None:
    assert TypeAdapter(Duration).validate_python(text) == text
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "m", "-5m", "30m1h", "5 m", "1.5h", "1h1d", "1w"])
def test_another_duration_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)
