"""Schemas and parameters of the OpenAPI document. Data."""

from collections.abc import Mapping
from typing import Final

from amaters_server.gateway.requests import COMPARISONS, DEEPEST
from amaters_server.gateway.targets import HIGHEST

Json = dict[str, object]


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Json], *required: str) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(name: str) -> Json:
    return {"type": "array", "items": _ref(name)}


def _query(op: str, properties: Mapping[str, Json], *required: str) -> Json:
    named: dict[str, Json] = {"op": {"const": op}, "collection": TEXT, **properties}
    return _object(named, "op", "collection", *required)


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0, "maximum": HIGHEST}
LIMITS: dict[str, Json] = {"limit": COUNT}
COMPARED = _object({"column": TEXT, "value": _ref("Input")}, "value")
SELECTION: dict[str, Json] = {"predicate": _ref("Predicate"), "limit": COUNT, "offset": COUNT}

SCHEMAS: Final[Json] = {
    "Bytes": {"type": "string", "contentEncoding": "binary"},
    "Input": {
        "description": "Bytes; of a text, its UTF-8.",
        "oneOf": [
            TEXT,
            _object({"base64": {"type": "string", "contentEncoding": "base64"}}, "base64"),
            _object({"text": TEXT}, "text"),
        ],
    },
    "Output": _object(
        {
            "base64": {"type": "string", "contentEncoding": "base64"},
            "text": {"type": "string", "description": "Where the bytes are UTF-8."},
        },
        "base64",
    ),
    "Value": _object(
        {
            "base64": {"type": "string", "contentEncoding": "base64"},
            "text": {"type": "string", "description": "Where the bytes are UTF-8."},
            "created_at": {"type": "integer", "description": "Unix seconds, where known."},
            "compression": {"type": "string", "description": "A label of the writer's."},
        },
        "base64",
    ),
    "Entry": _object({"key": _ref("Output"), "value": _ref("Value")}, "key", "value"),
    "Written": _object({"value": _ref("Input")}, "value"),
    "Rows": _object({"rows": _list("Entry")}, "rows"),
    "Line": {
        "description": "One line of a stream: a row, the end, or what broke it off.",
        "oneOf": [
            _ref("Entry"),
            _object(
                {"end": _object({"rows": COUNT, "read_age_ms": COUNT}, "rows")},
                "end",
            ),
            _ref("Error"),
        ],
    },
    "Predicate": {
        "description": f"At most {DEEPEST} levels deep.",
        "oneOf": [
            *(_object({name: COMPARED}, name) for name in COMPARISONS),
            *(
                _object(
                    {name: {**_list("Predicate"), "minItems": 1, "maxItems": DEEPEST}},
                    name,
                )
                for name in ("and", "or")
            ),
            _object({"not": _ref("Predicate")}, "not"),
        ],
    },
    "Update": {
        "oneOf": [_object({name: COMPARED}, name) for name in ("set", "add", "mul")],
    },
    "Filter": _object(SELECTION, "predicate"),
    "Query": {
        "oneOf": [
            _query("get", {"key": _ref("Input")}, "key"),
            _query("set", {"key": _ref("Input"), "value": _ref("Input")}, "key", "value"),
            _query("delete", {"key": _ref("Input")}, "key"),
            _query(
                "range",
                {"start": _ref("Input"), "end": _ref("Input"), "prefix": _ref("Input"), **LIMITS},
            ),
            _query("filter", SELECTION, "predicate"),
            _query(
                "update",
                {"predicate": _ref("Predicate"), "updates": _list("Update")},
                "predicate",
                "updates",
            ),
        ],
    },
    "Result": {
        "oneOf": [
            _object({"value": {"oneOf": [_ref("Value"), {"type": "null"}]}}, "value"),
            _ref("Rows"),
            _object({"affected_rows": {"type": "integer"}}, "affected_rows"),
        ],
    },
    "Batch": _object({"queries": _list("Query")}, "queries"),
    "Results": _object({"results": _list("Result")}, "results"),
    "Info": _object(
        {
            "version": {"type": "string", "description": "Of the protocol."},
            "supported_versions": {"type": "array", "items": TEXT},
            "capabilities": {"type": "array", "items": TEXT},
            "uptime_seconds": {"type": "integer"},
        },
        "version",
        "supported_versions",
        "capabilities",
        "uptime_seconds",
    ),
    "Health": _object({"status": {"enum": ["healthy", "unhealthy"]}, "reason": TEXT}, "status"),
    "Document": {"type": "object"},
    "Error": _object(
        {
            "error": _object(
                {
                    "code": {"type": "string", "description": "Stable; for programs."},
                    "number": {"type": "integer", "description": "The published ErrorCode."},
                    "category": TEXT,
                    "message": {"type": "string", "description": "For people."},
                    "next": {"type": "string", "description": "What to do next."},
                    "request_id": TEXT,
                    "retry_after_seconds": {"type": "integer"},
                    "leader": {"type": "string", "description": "Its address for gRPC clients."},
                },
                "code",
                "number",
                "category",
                "message",
                "next",
                "request_id",
            )
        },
        "error",
    ),
}


def _parameter(place: str, name: str, text: str, schema: Json = TEXT) -> Json:
    found: Json = {"name": name, "in": place, "description": text, "schema": schema}
    return {**found, "required": True} if place == "path" else found


PARAMETERS: Final[Json] = {
    "collection": _parameter("path", "collection", "The collection; UTF-8, percent-encoded."),
    "key": _parameter(
        "path",
        "key",
        "The rest of the path. Percent-encode every byte that is no letter or digit; a slash may "
        "be as it is.",
    ),
    "start": _parameter("query", "start", "The first key; without it, the first of all."),
    "end": _parameter("query", "end", "The key before which the range ends."),
    "prefix": _parameter("query", "prefix", "All keys that begin so; excludes start and end."),
    "limit": _parameter("query", "limit", "The most rows.", COUNT),
    "read": _parameter(
        "header",
        "Amaters-Read",
        "`stale`: this node answers at once, with what it has; otherwise reads are linearizable.",
    ),
    "timeout": _parameter(
        "header", "Amaters-Timeout-Ms", "How long the caller waits, at most.", COUNT
    ),
    "request_id": _parameter("header", "X-Request-Id", "Comes back with the answer."),
    "idempotency": _parameter(
        "header",
        "Idempotency-Key",
        "Of one write: the same write with the same key takes effect once.",
    ),
}
