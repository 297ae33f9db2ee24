"""A kubectl for tests: answers from a JSON file, changes it by patches, records every call.

It refuses what the real one refuses: unknown verbs and flags, objects that do not exist, a patch
with an old resourceVersion. Unknown fields of the spec are pruned, as by the API server.
"""

import json
import os
import sys
import time
from pathlib import Path

FLAGS = {
    "get": {
        "--output",
        "--selector",
        "--all-namespaces",
        "--show-managed-fields",
        "--request-timeout",
    },
    "patch": {"--type", "--field-manager", "--patch", "--output", "--request-timeout"},
    "logs": {
        "--container",
        "--timestamps",
        "--tail",
        "--since",
        "--since-time",
        "--follow",
        "--previous",
        "--limit-bytes",
        "--request-timeout",
    },
    "version": {"--output", "--request-timeout"},
}
EVERYWHERE = {"--namespace", "--context", "--kubeconfig"}
KINDS = {"pods": "pods", "events": "events", "nodes": "nodes"}

FOLDER = Path(os.environ["FAKE_KUBECTL"])


def fail(words: str, code: int = 1) -> None:
    print(words, file=sys.stderr)
    sys.exit(code)


def matches(one: dict, selector: str) -> bool:
    labels = one["metadata"].get("labels", {})
    return all(
        labels.get(name) == value
        for name, _, value in (p.partition("=") for p in selector.split(","))
    )


def main() -> None:
    arguments = sys.argv[1:]
    with (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    world = json.loads((FOLDER / "world.json").read_text())
    verb, *rest = arguments
    flags = {one.partition("=")[0]: one.partition("=")[2] for one in rest if one.startswith("--")}
    words = [one for one in rest if not one.startswith("--")]
    if verb not in FLAGS:
        fail(f'error: unknown command "{verb}" for "kubectl"')
    if strange := set(flags) - FLAGS[verb] - EVERYWHERE:
        fail(f"error: unknown flag: {min(strange)}")
    for pattern, said in world.get("failures", {}).items():
        if pattern in " ".join(arguments):
            fail(said)
    namespace = flags.get("--namespace", "shop")
    {"get": get, "patch": patch, "logs": logs, "version": version}[verb](
        world, words, flags, namespace
    )


def find(world: dict, kind: str, name: str, namespace: str) -> dict:
    for one in world["objects"].get(kind, []):
        if one["metadata"]["name"] == name and one["metadata"].get("namespace") in (
            None,
            namespace,
        ):
            return one
    fail(f'Error from server (NotFound): {kind} "{name}" not found')
    raise AssertionError


def get(world: dict, words: list[str], flags: dict[str, str], namespace: str) -> None:
    if len(words) == 2:
        found = json.loads(json.dumps(find(world, words[0], words[1], namespace)))
        if "--show-managed-fields" not in flags:
            found["metadata"].pop("managedFields", None)
        print(json.dumps(found))
        return
    items = [
        one
        for one in world["objects"].get(words[0], [])
        if "--all-namespaces" in flags or one["metadata"].get("namespace") in (None, namespace)
    ]
    if "--selector" in flags:
        items = [one for one in items if matches(one, flags["--selector"])]
    print(json.dumps({"kind": "List", "items": items}))


def merge(into: dict, changes: dict) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def patch(world: dict, words: list[str], flags: dict[str, str], namespace: str) -> None:
    found = find(world, words[0], words[1], namespace)
    changes = json.loads(flags["--patch"])
    wanted = changes.get("metadata", {}).pop("resourceVersion", None)
    if world.get("conflicts", 0) > 0:
        world["conflicts"] -= 1
        found["metadata"]["resourceVersion"] = "77"
        found["metadata"].setdefault("annotations", {}).update(world.get("meanwhile", {}))
        (FOLDER / "world.json").write_text(json.dumps(world))
    if wanted is not None and wanted != found["metadata"].get("resourceVersion"):
        fail(
            f'Error from server (Conflict): Operation cannot be fulfilled on {words[0]} "{words[1]}": '
            "the object has been modified; please apply your changes to the latest version"
        )
    for name in world.get("unknown", []):
        changes.get("spec", {}).pop(name, None)
    merge(found, changes)
    merge(found, world.get("reaction", {}))
    found["metadata"]["resourceVersion"] = str(
        int(found["metadata"].get("resourceVersion", "1")) + 1
    )
    (FOLDER / "world.json").write_text(json.dumps(world))
    print(json.dumps(found))


def logs(world: dict, words: list[str], flags: dict[str, str], _namespace: str) -> None:
    name = words[0] + (".previous" if "--previous" in flags else "")
    if name not in world.get("logs", {}):
        fail(f'Error from server (NotFound): pods "{words[0]}" not found')
    lines = world["logs"][name]
    for line in lines[-int(flags.get("--tail", "100000")) :]:
        print(line, flush=True)
    if "--follow" in flags and world.get("hangs"):
        time.sleep(30)


def version(*_: object) -> None:
    print(json.dumps({"clientVersion": {"gitVersion": "v1.34.0"}}))


main()
