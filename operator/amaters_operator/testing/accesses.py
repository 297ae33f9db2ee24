"""AmatersAccess objects of a world: written by a person, and collected by Kubernetes."""

import json
from typing import Any

from amaters_operator.api.access import ACCESS_KIND, AmatersAccess
from amaters_operator.api.cluster import API_VERSION
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.kube import kinds
from amaters_operator.manifests import identity
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.driver import Driver
from amaters_operator.testing.world import NAME, NAMESPACE


def access(name: str, **spec: Any) -> Manifest:  # noqa: ANN401 - any JSON
    """Return an object that lets somebody write to `orders`, unless the spec says otherwise."""
    usual = {"clusterName": NAME, "collections": ["orders"], "verbs": ["write"]}
    return {
        "apiVersion": API_VERSION,
        "kind": ACCESS_KIND,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": usual | spec,
    }


def apply(driver: Driver, *manifests: Manifest) -> None:
    """Write objects, as a person does."""
    world = driver.world
    for one in manifests:
        known = world.store.get(kinds.ACCESS, NAMESPACE, one["metadata"]["name"])
        since = timestamp_text(world.now)
        if known is not None:
            since = known["metadata"]["creationTimestamp"]
        world.store.put(one | {"metadata": one["metadata"] | {"creationTimestamp": since}})


def delete(driver: Driver, name: str) -> None:
    """Delete an object, and what it owns, as `kubectl delete` and the garbage collector do."""
    store = driver.world.store
    uid = read(driver, name).metadata.uid
    store.delete(kinds.ACCESS, NAMESPACE, name)
    for (kind, space, other), entry in list(store.entries.items()):
        owners = entry.whole()["metadata"].get("ownerReferences") or []
        if uid in [one["uid"] for one in owners]:
            store.delete(kind, space, other)


def read(driver: Driver, name: str) -> AmatersAccess:
    """Return the object as the operator reads it."""
    return AmatersAccess.model_validate(driver.world.store.get(kinds.ACCESS, NAMESPACE, name))


def known_hashes(driver: Driver, ordinal: int) -> set[str]:
    """Return the hashes of the keys that a node takes."""
    text = driver.world.files[ordinal].get(identity.KEYS_FILE, "[]")
    return {one["key_hash"] for one in json.loads(text)}
