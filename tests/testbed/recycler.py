"""Give released volumes back: wipe them, then let the next claim have them.

usage: recycler.py PKI_FOLDER ADDRESS

Runs as a daemon inside the cluster's network, with the standard library only. It follows the
API server's stream of changes, so a deleted claim's volume is free again within a second.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

from testbed.addresses import API_PORT

PATIENCE = 1.0
TIMEOUT = 30
RESOURCE = "/api/v1/persistentvolumes"
CHANGES = ("ADDED", "MODIFIED")
SELECTOR = "labelSelector=amaters.io/testbed%3Dtrue"
Connect = Callable[[], http.client.HTTPSConnection]
"""Opens a connection to the API server."""


def main() -> None:
    """Watch for ever; a lost connection is made again."""
    pki = Path(sys.argv[1])
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    connect = partial(
        http.client.HTTPSConnection, sys.argv[2], API_PORT, context=tls, timeout=TIMEOUT
    )
    while True:
        try:
            for name in released(connect):
                recycle(connect, name)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as broken:
            print(f"connection lost, trying again: {broken!r}", flush=True)
        time.sleep(PATIENCE)


def released(connect: Connect) -> Iterator[str]:
    """Yield the name of each volume that its claim has left, those of the past first."""
    connection = connect()
    # A bounded watch looks again at volumes that were still mounted the first time.
    connection.request(
        "GET", f"{RESOURCE}?watch=true&resourceVersion=0&timeoutSeconds=5&{SELECTOR}"
    )
    response = connection.getresponse()
    if response.status != HTTPStatus.OK:
        raise http.client.HTTPException(f"{response.status} {response.read(200)!r}")
    for line in response:
        event = json.loads(line)
        volume = event["object"]
        if event["type"] in CHANGES and volume["status"].get("phase") == "Released":
            yield volume["metadata"]["name"]
    connection.close()


def recycle(connect: Connect, name: str) -> None:
    """Wipe one volume and make it available, unless some pod still has it mounted.

    The volume is read afresh: what the stream told may be long past, and by now it may have been
    claimed again. From Released nobody else takes it away.
    """
    volume = json.loads(_ask(connect, "GET", f"{RESOURCE}/{name}"))
    folder = Path(volume["spec"]["local"]["path"])
    mounts = Path("/proc/mounts").read_text()
    if volume["status"].get("phase") != "Released" or in_use(folder, mounts):
        return
    wipe(folder)
    version = volume["metadata"]["resourceVersion"]
    freed = {"metadata": {"resourceVersion": version}, "spec": {"claimRef": None}}
    _ask(connect, "PATCH", f"{RESOURCE}/{name}", body=json.dumps(freed))
    print(f"{name} is free again", flush=True)


def in_use(folder: Path, mounts: str) -> bool:
    """Whether the volume's filesystem is mounted anywhere but in its own folder."""
    entries = [line.split()[:2] for line in mounts.splitlines()]
    devices = {device for device, target in entries if target == str(folder)}
    return any(device in devices and target != str(folder) for device, target in entries)


def wipe(folder: Path) -> None:
    """Remove all that is in the folder, return its owner and mode, and free the space below."""
    for entry in folder.iterdir():
        if entry.name == "lost+found":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    os.chown(folder, 0, 0)
    folder.chmod(0o755)
    subprocess.run(["fstrim", str(folder)], check=False, capture_output=True)


def _ask(connect: Connect, method: str, path: str, *, body: str | None = None) -> bytes:
    connection = connect()
    with contextlib.closing(connection):
        merge = {"Content-Type": "application/merge-patch+json"} if body else {}
        connection.request(method, path, body=body, headers=merge)
        response = connection.getresponse()
        answer = response.read()
    if response.status != HTTPStatus.OK:
        raise http.client.HTTPException(f"{method} {path}: {response.status} {answer[:200]!r}")
    return answer


if __name__ == "__main__":
    main()
