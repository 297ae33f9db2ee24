"""The endpoints as a table, and the OpenAPI document that is made from it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from amaters_server.gateway.answers import BYTES, JSON, LINES
from amaters_server.gateway.failures import BY_CODE
from amaters_server.gateway.openapi import schemas
from amaters_server.gateway.openapi.schemas import Json
from amaters_server.gateway.targets import KEY_PATH, RANGE_PATH

TEXT = "text/plain"
API_VERSION = "1.0.0"
"""Of the endpoints, whatever the version of the server."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    name: str
    """Its operationId, which the gateway's handlers are found by."""
    summary: str
    parameters: tuple[str, ...] = ()
    takes: Mapping[str, str] | None = None
    """Type of the body to its schema."""
    gives: Mapping[str, str] | None = None
    """The same of the answer; None: it has no content."""
    open: bool = False
    """Whether it asks for no credentials."""


KEY = ("collection", "key")
HEADERS = ("timeout", "request_id")
READS = ("read", *HEADERS)
WRITES = ("idempotency", *HEADERS)
BOUNDS = ("collection", "start", "end", "prefix", "limit", *READS)
RAW = {BYTES: "Bytes", TEXT: "Bytes"}
ROWS = {JSON: "Rows", LINES: "Line"}

ENDPOINTS: Final[Sequence[Endpoint]] = (
    Endpoint(
        "GET",
        KEY_PATH,
        "getKey",
        "Read the value of a key: its bytes, or JSON.",
        (*KEY, *READS),
        None,
        {BYTES: "Bytes", JSON: "Entry"},
    ),
    Endpoint("HEAD", KEY_PATH, "headKey", "Ask whether a key is there.", (*KEY, *READS)),
    Endpoint(
        "PUT",
        KEY_PATH,
        "putKey",
        "Write a value: the body's bytes, or JSON.",
        (*KEY, *WRITES),
        {**RAW, JSON: "Written"},
    ),
    Endpoint("DELETE", KEY_PATH, "deleteKey", "Remove a key, if it is there.", (*KEY, *WRITES)),
    Endpoint(
        "GET",
        RANGE_PATH,
        "getRange",
        "Read the rows of a range or a prefix, in key order.",
        BOUNDS,
        None,
        ROWS,
    ),
    Endpoint(
        "POST",
        RANGE_PATH + "/range",
        "postRange",
        "The same; the bounds are in the query too.",
        BOUNDS,
        None,
        ROWS,
    ),
    Endpoint(
        "POST",
        RANGE_PATH + "/filter",
        "postFilter",
        "Read the rows that a predicate selects.",
        ("collection", *READS),
        {JSON: "Filter"},
        {JSON: "Rows"},
    ),
    Endpoint(
        "POST",
        "/api/v1/query",
        "postQuery",
        "Carry out one query.",
        (*READS, "idempotency"),
        {JSON: "Query"},
        {JSON: "Result"},
    ),
    Endpoint(
        "POST",
        "/api/v1/batch",
        "postBatch",
        "Carry out queries together: all of them take effect, or none.",
        (*READS, "idempotency"),
        {JSON: "Batch"},
        {JSON: "Results"},
    ),
    Endpoint(
        "GET",
        "/api/v1/info",
        "getInfo",
        "Read the versions and capabilities of the server.",
        HEADERS,
        None,
        {JSON: "Info"},
    ),
    Endpoint(
        "GET",
        "/health",
        "getHealth",
        "Ask whether the node serves.",
        (),
        None,
        {JSON: "Health"},
        open=True,
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        "getOpenApi",
        "This document.",
        (),
        None,
        {JSON: "Document"},
        open=True,
    ),
)


def document(api_key_header: str = "x-api-key") -> Json:
    """Return the OpenAPI document."""
    paths: dict[str, Json] = {}
    for one in ENDPOINTS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AmateRS REST gateway",
            "version": API_VERSION,
            "summary": "The database over HTTP and JSON.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.SCHEMAS,
            "parameters": schemas.PARAMETERS,
            "responses": {"Error": _error()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": api_key_header},
                "certificate": {"type": "mutualTLS"},
            },
        },
        "security": [{"token": []}, {"apiKey": []}, {"certificate": []}, {}],
    }


def _operation(one: Endpoint) -> Json:
    found: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in one.parameters],
        "responses": dict(_responses(one)),
    }
    if one.takes is not None:
        found["requestBody"] = {"required": True, "content": _content(one.takes)}
    if one.open:
        found["security"] = []
    return found


def _responses(one: Endpoint) -> Iterator[tuple[str, Json]]:
    if one.gives is not None:
        yield "200", {"description": "Done.", "content": _content(one.gives)}
    elif one.method == "HEAD":
        yield "200", {"description": "The key is there."}
    else:
        yield "204", {"description": "Done."}
    if one.name == "getHealth":
        yield "503", {"description": "It does not serve now.", "content": _content(one.gives or {})}
    yield "default", {"$ref": "#/components/responses/Error"}


def _content(types: Mapping[str, str]) -> Json:
    return {
        name: {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        for name, schema in types.items()
    }


def _error() -> Json:
    statuses: dict[int, list[str]] = {}
    for code, http in BY_CODE.items():
        statuses.setdefault(http.status, []).append(code)
    listed = "; ".join(
        f"{number}: {', '.join(codes)}" for number, codes in sorted(statuses.items())
    )
    return {
        "description": f"The request failed. Codes by status: {listed}.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
        "content": _content({JSON: "Error"}),
    }
