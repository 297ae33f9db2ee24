"""Kubeconfig documents. Pure: certificates in, text out."""

from __future__ import annotations

import base64
import json

from testbed.pki import Pair

NAME = "amaters-testbed"


def render(*, server: str, authority: bytes, user: str, pair: Pair) -> str:
    """Return a kubeconfig with everything in it: one cluster, one user, one context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": NAME,
                "cluster": {"server": server, "certificate-authority-data": _data(authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _data(pair.certificate),
                    "client-key-data": _data(pair.key),
                },
            }
        ],
        "contexts": [
            {"name": NAME, "context": {"cluster": NAME, "user": user, "namespace": "default"}}
        ],
        "current-context": NAME,
    }
    return json.dumps(document, indent=2) + "\n"


def _data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
