"""What a person with bad luck does to a cluster by hand: seeded edits, and taking them back.

Each edit is something that people do with `kubectl`. None deletes a volume: what no replicated
database survives proves nothing. `Person.correct` takes back what a person has to take back:
cordons, fences, holds, a broken Secret, an image that does not exist.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demo.clusters import NEXT_IMAGE, SERVER_IMAGE, Cluster
from demo.kubectl import CommandError

MISSING_IMAGE = "amaters-server:does-not-exist"
OPERATORS = "app.kubernetes.io/name=amaters-operator"
SIZES = (1, 3, 5)


@dataclass
class Person:
    """Edits one cluster at random, by a seed, and remembers what the cluster should be."""

    cluster: Cluster
    chance: random.Random
    secret: dict[str, Any]
    """The Secret with the certificate, as it should be."""
    replicas: int = 3
    done: list[str] = field(default_factory=list)
    """What was done, in words; what failed is marked, as people make calls that are refused."""

    def edit(self) -> str:
        """Make one edit; return what it was."""
        act = self.chance.choice(_EDITS)
        try:
            told = act(self)
        except (CommandError, subprocess.TimeoutExpired) as refused:
            told = f"{act.__name__.strip('_')} refused ({str(refused).splitlines()[-1][:60]})"
        self.done.append(told)
        return told

    def correct(self) -> None:
        """Take back what nobody but a person can."""
        for node in self._nodes():
            self._kubectl("uncordon", node)
        self._kubectl("annotate", "amc", self.cluster.name, "amaters.io/fenced-")
        self.cluster.kubectl.apply(self.secret)
        good = self.chance.choice((SERVER_IMAGE, NEXT_IMAGE))
        self.cluster.patch(image=good, hibernate=False, paused=False)

    def _kubectl(self, *arguments: str, timeout: float = 60) -> str:
        return self.cluster.kubectl(*arguments, timeout=timeout)

    def _nodes(self) -> list[str]:
        return sorted(one["metadata"]["name"] for one in self.cluster.kubectl.get("nodes")["items"])

    def _pod(self) -> str:
        return self.chance.choice(sorted(self.cluster.pods) or [f"{self.cluster.name}-0"])


def _scales_the_statefulset(person: Person) -> str:
    number = str(person.chance.randrange(6))
    person._kubectl("scale", "statefulset", person.cluster.name, "--replicas", number)
    return f"scale sts {number}"


def _scales_the_cluster(person: Person) -> str:
    person.replicas = person.chance.choice(SIZES)
    person.cluster.patch(replicas=person.replicas)
    return f"replicas {person.replicas}"


def _deletes_a_pod(person: Person) -> str:
    pod = person._pod()
    person._kubectl("delete", "pod", pod, "--wait=false")
    return f"delete {pod}"


def _kills_a_pod(person: Person) -> str:
    pod = person._pod()
    person._kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    return f"kill {pod}"


def _deletes_all_pods(person: Person) -> str:
    selector = f"amaters.io/cluster={person.cluster.name}"
    person._kubectl("delete", "pods", "--selector", selector, "--wait=false")
    return "delete all pods"


def _deletes_an_object(person: Person) -> str:
    name = person.cluster.name
    what = person.chance.choice(
        (
            f"service/{name}", f"service/{name}-peers", f"configmap/{name}-config",
            f"pdb/{name}", f"statefulset/{name}",
        )
    )  # fmt: skip
    person._kubectl("delete", what, "--wait=false")
    return f"delete {what}"


def _orphans_the_pods(person: Person) -> str:
    person._kubectl("delete", "statefulset", person.cluster.name, "--cascade=orphan")
    return "delete sts, orphans"


def _changes_the_image(person: Person) -> str:
    image = person.chance.choice((SERVER_IMAGE, NEXT_IMAGE))
    person.cluster.patch(image=image)
    return f"image {image.rpartition(':')[2]}"


def _mistypes_the_image(person: Person) -> str:
    person.cluster.patch(image=MISSING_IMAGE)
    return "image missing"


def _changes_resources(person: Person) -> str:
    cpu = f"{person.chance.randrange(50, 100)}m"
    person.cluster.patch(resources={"requests": {"cpu": cpu, "memory": "128Mi"}})
    return f"cpu {cpu}"


def _cordons_a_node(person: Person) -> str:
    node = person.chance.choice(person._nodes())
    person._kubectl("cordon", node)
    return f"cordon {node}"


def _drains_a_node(person: Person) -> str:
    node = person.chance.choice(person._nodes())
    person._kubectl(
        "drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
        "--pod-selector", f"amaters.io/cluster={person.cluster.name}", "--timeout", "20s",
    )  # fmt: skip
    return f"drain {node}"


def _uncordons_all(person: Person) -> str:
    for node in person._nodes():
        person._kubectl("uncordon", node)
    return "uncordon all"


def _breaks_the_secret(person: Person) -> str:
    broken = {"data": {"tls.crt": base64.b64encode(b"no certificate").decode()}}
    name = person.secret["metadata"]["name"]
    person._kubectl("patch", "secret", name, "--type", "merge", "--patch", json.dumps(broken))
    return "break Secret"


def _restores_the_secret(person: Person) -> str:
    person.cluster.kubectl.apply(person.secret)
    return "restore Secret"


def _fences(person: Person) -> str:
    pods = person.chance.choice((person._pod(), "*", ""))
    note = f"amaters.io/fenced={pods}" if pods else "amaters.io/fenced-"
    person._kubectl("annotate", "--overwrite", "amc", person.cluster.name, note)
    return f"fence {pods or 'none'}"


def _hibernates_or_wakes(person: Person) -> str:
    sleeps = person.chance.choice((True, False))
    person.cluster.patch(hibernate=sleeps)
    return "hibernate" if sleeps else "wake"


def _pauses_or_resumes(person: Person) -> str:
    paused = person.chance.choice((True, False))
    person.cluster.patch(paused=paused)
    return "pause" if paused else "resume"


def _kills_the_operators(person: Person) -> str:
    person._kubectl(
        "delete", "pods", "--selector", OPERATORS, "--grace-period=0", "--force", "--wait=false"
    )
    return "kill operators"


_EDITS: tuple[Callable[[Person], str], ...] = (
    _scales_the_statefulset,
    _scales_the_cluster,
    _deletes_a_pod,
    _kills_a_pod,
    _deletes_all_pods,
    _deletes_an_object,
    _orphans_the_pods,
    _changes_the_image,
    _mistypes_the_image,
    _changes_resources,
    _cordons_a_node,
    _drains_a_node,
    _uncordons_all,
    _breaks_the_secret,
    _restores_the_secret,
    _fences,
    _hibernates_or_wakes,
    _pauses_or_resumes,
    _kills_the_operators,
)
