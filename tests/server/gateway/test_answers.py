"""How errors, origins and types become HTTP, and that the description says the same."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from amaters.wire.errors_pb2 import ErrorCategory, ErrorCode, ErrorResponse
from amaters_server.gateway import failures
from amaters_server.gateway.answers import BYTES, JSON, LINES, Outgoing, preferred
from amaters_server.gateway.bodies import Room
from amaters_server.gateway.cors import CorsPolicy
from amaters_server.gateway.endpoints import Endpoints
from amaters_server.gateway.failures import BY_CODE, CallFailedError, NoRoomError, refusal
from amaters_server.gateway.openapi.document import ENDPOINTS, document
from amaters_server.gateway.targets import KEY_PATH
from amaters_server.model.errors import DatabaseError, OverloadedError, StorageFullError
from openapi_spec_validator import OpenAPIV31SpecValidator

NOT_OF_CALLS = {"membership", "snapshot", "configuration"}
"""Codes of administrators, who have no endpoint here."""


def kinds(root: type[DatabaseError] = DatabaseError) -> Iterator[type[DatabaseError]]:
    yield root
    for one in root.__subclasses__():
        yield from kinds(one)


def test_every_error_has_a_status_and_a_next_step():
    codes = {one.code for one in kinds() if one.__module__.startswith("amaters_server")}

    assert codes - set(BY_CODE) - NOT_OF_CALLS == set()
    assert all(one.next and 400 <= one.status < 600 for one in BY_CODE.values())


def test_an_overloaded_answer_says_when_to_come_back():
    found = refusal(OverloadedError(waiting=3, limit=2), "7")

    assert (found.status, found.headers) == (503, {"Retry-After": "1"})
    assert found.body["error"]["category"] == "retryable"
    assert found.body["error"]["request_id"] == "7"


def test_an_error_of_a_later_version_is_answered_by_its_category():
    answer = ErrorResponse(
        code=ErrorCode.ERROR_SERVER_UNAVAILABLE,
        category=ErrorCategory.CATEGORY_RETRYABLE,
        details="code=new_in_2030",
        message="later",
    )

    found = refusal(CallFailedError(answer), "7")

    assert found.status == 503
    assert found.body["error"]["code"] == "new_in_2030"


def test_a_full_disk_and_a_defect_have_their_own_status():
    assert refusal(StorageFullError("full"), "").status == 507
    assert refusal(DatabaseError("x"), "").status == 500


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", BYTES),
        ("*/*", BYTES),
        ("application/json", JSON),
        ("text/html, application/json;q=0.9, */*;q=0.1", JSON),
        ("application/*", BYTES),
        ("application/json;q=0, */*", BYTES),
        ("application/octet-stream;q=0.2, application/json;q=x", BYTES),
        ("text/html", None),
    ],
)
def test_the_preferred_type_is_given(accept, chosen):
    assert preferred(accept, (BYTES, JSON)) == chosen
    assert preferred("application/x-ndjson", (JSON, LINES)) == LINES


LISTED = CorsPolicy(("https://a.example",), "x-key")


def test_a_listed_origin_may_read_and_send_credentials():
    found = LISTED.answer("https://a.example")

    assert found["Access-Control-Allow-Origin"] == "https://a.example"
    assert found["Access-Control-Allow-Credentials"] == "true"
    assert found["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://b.example", "https://a.example.evil", "null", None])
def test_no_other_origin_may(origin):
    assert LISTED.answer(origin) == {"Vary": "Origin"}


def test_every_origin_is_never_one_with_credentials():
    found = CorsPolicy(("*",)).answer("https://any.example")

    assert found["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in found


def test_a_preflight_names_methods_and_headers():
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}

    found = LISTED.preflight(asked, ("GET", "PUT"))

    assert found["Access-Control-Allow-Methods"] == "GET, PUT"
    assert {"authorization", "x-key"} <= set(found["Access-Control-Allow-Headers"].split(", "))
    assert CorsPolicy().preflight(asked, ("GET",)) == {"Allow": "GET"}


def test_the_document_is_valid_openapi():
    OpenAPIV31SpecValidator(document()).validate()


def test_a_document_that_is_not_valid_would_be_found():
    broken = copy.deepcopy(document())
    broken["paths"][KEY_PATH]["get"]["parameters"] = []

    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_every_endpoint_has_a_handler_and_every_handler_an_endpoint():
    made = Endpoints(None, None, None, message_bytes=1, unix_seconds=None)

    assert set(made.handlers) == {one.name for one in ENDPOINTS}


def test_every_code_is_in_the_page():
    page = (Path(__file__).resolve().parents[3] / "docs" / "gateway.md").read_text()
    table = page.partition("## Errors")[2].partition("## Security")[0]

    assert [code for code in BY_CODE if f"`{code}`" not in table] == []
    for line in table.splitlines():
        for code in (code for code in BY_CODE if f"`{code}`" in line):
            assert str(BY_CODE[code].status) in line, code


async def test_large_bodies_wait_for_room_in_their_order():
    room = Room(200_000)
    async with room.reserve(150_000, 1):
        async with room.reserve(1000, 1):
            pass  # Small ones take none.
        with pytest.raises(NoRoomError, match="200000 bytes"):
            async with room.reserve(100_000, 0.01):
                pass
    async with room.reserve(200_000, 1):
        assert room.taken == 200_000
    assert room.taken == 0


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Response:
    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.held: list[int] = []

    async def write(self, part: bytes) -> None:
        self.held.append(self.outgoing.held())


async def test_answers_count_until_they_are_taken():
    outgoing, freed = Outgoing(10), []
    outgoing.freed = lambda: freed.append(outgoing.held())

    with outgoing.writing(Transport(), "a:1") as writing:
        response = Response(outgoing)
        await outgoing.send(response, bytes(150_000), writing)

    assert response.held == [150_000, 150_000 - 65_536, 150_000 - 2 * 65_536]
    assert outgoing.held() == 0
    assert freed[-1] == 0
    assert not outgoing.wake_below(0)
    assert outgoing.wake_below(1)


async def test_the_largest_of_the_slow_are_ended_first():
    outgoing, (one, other) = Outgoing(10), (Transport(), Transport())
    with outgoing.writing(one, "a:1") as first, outgoing.writing(other, "b:1") as second:
        outgoing._count(first, 1000)
        outgoing._count(second, 100)

        assert outgoing.cut_slow(0, 12) == []  # The first look only notes.
        assert outgoing.cut_slow(500, 12) == [("a:1", 1000)]

    assert (one.aborted, other.aborted) == (True, False)


def test_statuses_of_grpc_become_errors():
    failed = failures.failed((1, 7, "no", [("amaters-code", "permission_denied")]))

    assert refusal(failed, "").status == 403
    assert json.dumps(refusal(failed, "").body)
