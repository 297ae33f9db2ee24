import json
from pathlib import Path

import pytest
from amaters_server.access.roles import BUILT_IN, Level, Rule, load, parsed
from amaters_server.model.errors import ConfigurationError

TOML = """
[[roles]]
name = "reader"
description = "looks"
[[roles.permissions]]
resource = "collection:*"
actions = ["read"]

[[roles]]
name = "orders"
inherits = ["reader"]
[[roles.permissions]]
resource = "collection:orders"
actions = ["read", "write"]
key_prefixes = ["eu/"]
key_prefixes_hex = ["00ff"]
"""


def refused(document: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parsed(document)
    return str(caught.value)


def test_without_a_file_the_built_in_roles_hold():
    assert load(None) is BUILT_IN
    assert set(BUILT_IN) == {"admin", "user", "reader"}


def test_a_file_replaces_the_built_in_roles_and_roles_inherit(tmp_path: Path):
    (tmp_path / "roles.toml").write_text(TOML)

    roles = load(tmp_path / "roles.toml")

    assert set(roles) == {"reader", "orders"}
    assert roles["orders"] == (
        Rule("collection:orders", Level.WRITE, (b"eu/", b"\x00\xff")),
        Rule("collection:*", Level.READ),
    )


def test_json_is_known_by_its_suffix(tmp_path: Path):
    document = {"roles": [{"name": "a", "permissions": [{"resource": "*", "actions": ["admin"]}]}]}
    (tmp_path / "roles.json").write_text(json.dumps(document))

    assert load(tmp_path / "roles.json") == {"a": (Rule("*", Level.ADMIN),)}


@pytest.mark.parametrize(
    ("inherits", "circle"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "b -> c -> b"),
        ({"a": [], "b": ["a", "c"], "c": ["a", "b"]}, "b -> c -> b"),
    ],
)
def test_a_circle_of_inheritance_is_named(inherits, circle):
    text = refused({"roles": [{"name": one, "inherits": of} for one, of in inherits.items()]})

    assert f"the roles inherit in a circle: {circle}:" in text


def test_inheritance_without_a_circle_may_be_shared_and_ten_thousand_deep():
    shared = {"roles": [{"name": "d"}, *({"name": n, "inherits": ["d"]} for n in "bc")]}
    shared["roles"].append({"name": "a", "inherits": ["b", "c"]})
    deep = [{"name": str(n), "inherits": [str(n + 1)]} for n in range(10_000)]

    assert parsed(shared)["a"] == ()
    assert "circle: 9999 -> 9999:" in refused(
        {"roles": [*deep[:-1], {"name": "9999", "inherits": ["9999"]}]}
    )


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        ({"resource": "collection:a", "actions": ["read"], "key_prefix": ["x"]}, "not known"),
        ({"resource": "colection:a", "actions": ["read"]}, "a resource is one of"),
        ({"resource": "collection:a", "actions": []}, "actions are some of read, write, admin"),
        ({"resource": "collection:a", "actions": ["own"]}, "actions are some of"),
        ({"resource": "collection:a", "actions": "read"}, "actions is a list of texts"),
        ({"resource": "server", "actions": ["write"]}, "server takes read or admin"),
        ({"resource": "*", "actions": ["read"], "key_prefixes": ["x"]}, "name one"),
        ({"resource": "collection:a", "actions": ["read"], "key_prefixes": []}, "restricts noth"),
        ({"resource": "collection:a", "actions": ["read"], "key_prefixes": ["a", ""]}, "restricts"),
        ({"resource": "collection:a", "actions": ["read"], "key_prefixes_hex": ["xy"]}, "hexadec"),
    ],
)
def test_what_could_grant_more_than_was_meant_is_refused(one_role, permission, words):
    text = refused(one_role(**permission))

    assert words in text
    assert text.startswith("roles.r.permissions.0.")


@pytest.mark.parametrize("document", [{}, [], None, {"roles": []}, {"roles": {"a": 1}}])
def test_a_document_without_roles_is_refused(document):
    assert "a list named roles" in refused(document)


def test_every_fault_is_named_at_once():
    text = refused({"roles": [{"name": "a", "inherits": ["x"]}, {"name": "a"}, {}, 7], "rolls": 1})

    assert "inherits from 'x', which is no role of this file" in text
    assert "two roles have this name" in text
    assert text.count("a role is a table with a name") == 2
    assert "rolls: this key is not known here" in text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.json", b"[" * 100_000, "nested too deep"),
        ("r.json", b'{"roles": 1' + b"0" * 5000 + b"}", "is not JSON"),
        ("r.json", b"\xff\xfe\xfa", "is not JSON"),
        ("r.toml", b"roles = " + b"[" * 5000, "nested"),
        ("r.toml", b"roles == 1", "is not TOML"),
    ],
)
def test_a_hostile_file_is_one_clear_line(tmp_path: Path, name, content, words):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigurationError, match=words) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_not_there_is_named_with_its_key(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"authz\.roles_file .* does not exist"):
        load(tmp_path / "none.toml")


def test_a_json_file_with_a_name_twice_is_refused(tmp_path):
    """A reader that takes the first, such as a reviewer, would see a smaller grant."""
    path = tmp_path / "roles.json"
    path.write_text(
        '{"roles": [{"name": "r", "permissions": '
        '[{"resource": "collection:a", "actions": ["read"], "resource": "*"}]}]}'
    )

    with pytest.raises(ConfigurationError, match="has the name 'resource' twice"):
        load(path)


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[2J", "\u202e", 7])
def test_a_role_has_a_name_that_can_be_printed(name):
    with pytest.raises(ConfigurationError, match="a name that can be printed"):
        parsed({"roles": [{"name": name, "permissions": []}]})


@pytest.mark.parametrize("key", ["inherit", "permission", "Name"])
def test_a_misspelt_key_of_a_role_is_refused(key):
    with pytest.raises(ConfigurationError, match=f"roles.r.{key}: this key is not known"):
        parsed({"roles": [{"name": "r", "permissions": [], key: []}]})
