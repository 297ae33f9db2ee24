"""A world of objects behind a fake kubectl on PATH, and the program as a person calls it."""

import copy
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from amaters_kubectl import waiting
from amaters_kubectl.program import cli
from click.testing import CliRunner, Result

HERE = Path(__file__).parent
CLUSTERS = "amatersclusters.amaters.io"
LABELS = {"amaters.io/cluster": "orders"}


def member(number: int, role: str = "Follower", **more: Any) -> dict[str, Any]:
    return {
        "id": number + 1,
        "pod": f"orders-{number}",
        "role": role,
        "ready": True,
        "updated": True,
        "node": f"node-{'abc'[number % 3]}",
        "version": "0.3.0",
        "lagEntries": 0,
        **more,
    }


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "observedGeneration": 4,
        "lastTransitionTime": "2026-11-28T09:00:00Z",
    }


def orders(**status: Any) -> dict[str, Any]:
    """A healthy cluster of three, but for what is given."""
    conditions = {
        "Ready": condition("Ready", "True", "Serving", "orders-1 leads 3 voting members"),
        "Reconciling": condition("Reconciling", "False", "Reconciled", "nothing is left to do"),
        "Stalled": condition("Stalled", "False", "NotStalled", "nothing needs a person"),
        "Degraded": condition("Degraded", "False", "AllMembersReady", "every member takes part"),
    }
    conditions |= status.pop("conditions", {})
    return {
        "apiVersion": "amaters.io/v1alpha1",
        "kind": "AmatersCluster",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "generation": 4,
            "resourceVersion": "9",
            "annotations": {},
        },
        "spec": {"image": "amaters-server:0.3.0", "replicas": 3},
        "status": {
            "observedGeneration": 4,
            "phase": "Running",
            "replicas": 3,
            "readyReplicas": 3,
            "ready": "3/3",
            "leader": "orders-1",
            "version": "0.3.0",
            "members": [member(0), member(1, "Leader"), member(2)],
            "storage": [
                {"pod": f"orders-{n}", "usedBytes": 1, "capacityBytes": 9, "percent": 11 + n}
                for n in range(3)
            ],
            "conditions": [*conditions.values()],
            **status,
        },
    }


def pod(number: int, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"orders-{number}",
            "namespace": "shop",
            "labels": LABELS,
            "annotations": {f"amaters.io/{name}": value for name, value in annotations.items()},
        },
        "spec": {"containers": [{"name": "amaters"}]},
        "status": {"containerStatuses": [{"name": "amaters", "restartCount": 0}]},
    }


@dataclass
class Kube:
    """The world behind the fake kubectl, and the program in front of it."""

    folder: Path

    def set(self, *clusters: dict[str, Any], **more: Any) -> None:
        objects = {CLUSTERS: list(clusters), **more.pop("objects", {})}
        (self.folder / "world.json").write_text(json.dumps({"objects": objects, **more}))

    @property
    def world(self) -> dict[str, Any]:
        return json.loads((self.folder / "world.json").read_text())

    @property
    def cluster(self) -> dict[str, Any]:
        return self.world["objects"][CLUSTERS][0]

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []

    @property
    def patches(self) -> list[Mapping[str, Any]]:
        """What was written, in order; each under the plugin's own name."""
        written = [one for one in self.calls if one[0] == "patch"]
        assert all("--field-manager=kubectl-amaters" in one for one in written)
        assert all("--type=merge" in one for one in written)
        texts = [next(a for a in one if a.startswith("--patch=")) for one in written]
        return [json.loads(one.partition("=")[2]) for one in texts]

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="kubectl amaters")


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kube:
    folder = tmp_path / "kube"
    folder.mkdir()
    program = folder / "kubectl"
    # Without site-packages it starts in a third of the time.
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {HERE / "fake_kubectl.py"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("FAKE_KUBECTL", str(folder))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.01)
    made = Kube(folder)
    made.set(orders())
    return made


@pytest.fixture
def make() -> Any:
    """The parts that tests build worlds of."""
    return SimpleNamespace(
        orders=orders,
        member=member,
        condition=condition,
        pod=pod,
        labels=LABELS,
        copy=copy.deepcopy,
    )


def shown(lines: list[str]) -> str:
    return "\n".join(click.unstyle(one) for one in lines) + "\n"


@pytest.fixture
def screen() -> Any:
    return shown
