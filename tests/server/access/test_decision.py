"""Decisions on resolved operations, and the texts of denials."""

import pytest
from amaters.wire import admin_pb2, aql_pb2
from amaters_server.access.access import Access
from amaters_server.access.decision import (
    LONGEST_TEXT,
    METHODS,
    PUBLIC,
    Administer,
    Method,
    all_permitted,
    named,
    permitted,
    shortened,
)
from amaters_server.access.gate import Gate
from amaters_server.access.grants import Grants, after
from amaters_server.access.roles import COLLECTION, Level, Rule
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.model.errors import ConfigurationError, PermissionDeniedError
from amaters_server.model.globs import matches
from amaters_server.model.keys import DATA_KEYS_END, DataKey, collection_prefix, data_key
from amaters_server.model.principal import ANONYMOUS, Principal, PrincipalKind
from amaters_server.model.queries import Columns, Get, Put, Remove, Scan
from amaters_server.rpc.aql import decode
from amaters_server.rpc.transport.status import response


def get(collection: str, key: bytes = b"k") -> Get:
    return Get(data_key(collection, key))


def put(collection: str, key: bytes = b"k") -> Put:
    return Put(data_key(collection, key), b"secret value")


def remove(collection: str, key: bytes = b"k") -> Remove:
    return Remove(data_key(collection, key))


def scan(collection: str, start: bytes = b"", end: bytes = b"\xff" * 32) -> Scan:
    return Scan(data_key(collection, start), data_key(collection, end), None)


def whole(collection: str) -> Scan:
    start, end = decode.whole_collection(collection_prefix(collection))
    return Scan(DataKey(start), DataKey(end), None)


ASKED = {
    "get": get("orders"),
    "range": scan("orders"),
    "filter": whole("orders"),
    "set": put("orders"),
    "delete": remove("orders"),
    "METRICS": Administer("METRICS"),
    "STATS": Administer("STATS"),
    "CLUSTER_INFO": Administer("CLUSTER_INFO"),
    "unknown verb": Administer("BACKUP"),
    "GetServerInfo": Method("GetServerInfo"),
    "HealthCheck": Method("HealthCheck"),
    "Health": Method("Health"),
    "AddMember": Method("AddMember"),
}


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("admin", set(ASKED)),
        ("user", {"get", "range", "filter", "set", "delete", "GetServerInfo", "HealthCheck"}),
        ("reader", {"get", "range", "filter", "GetServerInfo", "HealthCheck"}),
        ("nonsense", {"HealthCheck"}),
    ],
)
def test_what_the_built_in_roles_may(built_in, caller, role, may):
    grants = built_in.grants(caller(role))

    assert {name for name, asked in ASKED.items() if permitted(grants, asked)} == may


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (put("orders", b"eu/1"), True),
        (remove("orders", b"eu/"), True),
        (put("orders", b"eu"), False),
        (put("orders", b"us/1"), False),
        (get("orders", b"eu"), True),
        (get("orders", b"f"), False),
        (get("prices", b""), True),
        (put("prices"), False),
        (get("price"), False),
        (get("pricess"), False),
        (put("team-a"), True),
        (put("team-"), True),
        (put("team"), False),
        (get("my-team-a"), False),
        (get(""), False),
    ],
)
def test_patterns_and_key_prefixes(access, caller, asked, may):
    assert bool(permitted(access.grants(caller("clerk")), asked)) is may


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (scan("orders", b"e", b"e\xff"), True),
        (scan("orders", b"e", b"f"), True),
        (scan("orders", b"e", b"f\0"), False),
        (scan("orders", b"d\xff", b"e1"), False),
        (scan("orders", b"e", b"v"), False),
        (scan("orders", b"", b"\xff"), False),
        (scan("orders", b"e5", b""), False),
        (scan("orders", b"e9", b"e1"), True),
        (whole("orders"), False),
        (whole("prices"), True),
        (scan("prices", b"", b"\xff" * 300), True),
        (Scan(data_key("prices", b""), DataKey(DATA_KEYS_END), None), False),
        (Scan(DataKey(b""), DataKey(DATA_KEYS_END), None), False),
        (Scan(data_key("prices", b""), data_key("team-a", b"z"), None), False),
        (Scan(DataKey(b""), data_key("prices", b"z"), None), False),
    ],
)
def test_a_range_lies_within_the_grant_or_is_refused_whole(access, caller, asked, may):
    assert bool(permitted(access.grants(caller("clerk")), asked)) is may


