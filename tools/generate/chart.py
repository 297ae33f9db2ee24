"""The JSON schema for the values of the chart amaters-cluster: the spec's own. Pure.

A misspelt value is then refused by helm itself, with the field's name.
"""

from typing import Any

from amaters_operator.api.spec import ClusterSpec

from tools.generate.schema import Schema, structural

_GLOBAL = {"type": "object", "description": "Values that helm shares between charts; not used."}


def values_schema() -> Schema:
    """Return the schema: every field of the spec, with the image taken apart as charts do."""
    properties = dict(structural(ClusterSpec)["properties"])
    policy = properties.pop("imagePullPolicy")
    del properties["image"]
    image = {
        "type": "object",
        "description": "Image of the database server, which becomes spec.image.",
        "additionalProperties": False,
        "required": ["repository"],
        "properties": {
            "repository": {
                "type": "string",
                "minLength": 1,
                "description": "Image of the database server, without tag and digest.",
            },
            "tag": {"type": "string", "description": "Its tag; the chart's appVersion when empty."},
            "digest": {
                "type": "string",
                "pattern": "^(sha256:[a-f0-9]{64})?$",
                "description": "sha256:... of the image; not part of its name when empty.",
            },
            "pullPolicy": _plain(policy),
        },
    }
    name = {
        "type": "string",
        "description": "Name of the AmatersCluster; the name of the release when empty.",
    }
    own = {"name": name, "global": _GLOBAL, "image": image}
    return {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "title": "Values of amaters-cluster",
        "type": "object",
        "additionalProperties": False,
        "properties": own | {name: _plain(part) for name, part in properties.items()},
    }


def _plain(part: Schema) -> Schema:
    """Return the schema without Kubernetes' extensions and defaults, strict about names."""
    if part.get("x-kubernetes-int-or-string"):
        described = {key: part[key] for key in ("description",) if key in part}
        return {"type": ["integer", "string"], "pattern": part["pattern"]} | described
    plain: dict[str, Any] = {
        key: value
        for key, value in part.items()
        if not key.startswith("x-kubernetes-") and key != "default"
    }
    if "properties" in plain:
        plain["properties"] = {name: _plain(one) for name, one in plain["properties"].items()}
        plain["additionalProperties"] = "x-kubernetes-preserve-unknown-fields" in part
    for inner in ("items", "additionalProperties"):
        if isinstance(plain.get(inner), dict):
            plain[inner] = _plain(plain[inner])
    return plain
