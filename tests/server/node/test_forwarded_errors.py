"""Errors of calls that a member passes on: each arrives as what it is, with its facts."""

import importlib
import inspect
import pkgutil

import pytest
from amaters_server import model
from amaters_server.model import errors
from amaters_server.model.errors import DatabaseError
from amaters_server.node.membership import forwarding
from amaters_server.wire import peer_pb2

KINDS = [
    kind
    for found in pkgutil.iter_modules(model.__path__, "amaters_server.model.")
    for _, kind in inspect.getmembers(importlib.import_module(found.name), inspect.isclass)
    if issubclass(kind, DatabaseError) and kind.__module__ == found.name
]
VALUES = {"str": "some text", "int": 7, "float": 7.0}


def made(kind: type[DatabaseError]) -> DatabaseError:
    """Return one error of the kind, with a value for every argument."""
    signature = inspect.signature(kind.__init__)
    required = [
        one
        for one in list(signature.parameters.values())[1:]
        if one.default is one.empty or one.name == "text"
    ]
    given = {
        one.name: VALUES[str(getattr(one.annotation, "__name__", one.annotation))]
        for one in required
    }
    return kind(**given)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_arrives_as_it_was_raised(kind):
    sent = made(kind)

    received = forwarding.error_of(
        peer_pb2.Refusal.FromString(forwarding.refused(sent).refusal.SerializeToString())
    )

    assert type(received) is kind
    assert str(received) == str(sent)
    assert vars(received) == vars(sent)


def test_an_error_of_one_module_travels_as_the_nearest_that_all_members_know():
    class OwnError(errors.StorageFullError):
        code = "own"

    received = forwarding.error_of(forwarding.refused(OwnError("no room")).refusal)

    assert (type(received), str(received)) == (errors.StorageFullError, "no room")


def test_an_error_of_a_later_version_is_the_nearest_that_this_one_knows():
    refusal = forwarding.refused(errors.StorageFullError("no room")).refusal
    refusal.error = "of_tomorrow"

    received = forwarding.error_of(refusal)

    assert (type(received), str(received)) == (errors.StorageFullError, "no room")


def test_an_error_whose_facts_are_missing_is_read_without_them():
    refusal = forwarding.refused(errors.NoLeaderError(node=3)).refusal
    refusal.numbers.clear()

    assert str(forwarding.error_of(refusal)) == str(errors.NoLeaderError(node=3))