def test_prefixes_that_touch_are_one_range():
    rules = [Rule(COLLECTION + "c", Level.READ, (b"b", b"a", b"ab", b"d"))]
    grants = Grants(rules)

    assert permitted(grants, scan("c", b"a", b"c"))
    assert not permitted(grants, scan("c", b"a", b"e"))


def test_a_role_on_one_collection_says_nothing_about_the_server(access, caller):
    for asked in (Administer("METRICS"), Method("Health")):
        assert not permitted(access.grants(caller("clerk")), asked)
        assert permitted(access.grants(caller("chief")), asked)
    assert not permitted(access.grants(caller("chief")), Administer("STATS")), "it names others"


@pytest.mark.parametrize("columns", [True, False], ids=["columns", "one by one"])
def test_of_a_batch_the_first_that_is_refused_counts(access, caller, columns):
    keys = [data_key("orders", b"eu/1"), data_key("team-x", b"1"), data_key("orders", b"us/1")]
    batch = Columns(keys, [b"", None, b""])
    grants = access.grants(caller("clerk"))

    index, permission = all_permitted(grants, batch if columns else list(batch))

    assert (index, bool(permission)) == (2, False)
    assert all_permitted(grants, Columns(keys[:2], [b"", None]))[1]
    assert all_permitted(grants, [])[1]


def test_several_roles_add_up_and_unknown_ones_grant_nothing(access, caller):
    assert permitted(access.grants(caller("watcher", "clerk")), get("prices"))
    assert permitted(access.grants(caller("other-system", "clerk")), get("prices"))
    assert not permitted(access.grants(caller("other-system")), get("prices"))


def test_the_default_role_is_for_callers_whose_credential_names_none(access, caller):
    assert permitted(access.grants(caller()), get("prices"))


def test_strangers_may_nothing_unless_a_role_is_named_for_them(settings):
    roles = {"reader": (Rule("collection:*", Level.READ),)}
    closed = Access(AuthzSection(default_role="reader"), roles)
    opened = Access(settings(default_role="reader", anonymous_role="reader"), roles)

    assert not permitted(closed.grants(ANONYMOUS), get("c"))
    assert permitted(opened.grants(ANONYMOUS), get("c"))
    assert not permitted(opened.grants(ANONYMOUS), put("c"))


def test_allow_by_default_opens_collections_that_no_role_of_the_caller_names(settings, caller):
    rules = {
        "r": (Rule("collection:a", Level.READ), Rule("collection:p", Level.READ, (b"x",))),
    }
    access = Access(settings(default_role="r", default_mode="allow-by-default"), rules)
    grants = access.grants(caller("r"))

    assert permitted(grants, put("b"))
    assert permitted(grants, whole("b"))
    assert not permitted(grants, put("a"))
    assert not permitted(grants, get("p", b"y"))
    assert not permitted(grants, Method("AddMember"))
    assert not permitted(grants, Scan(DataKey(b""), DataKey(DATA_KEYS_END), None))
    assert not permitted(access.grants(caller("unknown")), get("b"))


def test_with_authorization_off_everything_is_permitted(settings, caller):
    access = Access(settings(enabled=False), {"user": ()})

    assert permitted(access.grants(caller("nothing")), Method("AddMember"))
    assert permitted(access.grants(caller("nothing")), whole("c"))


