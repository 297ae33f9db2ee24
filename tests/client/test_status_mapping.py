"""Failures on the wire to this client's errors: the tables are complete and mean what they say."""

import importlib
import inspect
import pkgutil
from datetime import timedelta

import grpc
import pytest
from amaters import errors
from amaters.errors import AmatersError
from amaters.transport import status
from amaters.wire.errors_pb2 import ErrorCode, ErrorResponse
from amaters_server import model
from amaters_server.model import errors as server_errors
from amaters_server.rpc.transport import status as server_status
from hypothesis import given
from hypothesis import strategies as st


def all_subclasses(root: type) -> set[type]:
    return {root}.union(*(all_subclasses(one) for one in root.__subclasses__()))


def errors_of_the_model() -> set[type]:
    """Return what gRPC callers may get: all of the model's modules, and nothing of other ports'."""
    for module in pkgutil.iter_modules(model.__path__, "amaters_server.model."):
        importlib.import_module(module.name)
    found = all_subclasses(server_errors.DatabaseError)
    return {one for one in found if one.__module__.startswith("amaters_server.model.")}


def test_every_code_a_server_has_is_known_to_the_client() -> None:
    codes = {one.code for one in errors_of_the_model()}

    assert codes - status.BY_SERVER_CODE.keys() == set()


def test_client_and_server_call_the_trailers_the_same() -> None:
    assert status.CODE_TRAILER == server_status.CODE_TRAILER
    assert status.LEADER_TRAILER == server_status.LEADER_TRAILER
    assert status.RETRY_TRAILER == server_status.RETRY_TRAILER


def test_an_error_of_the_server_arrives_as_it_left() -> None:
    left = server_errors.NotLeaderError(node=2, leader=1, leader_address="one:7878")

    arrived = status.from_response(server_status.response(left), address="two:7878")

    assert isinstance(arrived, errors.NotLeaderError)
    assert arrived.leader_address == "one:7878"


def test_what_a_server_calls_retryable_is_retryable_here_except_an_unknown_outcome() -> None:
    for kind in errors_of_the_model():
        here = status.BY_SERVER_CODE[kind.code]
        if here is not errors.OutcomeUnknownError:
            assert here.retryable == kind.retryable, kind


def test_every_grpc_status_but_ok_has_an_error() -> None:
    assert set(grpc.StatusCode) - status.BY_GRPC_STATUS.keys() == {grpc.StatusCode.OK}


def test_every_error_has_a_code_of_its_own_and_stands_in_the_picture() -> None:
    kinds = {
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, AmatersError)
    }

    assert len({one.code for one in kinds}) == len(kinds)
    for one in kinds:
        assert one.__name__ in (errors.__doc__ or "")


@given(st.sampled_from(ErrorCode.values()), st.text(max_size=50), st.text(max_size=50))
def test_every_in_band_failure_becomes_an_error_with_a_message(
    code: ErrorCode.ValueType, message: str, details: str
) -> None:
    found = status.from_response(
        ErrorResponse(code=code, message=message, details=details), address="a:1"
    )

    assert isinstance(found, AmatersError)
    assert str(found).startswith("a:1: ")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1001, errors.UnavailableError),
        (2003, errors.InvalidRequestError),
        (3000, errors.UnauthenticatedError),
        (4000, errors.NotFoundError),
        (4003, errors.StorageFullError),
        (4004, errors.ServerFaultError),
        (5001, errors.ServerFaultError),
        (6002, errors.InvalidRequestError),
        (7001, errors.UnavailableError),
        (7003, errors.UnavailableError),
        (0, errors.ServerFaultError),
        (9999, errors.ServerFaultError),
    ],
)
def test_published_codes_mean_what_they_are_called(code: int, kind: type[AmatersError]) -> None:
    found = status.from_response(
        ErrorResponse(code=code, message="m"),  # type: ignore[arg-type]
        address="a:1",
    )

    assert type(found) is kind


def test_the_servers_own_code_in_the_details_counts_more_than_the_published_one() -> None:
    found = status.from_response(
        ErrorResponse(code=7001, message="m", details="code=not_leader leader=b:7878"),  # type: ignore[arg-type]
        address="a:1",
    )

    assert isinstance(found, errors.NotLeaderError)
    assert (found.leader_address, found.server_code) == ("b:7878", "not_leader")


def test_an_overloaded_server_says_when_to_come_back() -> None:
    found = status.from_response(
        ErrorResponse(code=7002, message="m", retry_after=3),  # type: ignore[arg-type]
        address="a:1",
    )

    assert isinstance(found, errors.OverloadedError)
    assert found.retry_after == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (
            (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to "
                "connect to remote host: connect: Connection refused (111)"
            ),
            "connect: Connection refused (111)",
        ),
        ("UNAVAILABLE: going away", "going away"),
        (
            (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls "
                "handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL "
                "routines:OPENSSL_internal:WRONG_VERSION_NUMBER: more words: OK"
            ),
            "TLS handshake failed: WRONG_VERSION_NUMBER",
        ),
        ("INTERNAL: ipv4:127.0.0.1:1: Failed parsing HTTP/2", "Failed parsing HTTP/2"),
        (None, "no reason given"),
    ],
)
def test_of_grpcs_account_only_the_reason_is_left(details: str | None, reason: str) -> None:
    assert status.plain_reason(details) == reason


@pytest.mark.parametrize(
    ("trailer", "seconds"), [("1500", 1.5), ("", None), ("-5", None), ("9" * 40, None)]
)
def test_a_stream_that_is_refused_as_overload_names_the_time_to_wait(trailer, seconds):
    trailers = grpc.aio.Metadata(
        (status.CODE_TRAILER, "rate_limited"), (status.RETRY_TRAILER, trailer)
    )
    failed = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailers, details="too many"
    )

    error = status.from_rpc(failed, address="a:1")

    assert isinstance(error, errors.OverloadedError)
    assert (error.retry_after and error.retry_after.total_seconds()) == seconds


def test_a_full_disk_has_the_code_that_its_page_names() -> None:
    answer = ErrorResponse(message="the disk is full", details="code=storage_full")

    found = status.from_response(answer, address="a:1")

    assert isinstance(found, errors.ServerFaultError)
    assert found.code == "storage_full"
    assert not found.retryable
