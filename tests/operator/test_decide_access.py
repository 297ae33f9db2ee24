"""Which AmatersAccess objects count, and when a key is replaced: the decisions alone."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from amaters_operator import manifests
from amaters_operator.api.access import AmatersAccess, UserSpec
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.access import admission, renewal, reports
from amaters_operator.decisions.access.admission import MOST_BYTES, MOST_USERS
from amaters_operator.decisions.observation import Member, Node, Observation, Pod, State
from amaters_operator.manifests import config, grants
from amaters_operator.manifests.access_secret import Keys, digest_of, read, secret, written
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOGINS = {"kubernetes": {"audience": "amaters"}, "apiKey": {}}
KEY, NEXT = "amk_" + "a" * 43, "amk_" + "b" * 43


def cluster(**spec) -> AmatersCluster:
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": {"image": "amaters:1", "authentication": LOGINS} | spec,
        }
    )


def access(name: str, minutes: int = 0, **spec) -> AmatersAccess:
    usual = {"clusterName": "orders", "collections": ["orders"], "verbs": ["write"]}
    meta = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "creationTimestamp": (NOW + timedelta(minutes=minutes)).isoformat(),
    }
    return AmatersAccess.model_validate({"metadata": meta, "spec": usual | spec})


def reasons(of: AmatersCluster, *accesses: AmatersAccess, base: int = 0) -> dict[str, str]:
    found = admission.admission(of, accesses, base_bytes=base)
    return {name: "" if one is None else one.reason for name, one in found.items()}


def test_the_order_of_the_list_decides_nothing() -> None:
    one = access("z", user={"name": "u"})
    other = access("a", 1, user={"name": "u"})

    assert reasons(cluster(), one, other) == reasons(cluster(), other, one)
    assert reasons(cluster(), one, other) == {"z": "", "a": "UserTaken"}


def test_an_object_that_is_refused_takes_no_name() -> None:
    refused = access("old", user={"name": "u"})
    own = {"roles": [{"name": "access:old"}], "defaultRole": "access:old"}
    found = reasons(cluster(authorization=own), refused, access("new", 1, user={"name": "u"}))

    assert found == {"old": "RoleNameTaken", "new": ""}


def test_more_users_than_the_operator_reads_secrets_of_are_refused() -> None:
    users = [access(f"u{n}", n, user={"name": f"u{n}"}) for n in range(MOST_USERS + 1)]
    pods = access("pods", MOST_USERS + 2, serviceAccounts=[{"name": "a"}])
    found = reasons(cluster(), *users, pods)

    assert [name for name, why in found.items() if why] == [f"u{MOST_USERS}"]
    assert found[f"u{MOST_USERS}"] == "TooMany"


def large(number: int) -> AmatersAccess:
    return access(
        f"a{number}",
        number,
        user={"name": f"u{number}"},
        collections=[f"{name}-{number}" for name in "abcdefghijklmnop"],
        prefixes=["é" * 126] * 32,
        prefixesHex=["ff" * 256] * 32,
    )


def test_what_is_admitted_fits_the_files_and_the_config_map() -> None:
    """Kubernetes refuses a ConfigMap above 1 MiB as a whole: then no right could be taken away."""
    orders = cluster()
    shape = manifests.Shape(9, manifests.initial_members(orders), formed=True, volume_size="")
    base = sum(map(len, config.config_map(orders, shape)["data"].values()))
    objects = [large(number) for number in range(6)]
    found = reasons(orders, *objects, base=base)
    admitted = [one for one in objects if not found[one.name]]
    keys = Keys(KEY, NOW, "", digest_of(NEXT), NOW)
    made = tuple(grants.grant(one, keys.hashes(one.name)) for one in admitted)
    data = config.config_map(orders, replace(shape, grants=made))["data"]

    assert list(found.values()).count("TooMany") >= 1
    assert admitted
    assert sum(len(text.encode()) for text in data.values()) <= MOST_BYTES
    assert reasons(orders, large(0), base=MOST_BYTES) == {"a0": "TooMany"}


def test_a_thousand_objects_are_rendered_in_a_moment() -> None:
    orders = cluster()
    many = [access(f"a{n}", n, serviceAccounts=[{"name": f"pod-{n}"}]) for n in range(1000)]
    found = admission.admission(orders, many, base_bytes=0)

    assert set(found.values()) == {None}
    made = tuple(grants.grant(one) for one in many)
    assert len(config.digests(orders, (), (), made)) >= 10


USER = UserSpec(name="u", renew_after="10d", overlap="2d")


def following(keys: Keys | None, now: datetime, *, loaded: bool = True) -> Keys:
    return renewal.next_keys(USER, keys, now, loaded=loaded, new_key=lambda: NEXT)


def test_a_renewal_goes_step_by_step() -> None:
    first = Keys(KEY, NOW)
    due = NOW + timedelta(days=10)

    assert following(None, NOW) == Keys(NEXT, NOW)
    assert following(first, due - timedelta(seconds=1)) == first
    prepared = following(first, due)
    assert prepared == replace(first, following=NEXT)
    assert following(prepared, due, loaded=False) == prepared
    promoted = following(prepared, due)
    assert promoted == Keys(NEXT, due, "", digest_of(KEY), due + timedelta(days=2))
    assert following(promoted, due + timedelta(days=1)) == promoted
    assert following(promoted, due + timedelta(days=2)) == Keys(NEXT, due)


def test_a_shorter_renewal_waits_for_the_end_of_the_key_before() -> None:
    """Nodes know two keys at most."""
    keys = Keys(NEXT, NOW, "", digest_of(KEY), NOW + timedelta(days=30))

    assert following(keys, NOW + timedelta(days=20)) == keys


def test_a_clock_that_went_back_replaces_nothing() -> None:
    keys = Keys(KEY, NOW)

    assert following(keys, NOW - timedelta(days=400)) == keys


@pytest.mark.parametrize(
    "keys",
    [
        Keys(KEY, NOW),
        Keys(KEY, NOW, NEXT),
        Keys(KEY, NOW, "", digest_of(NEXT), NOW + timedelta(days=1)),
    ],
)
def test_a_secret_is_read_as_it_was_written(keys: Keys) -> None:
    one = access("one", user={"name": "u"})
    made = secret(one, keys)

    assert read(made, NOW + timedelta(days=5)) == keys
    assert written(made, made)
    assert not written(made, secret(one, replace(keys, current="amk_" + "c" * 43)))


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": {"api-key": "no base64"}},
        {"data": {"api-key": "w6k="}},
        {"data": {}},
    ],
)
def test_a_secret_without_a_key_holds_none(change) -> None:
    made = secret(access("one", user={"name": "u"}), Keys(KEY, NOW))

    assert read(made | change, NOW) is None


def test_times_that_cannot_be_read_begin_anew() -> None:
    made = secret(access("one", user={"name": "u"}), Keys(KEY, NOW, "", digest_of(NEXT), NOW))
    made["metadata"]["annotations"] = {
        "amaters.io/issued-at": "yesterday",
        "amaters.io/previous-key-ends": "2026-01-01",
    }
    later = NOW + timedelta(days=1)

    assert read(made, later) == Keys(KEY, later)


PARTS = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=8).map(lambda one: base64.b64encode(one).decode()),
    st.sampled_from([KEY, NEXT, digest_of(KEY)]).map(
        lambda one: base64.b64encode(one.encode()).decode()
    ),
)
NAMES = st.sampled_from(["api-key", "next-api-key", "previous-key-hash", "user", "mine"])
TIMES = st.one_of(
    st.text(max_size=10),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=14))])).map(
        datetime.isoformat
    ),
)
NOTES = st.sampled_from(["amaters.io/issued-at", "amaters.io/previous-key-ends"])


@given(st.dictionaries(NAMES, PARTS), st.dictionaries(NOTES, TIMES))
def test_whatever_a_secret_holds_a_pass_goes_on_and_ends_with_random_keys(data, notes) -> None:
    """Whoever may edit the Secret must not be able to stop the cluster's reconciles."""
    one = access("one", user={"name": "u"})
    found = {"metadata": {"name": "one-login", "annotations": notes}, "data": data}
    keys = following(read(found, NOW), NOW)
    made = secret(one, keys)

    assert following(read(made, NOW), NOW, loaded=False) == keys
    assert {keys.current, keys.following} <= {KEY, NEXT, ""}
    assert len(grants.grant(one, keys.hashes("one")).keys) <= 3
    assert renewal.renews_at(USER, keys)
    ids = [one.id for one in keys.hashes("one")]
    assert len(set(ids)) == len(ids), "a file with an id twice is refused as a whole"


