"""Rights of AmatersAccess objects are, by the server's own checks, exactly those that are written."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from amaters_operator import manifests
from amaters_operator.api.access import AmatersAccess
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import access_secret, config, grants, identity
from amaters_operator.manifests.access_secret import Keys
from amaters_server.access import roles
from amaters_server.access.access import Access
from amaters_server.access.decision import permitted
from amaters_server.config.load import Sources, load
from amaters_server.identity import api_keys
from amaters_server.identity.api_keys import ApiKeys
from amaters_server.identity.patterns import RoleMap
from amaters_server.model.errors import CredentialExpiredError
from amaters_server.model.globs import matches
from amaters_server.model.keys import data_key
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.model.queries import Get, Put, Remove
from hypothesis import given
from hypothesis import strategies as st

KEY, OTHER, OLD = (f"amk_{letter * 43}" for letter in "abc")
ENDS = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = Keys(KEY, ENDS, OTHER, access_secret.digest_of(OLD), ENDS)


def cluster(**spec) -> AmatersCluster:
    logins = {"kubernetes": {"audience": "amaters"}, "apiKey": {}}
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": {"image": "amaters:1", "tls": {"secretName": "s"}, "authentication": logins}
            | spec,
        }
    )


def access(name: str = "one", **spec) -> AmatersAccess:
    usual = {"clusterName": "orders", "collections": ["orders"], "verbs": ["write"]}
    meta = {"name": name, "namespace": "shop", "uid": "uid-2"}
    return AmatersAccess.model_validate({"metadata": meta, "spec": usual | spec})


def written(tmp_path: Path, orders: AmatersCluster, *given: grants.Grant) -> dict[str, str]:
    """Write the files of a node, and return them."""
    shape = manifests.Shape(
        3, manifests.initial_members(orders), formed=True, volume_size="1Gi", grants=given
    )
    data = config.config_map(orders, shape)["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    return data


def loaded(tmp_path: Path):
    flags = {
        "cluster.advertise_address": "orders-0.orders-peers.shop.svc:7879",
        "cluster.client_advertise_address": "orders-0.orders-peers.shop.svc:7878",
    }
    return load(Sources(path=tmp_path / "config.toml", flags=flags))


POD = access("pod", serviceAccounts=[{"name": "checkout"}, {"name": "cart", "namespace": "front"}])
USER = access("user", user={"name": "reporter"}, verbs=["read"], prefixes=["eu/"])
GRANTS = (grants.grant(POD), grants.grant(USER, KEYS.hashes("user")))


@pytest.mark.parametrize(
    "authorization",
    [None, {"defaultRole": "none", "roles": [{"name": "none"}]}],
    ids=["built-in", "own"],
)
@pytest.mark.parametrize("secret", [None, "keys"])
def test_the_server_takes_the_configuration_without_a_doubt(
    tmp_path: Path, authorization, secret
) -> None:
    orders = cluster(
        authentication={
            "kubernetes": {"audience": "amaters"},
            "apiKey": {} if secret is None else {"secretName": secret},
        },
        authorization=authorization,
    )
    written(tmp_path, orders, *GRANTS)
    settings = loaded(tmp_path).settings
    found = roles.load(tmp_path / "roles.toml")
    Access(settings.authz, found)
    section = settings.auth.api_key

    assert loaded(tmp_path).notices == ()
    assert settings.auth.uses("kubernetes")
    assert settings.auth.uses("api_key")
    others = {name: rules for name, rules in found.items() if not name.startswith("access:")}
    assert others == (roles.BUILT_IN if authorization is None else {"none": ()})
    keys = [section.keys_file, *section.further_keys_files]
    own = [] if secret is None else ["api-keys/api-keys.json"]
    assert [str(one.relative_to(config.FOLDER)) for one in keys] == [*own, "access-keys.json"]


@pytest.mark.parametrize("login", [{"kubernetes": {"audience": "a"}}, {"apiKey": {}}])
def test_a_cluster_without_any_object_is_valid_and_lets_nobody_in(tmp_path: Path, login) -> None:
    """Also right after the last object is deleted: else its rights would stay."""
    data = written(tmp_path, cluster(authentication=login))
    settings = loaded(tmp_path).settings

    assert loaded(tmp_path).notices == ()
    assert "roles.toml" not in data
    if "apiKey" in login:
        assert api_keys.parsed(data["access-keys.json"], hashed=True) == ()
    else:
        who = "system:serviceaccount:shop:checkout"
        assert RoleMap(settings.auth.kubernetes.roles).of([who]) == ()


def test_files_of_a_cluster_that_has_none_are_as_they_were() -> None:
    """A new operator must not reload, or roll, what it finds."""
    orders = cluster(authentication={"apiKey": {"secretName": "keys"}})
    shape = manifests.Shape(3, (), formed=True, volume_size="1Gi")

    assert identity.files(orders.spec) == {}
    assert "access" not in config.rendered(orders, shape)
    assert "further" not in config.rendered(orders, shape)


def test_objects_restart_nothing_and_change_what_nodes_report() -> None:
    orders = cluster()
    bare = manifests.Shape(3, (), formed=True, volume_size="1Gi")
    many = manifests.Shape(3, (), formed=True, volume_size="1Gi", grants=GRANTS)
    other = manifests.Shape(3, (), formed=True, volume_size="1Gi", grants=GRANTS[:1])

    assert config.restart_hash(orders, bare) == config.restart_hash(orders, many)
    texts = {config.rendered(orders, one) for one in (bare, many, other)}
    assert len(texts) == 3
    assert manifests.statefulset(orders, bare) == manifests.statefulset(orders, many)


def test_every_file_that_is_named_is_in_the_pod() -> None:
    orders = cluster(authentication={"apiKey": {"secretName": "keys"}})
    shape = manifests.Shape(3, (), formed=True, volume_size="1Gi", grants=GRANTS)
    data = config.config_map(orders, shape)["data"]
    auth = tomllib.loads(data["config.toml"])["auth"]["api_key"]
    volume = manifests.statefulset(orders, shape)["spec"]["template"]["spec"]["volumes"][0]
    items = [one.get("secret", {}) for one in volume["projected"]["sources"]]
    mounted = [i["path"] for one in items if one.get("name") == "keys" for i in one["items"]]

    assert [auth["keys_file"]] == [f"/etc/amaters/{one}" for one in mounted]
    assert auth["further_keys_files"] == ["/etc/amaters/access-keys.json"]
    assert "access-keys.json" in data


def test_pods_and_users_are_whom_the_server_takes_them_for(tmp_path: Path) -> None:
    data = written(tmp_path, cluster(), *GRANTS)
    given = RoleMap(loaded(tmp_path).settings.auth.kubernetes.roles)
    keys = ApiKeys(api_keys.parsed(data["access-keys.json"], hashed=True))

    assert given.of(["system:serviceaccount:shop:checkout"]) == ("access:pod",)
    assert given.of(["system:serviceaccount:front:cart"]) == ("access:pod",)
    assert given.of(["system:serviceaccount:shop:cart"]) == ()
    for key in (KEY, OTHER, OLD):
        principal = keys.verify(key, ENDS.timestamp() - 1)
        assert (principal.name, principal.roles) == ("reporter", ("access:user",))
    assert keys.verify(KEY, ENDS.timestamp() + 1)
    with pytest.raises(CredentialExpiredError):
        keys.verify(OLD, ENDS.timestamp() + 1)
    assert access_secret.digest_of(KEY) == api_keys.hash_text(KEY)


TEXT = st.text(st.sampled_from("ab*é/ \"'\\"), max_size=4)
PREFIX = st.text(st.sampled_from('ab/é"\\\n'), min_size=1, max_size=3)
SPECS = st.fixed_dictionaries(
    {
        "collections": st.lists(TEXT, min_size=1, max_size=3),
        "prefixes": st.lists(PREFIX, max_size=2),
        "prefixesHex": st.lists(st.binary(min_size=1, max_size=2).map(bytes.hex), max_size=2),
        "verbs": st.lists(st.sampled_from(["read", "write"]), min_size=1, max_size=2, unique=True),
    }
)


class Settings:
    """Roles are checked, and callers whose credential names none have none."""

    enabled, default_role, anonymous_role, default_mode = True, "admin", None, "deny-by-default"


@given(
    st.lists(SPECS, min_size=1, max_size=3),
    TEXT,
    st.one_of(st.binary(max_size=4), TEXT.map(str.encode)),
)
def test_a_key_is_granted_if_and_only_if_an_object_says_so(specs, collection, key) -> None:
    accesses = [
        access(f"a{at}", serviceAccounts=[{"name": f"pod{at}"}, {"name": "all"}], **spec)
        for at, spec in enumerate(specs)
    ]
    made = tuple(grants.grant(one) for one in accesses)
    orders = cluster()
    files = identity.files(orders.spec, made)
    table = roles.parsed(tomllib.loads(files["roles.toml"]))
    accounts = RoleMap(identity.tables(orders.spec, "/data", made)["auth"]["kubernetes"]["roles"])
    server = Access(Settings(), table)

    def allowed(spec: dict, verb: str) -> bool:
        named = any(matches(one, collection) for one in spec["collections"])
        prefixes = [one.encode() for one in spec["prefixes"]]
        prefixes += [bytes.fromhex(one) for one in spec["prefixesHex"]]
        level = "write" in spec["verbs"] or verb == "read"
        return named and level and (not prefixes or key.startswith(tuple(prefixes)))

    for account, own in [*((f"pod{at}", [spec]) for at, spec in enumerate(specs)), ("all", specs)]:
        subject = f"system:serviceaccount:shop:{account}"
        found = server.grants(Principal(subject, PrincipalKind.KUBERNETES, accounts.of([subject])))
        for verb in ("read", "write"):
            at = data_key(collection, key)
            asked = [Get(at)] if verb == "read" else [Put(at, b""), Remove(at)]
            expected = any(allowed(spec, verb) for spec in own)
            assert [bool(permitted(found, one)) for one in asked] == [expected] * len(asked)
    assert found.server == 0, "no object grants anything on the server"


def test_the_default_role_of_a_caller_without_one_is_never_a_users() -> None:
    """A user has the role of its object, and the default role, which may be wide, is not added."""
    [_, user] = GRANTS
    [entry] = api_keys.parsed(grants.keys_file((user,)), hashed=True)[:1]

    assert entry.principal.roles == ("access:user",)
