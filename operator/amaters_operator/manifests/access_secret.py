"""The Secret with the key of a user of an AmatersAccess. Pure.

It alone holds the key: everything else has its hash. It also records how far a renewal is, so that
one write of one object makes each step.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

from amaters_operator.api.access import ACCESS_KIND, AmatersAccess
from amaters_operator.api.cluster import API_VERSION, GROUP
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.manifests import names
from amaters_operator.manifests.grants import KeyHash
from amaters_operator.manifests.names import Manifest

TYPE = f"{GROUP}/api-key"
KEY, NEXT_KEY, OLD_HASH = "api-key", "next-api-key", "previous-key-hash"
USER, SERVER = "user", "server"
ISSUED, OLD_ENDS = f"{GROUP}/issued-at", f"{GROUP}/previous-key-ends"
ACCESS_LABEL = f"{GROUP}/access"
KEY_PREFIX = "amk_"
"""As `amaters-server api-key create` begins keys, so that scanners for leaks recognise them."""

_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
_YEARS = range(2000, 3000)
"""In which a time can be: others are somebody's mistake, and no arithmetic may end a pass."""
_DIGEST = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one user: one, or two while it is renewed."""

    current: str = field(repr=False)
    issued: datetime
    following: str = field(default="", repr=False)
    """Known to nodes before it replaces the current one; empty: none is due."""
    previous: str = ""
    """Hash of the key before, while it works."""
    previous_ends: datetime | None = None

    def hashes(self, access: str) -> tuple[KeyHash, ...]:
        """Return what the nodes have to know of them, for the object of that name."""
        found = [_hash(access, digest_of(one)) for one in (self.current, self.following) if one]
        if self.previous and self.previous_ends is not None:
            found.append(_hash(access, self.previous, timestamp_text(self.previous_ends)))
        return tuple(found)


def digest_of(key: str) -> str:
    """Return the hash of a key as the nodes' file holds it."""
    return base64.b64encode(hashlib.sha256(key.encode()).digest()).decode()


def _hash(access: str, digest: str, ends: str = "") -> KeyHash:
    # The id is shown where keys are listed: part of the hash, so that it stays the key's own.
    return KeyHash(f"access-{access}-{base64.b64decode(digest)[:6].hex()}", digest, ends)


def secret(access: AmatersAccess, keys: Keys) -> Manifest:
    """Return the Secret, which Kubernetes deletes together with the object."""
    user = access.spec.user
    cluster = access.spec.cluster_name
    notes = {ISSUED: timestamp_text(keys.issued)}
    data = {
        USER: "" if user is None else user.name,
        SERVER: f"{cluster}.{access.namespace}.svc:{names.CLIENT_PORT}",
        KEY: keys.current,
    }
    if keys.following:
        data[NEXT_KEY] = keys.following
    if keys.previous and keys.previous_ends is not None:
        data[OLD_HASH] = keys.previous
        notes[OLD_ENDS] = timestamp_text(keys.previous_ends)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": access.secret_name,
            "namespace": access.namespace,
            "labels": {
                "app.kubernetes.io/name": "amaters",
                "app.kubernetes.io/instance": cluster,
                "app.kubernetes.io/component": "access",
                "app.kubernetes.io/part-of": "amaters",
                "app.kubernetes.io/managed-by": "amaters-operator",
                names.CLUSTER_LABEL: cluster,
                ACCESS_LABEL: access.name,
            },
            "annotations": notes,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": ACCESS_KIND,
                    "name": access.name,
                    "uid": access.metadata.uid,
                    "controller": True,
                }
            ],
        },
        "type": TYPE,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }


def owned(access: AmatersAccess, found: Manifest) -> bool:
    """Whether that Secret is the object's own."""
    owners = found["metadata"].get("ownerReferences") or []
    return access.metadata.uid in [one["uid"] for one in owners]


def written(made: Manifest, found: Manifest) -> bool:
    """Whether the Secret that is there says all that the made one says, and no more of ours."""
    ours, theirs = made["metadata"], found["metadata"]
    data = {key: one for key, one in (found.get("data") or {}).items() if key in _OURS}
    notes = {
        key: one for key, one in (theirs.get("annotations") or {}).items() if key in _OUR_NOTES
    }
    labels = theirs.get("labels") or {}
    same: bool = data == made["data"] and notes == ours["annotations"]
    return same and ours["labels"].items() <= labels.items()


def read(found: Manifest, now: datetime) -> Keys | None:
    """Return the keys that a Secret holds; None when it holds none that is as random as ours."""
    data = {name: _text(found, name) for name in _OURS}
    notes = found["metadata"].get("annotations") or {}
    if _KEY.fullmatch(data[KEY]) is None:
        return None
    ends = _moment(notes.get(OLD_ENDS))
    kept = ends is not None and _DIGEST.fullmatch(data[OLD_HASH]) is not None
    following = data[NEXT_KEY] if _KEY.fullmatch(data[NEXT_KEY]) else ""
    following = "" if following == data[KEY] else following
    # One key has one hash in the nodes' file, which they refuse otherwise.
    known = {digest_of(one) for one in (data[KEY], following)}
    kept = kept and data[OLD_HASH] not in known
    return Keys(
        data[KEY],
        _moment(notes.get(ISSUED)) or now,
        following,
        data[OLD_HASH] if kept else "",
        ends if kept else None,
    )


_OURS = (KEY, NEXT_KEY, OLD_HASH, USER, SERVER)
_OUR_NOTES = (ISSUED, OLD_ENDS)


def _text(found: Manifest, name: str) -> str:
    try:
        return base64.b64decode((found.get("data") or {}).get(name) or "", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if found.tzinfo is None or found.year not in _YEARS:
        return None
    return found.replace(microsecond=0)  # As it is written, whoever has written this one.