FILES = frozenset({"new"})


def observed(*digests: str | None, members: int = 3, hashes: tuple[str, ...] = ()) -> Observation:
    pods = tuple(
        Pod(f"orders-{at}", at, f"u{at}", "r", restart_hash=(hashes or ("h",) * 9)[at])
        for at in range(len(digests))
    )
    nodes = {
        at: Node(at + 1, State.FOLLOWER, config_digest=digest)
        for at, digest in enumerate(digests)
        if digest is not None
    }
    return Observation(NOW, pods, nodes, members=tuple(Member(at + 1, at) for at in range(members)))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (observed("new", "new", "new"), ""),
        (observed("new", "old", "new"), "on its way to: orders-1"),
        (observed("new", "", "new"), "on its way to: orders-1"),
        (observed("new", None, "new"), "no answer to the operator: orders-1"),
        (observed("new", "new"), "no answer to the operator: orders-2"),
        (observed("new", "new", "new", hashes=("h", "h", "g")), "settings have changed: orders-2"),
        (observed(members=0), "no node runs; the first that starts loads the rights"),
    ],
)
def test_every_node_has_to_have_reported_the_newest_files(seen: Observation, said: str) -> None:
    found = reports.behind(cluster(), seen, FILES, "h", formed=True)

    assert found.endswith(said) if said else found == ""
    assert reports.behind(cluster(), seen, FILES, "h", formed=False) == (
        "the cluster is being created"
    )