def test_new_roles_count_from_the_next_call_on_and_wrong_ones_change_nothing(access, caller):
    clerk = caller("clerk")
    asked = get("prices")
    assert permitted(access.grants(clerk), asked)

    with pytest.raises(ConfigurationError, match=r"authz.default_role: there is no role 'clerk'"):
        access.replace(AuthzSection(default_role="clerk"), {"other": ()})
    assert permitted(access.grants(clerk), asked)

    access.replace(AuthzSection(default_role="clerk"), {"clerk": ()})
    assert not permitted(access.grants(clerk), asked)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            put("prices"),
            'Write on Collection("prices"): no role of yours grants write on collection:prices',
        ),
        (get("x"), 'to Read on Collection("x"): no role of yours grants read on collection:x'),
        (remove("orders"), 'write on collection:orders only for keys that begin with "eu/"'),
        (scan("orders"), 'read on collection:orders only for keys that begin with "e" or "u"'),
        (Method("AddMember"), "to Admin on Server: no role of yours grants admin on server"),
        (Administer("STATS"), "no role of yours grants read on server"),
    ],
)
def test_a_refusal_says_what_is_missing(access, caller, asked, text):
    clerk = caller("clerk")
    denied = permitted(access.grants(clerk), asked)

    answer = response(access.refusal(clerk, denied))

    assert text in answer.message
    assert answer.message.startswith("Permission denied: User 'ann' with role 'clerk' not ")
    assert (answer.code, answer.category) == (3002, 3)
    assert answer.details == "code=permission_denied"


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_no_refusal_contains_words_for_which_the_published_command_line_invents_success(
    access, caller, asked
):
    fatal = ["unimplemented", "not implemented", "connection", "transport", "empty response"]
    fatal += ["unavailable", "refused", "timed out", "timeout"]
    unknown = caller("nonsense")
    denied = permitted(access.grants(unknown), asked)

    if not denied:
        text = str(access.refusal(unknown, denied)).lower()
        assert "no role 'nonsense'" in text
        assert not [word for word in fatal if word in text]


def test_a_denial_is_short_and_holds_no_key_and_no_value():
    asked = Put(data_key("n\n" * 30_000, b"key"), b"value")

    action, resource = named(asked)

    assert action == "Write"
    assert len(resource) < 400
    assert "\n" not in resource
    denied = permitted(Grants([]), asked)
    assert len(denied.missing) < 400
    assert "key" not in resource


def test_a_caller_that_tries_many_collections_costs_no_memory():
    grants = Grants([Rule("collection:*", Level.READ, (b"x",))])
    for number in range(10_000):
        permitted(grants, get(f"c{number}"))
        permitted(grants, get(f"{number}" * 100))

    assert len(grants._known[Level.READ]) <= 4096
    assert all(len(head) <= 256 for head in grants._known[Level.READ])


@pytest.mark.parametrize(
    ("pattern", "name", "same"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("a*b", "ab", True),
        ("a*b", "aXb", True),
        ("a*a", "a", False),
        ("*-eu-*", "x-eu-y", True),
        ("*-eu-*", "x-eu", False),
        ("a*b*c", "a1b2b3c", True),
        ("a*bc*c", "abc", False),
        ("a.c", "abc", False),
    ],
)
def test_a_star_is_any_run_of_characters_and_nothing_else_is_special(pattern, name, same):
    assert matches(pattern, name) is same


def test_a_pattern_takes_linear_time():
    assert not matches("*a" * 20 + "*b", "a" * 60_000)


@pytest.mark.parametrize("prefix", [b"\0\0", b"\0\x01a", b"\0\x01a\xff\xff", b"\0\x01a\0"])
def test_the_end_of_a_prefix_is_the_first_key_behind_it(prefix):
    end = after(prefix)

    assert prefix + b"\xff" * 9 < end
    assert not end.startswith(prefix)


def test_every_method_has_a_level_and_only_three_are_open_to_anybody():
    services = [admin_pb2.DESCRIPTOR, aql_pb2.DESCRIPTOR]
    methods = {
        method
        for file in services
        for service in file.services_by_name.values()
        for method in service.methods_by_name
    }

    assert {name for name, level in METHODS.items() if level is PUBLIC} == {
        "HealthCheck",
        "Check",
        "Watch",
    }
    assert set(METHODS) - {"Check", "Watch"} <= methods


READING = {"Health", "ListShards", "ListSnapshots"}
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


