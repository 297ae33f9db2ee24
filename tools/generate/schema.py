"""Pydantic's JSON schema made structural, as Kubernetes demands. Pure.

Pydantic writes `$ref` into `$defs`, `anyOf [T, null]` for optionals, and titles; a CRD may hold
none of them.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

Schema: TypeAlias = dict[str, Any]

_KEPT = frozenset(
    {
        "type",
        "description",
        "format",
        "pattern",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
    }
)


class UnsupportedSchemaError(TypeError):
    """A model uses a type that no structural schema can express."""


def structural(model: type[BaseModel]) -> Schema:
    """Return the model's structural schema, ready for a CRD."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, definitions=raw.get("$defs", {}))


def without_defaults(schema: Schema) -> Schema:
    """Return the schema without any default: nothing is filled into a status."""
    kept = {key: value for key, value in schema.items() if key not in ("default", "required")}
    if "properties" in kept:
        kept["properties"] = {
            name: without_defaults(part) for name, part in kept["properties"].items()
        }
    if "items" in kept:
        kept["items"] = without_defaults(kept["items"])
        if keys := kept.get("x-kubernetes-list-map-keys"):
            kept["items"]["required"] = list(keys)
    return kept


def without_ruled_patterns(schema: Schema) -> Schema:
    """Return the schema without the patterns of fields whose rules say the same in words.

    Kubernetes evaluates rules only on what fits the rest of the schema: a person would be shown
    the pattern. The chart's schema knows no rules, and keeps them.
    """
    kept = dict(schema)
    if "x-kubernetes-validations" in kept:
        kept.pop("pattern", None)
    if "properties" in kept:
        kept["properties"] = {
            name: without_ruled_patterns(one) for name, one in kept["properties"].items()
        }
    for inner in ("items", "additionalProperties"):
        if isinstance(kept.get(inner), dict):
            kept[inner] = without_ruled_patterns(kept[inner])
    return kept


def _convert(raw: Mapping[str, Any], *, definitions: Mapping[str, Any]) -> Schema:
    source = _resolved(raw, definitions)
    kept = {key: value for key, value in source.items() if _is_kept(key)}
    if "const" in source:
        kept["enum"] = [source["const"]]
    match source.get("type"):
        case "object":
            kept |= _object(source, definitions)
        case "array":
            kept["items"] = _convert(source["items"], definitions=definitions)
        case _:
            pass
    if (default := source.get("default")) is not None:
        kept["default"] = _filled(kept) if "properties" in kept else default
    return kept


def _filled(schema: Schema) -> Schema:
    """Return an object's default with the defaults of its fields: rules are checked on it."""
    return {
        name: part["default"] for name, part in schema["properties"].items() if "default" in part
    }


def _object(source: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    if "properties" in source:
        properties = {
            name: _convert(part, definitions=definitions)
            for name, part in source["properties"].items()
        }
        required = [name for name in source.get("required", []) if name in properties]
        return {"properties": properties} | ({"required": required} if required else {})
    if isinstance(values := source.get("additionalProperties"), Mapping):
        return {"additionalProperties": _convert(values, definitions=definitions)}
    return {}


def _is_kept(key: str) -> bool:
    return key in _KEPT or key.startswith("x-kubernetes-")


def _resolved(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Return `raw` with its reference and its optional unfolded; its own keys win."""
    own = {key: value for key, value in raw.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in raw:
        return _resolved(definitions[raw["$ref"].rsplit("/", 1)[1]], definitions) | own
    if "anyOf" in raw:
        kinds = [kind for kind in raw["anyOf"] if kind.get("type") != "null"]
        if len(kinds) != 1:
            raise UnsupportedSchemaError(
                f"{raw.get('title', 'a field')} may be one of {len(kinds)} types; "
                "a structural schema allows one: choose one, or use an int-or-string"
            )
        return _resolved(kinds[0], definitions) | own
    return own