@pytest.mark.parametrize("name", sorted(ADMIN))
def test_every_admin_method_for_every_role(access, built_in, caller, name):
    rooms = {built_in: ("admin", "user", "reader"), access: ("watcher", "clerk", "chief")}
    may = {
        role
        for room, roles in rooms.items()
        for role in roles
        if permitted(room.grants(caller(role)), Method(name))
    }

    assert may == ({"admin", "watcher", "chief"} if name in READING else {"admin"})


def test_a_denial_of_an_anonymous_call_names_the_missing_credential(access):
    denied = permitted(access.grants(ANONYMOUS), get("c"))

    text = str(access.refusal(ANONYMOUS, denied))

    assert text.startswith("User 'anonymous' with role 'none' not authorized to Read on ")
    assert text.endswith("; the call came without a credential")


def test_a_caller_with_an_endless_name_gets_a_short_text(access):
    stranger = Principal(name="n" * 9000, kind=PrincipalKind.JWT, roles=("r" * 9000,) * 50)
    denied = permitted(access.grants(stranger), get("c"))

    assert len(str(access.refusal(stranger, denied))) < 700


def test_a_role_with_a_comma_does_not_look_like_two(access, caller):
    claimed = caller("reader,admin", 'a"b', "clerk")

    assert access.role_text(claimed) == '"reader,admin","a\\"b",clerk'
    denied = permitted(access.grants(claimed), put("other"))
    assert 'with role \'"reader,admin",' in str(access.refusal(claimed, denied))


def test_roles_that_are_none_here_share_what_the_others_grant(access, caller):
    """Else 1,000 users with 60 groups each would have 1,000 sets of grants."""
    one = access.grants(caller("clerk", "group 1", "group 2"))

    assert access.grants(caller("group 3", "clerk")) is one
    assert access.grants(caller("group 3")) is access.grants(caller("group 4", "group 5"))
    assert access.grants(caller("chief", "clerk")) is not one


def test_what_is_remembered_of_roles_and_collections_is_bounded(access, caller, monkeypatch):
    monkeypatch.setattr("amaters_server.access.access.MOST_REMEMBERED", 10)
    monkeypatch.setattr("amaters_server.access.grants.MOST_COLLECTIONS", 10)
    for number in range(100):
        grants = access.grants(caller("clerk", f"group {number}"))
        assert not permitted(grants, get(f"made up {number}"))
        assert len(access._compiled) <= 11
        assert all(len(known) <= 10 for known in grants._known)
    assert len(grants._known[Level.READ]) == 10


def test_a_part_of_a_pattern_may_be_at_the_beginning():
    assert matches("*a*", "abc")
    assert matches("a*b*", "ab")
    assert not matches("a*b*", "a")


def test_what_goes_on_is_asked_again_and_only_a_denial_is_recorded(access, caller):
    gate = Gate(access, None, "all")

    gate.require(caller("clerk"), get("prices"))
    with pytest.raises(PermissionDeniedError):
        gate.require(caller("clerk"), get("other"))

    assert gate.denied == 1


def test_an_anonymous_caller_has_no_role_by_any_claim(access, caller):
    anonymous = caller("admin", kind=PrincipalKind.ANONYMOUS)

    assert access.roles(anonymous) == ()
    assert not permitted(access.grants(anonymous), get("prices"))


def test_a_text_is_shortened_only_if_it_is_too_long():
    assert shortened("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert shortened("x" * (LONGEST_TEXT + 1)) == "x" * LONGEST_TEXT + "…"


def test_long_names_of_collections_are_not_remembered(access, caller):
    grants = access.grants(caller("clerk"))
    for number in range(20):
        assert not permitted(grants, get(f"{number}" + "x" * 60_000))

    assert sum(len(head) for known in grants._known for head in known) < 1000


def test_a_level_on_all_collections_is_enough_for_each(access):
    reader = Grants([Rule(f"{COLLECTION}*", Level.READ)])

    assert reader.key(Level.READ, get("a").key)
    assert not reader.key(Level.WRITE, put("a").key)
    assert reader.keys(Level.READ, [get("a").key]) is None
    assert reader.keys(Level.WRITE, [put("a").key]) == put("a").key
