"""The one door to Kubernetes: `kubectl` itself.

It is there wherever its plugin is, and knows the kubeconfig, its contexts, and every way to log in.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from amaters_kubectl.errors import ConflictError, NotThereError, PluginError
from amaters_kubectl.names import FIELD_MANAGER
from amaters_kubectl.reading import Fields, parts

_REQUEST: Final = "--request-timeout=30s"
_LONGEST_SECONDS: Final = 120
"""A call may wait for a login in a browser, but not for ever."""

_NO_ANSWER: Final = (
    r"unable to connect|connection refused|no such host|i/o timeout|was refused|tls handshake|"
    r"client.timeout|deadline exceeded|request canceled"
)
_FAILURES: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), code, advice)
    for pattern, code, advice in (
        (
            r"the server doesn't have a resource type",
            "no_crd",
            "the CRDs of AmateRS are not installed here: install the operator, or choose another --context",
        ),
        (r"\(conflict\)|the object has been modified", "conflict", "run the command again"),
        (r"\(notfound\)", "not_found", "check the name and --namespace"),
        (
            r"\(forbidden\)| is forbidden: ",
            "forbidden",
            "ask for that right; docs/kubectl.md lists what each command needs",
        ),
        (
            r"\(unauthorized\)|must be logged in|getting credentials",
            "unauthorized",
            "log in to the cluster again",
        ),
        (r"\(invalid\)| is invalid: ", "invalid", "correct what it names"),
        (
            r"context .*(does not exist|was not found)",
            "no_context",
            "`kubectl config get-contexts` lists them",
        ),
        (
            _NO_ANSWER,
            "unreachable",
            "check --context, the VPN and that the API server runs",
        ),
    )
)
"""What kubectl's own words mean, the first that fits."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Which cluster and namespace; empty is kubectl's own default."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""

    @property
    def flags(self) -> list[str]:
        """The flags for kubectl."""
        given = {
            "--namespace": self.namespace,
            "--context": self.context,
            "--kubeconfig": self.kubeconfig,
        }
        return [f"{name}={value}" for name, value in given.items() if value]


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Calls kubectl for one connection."""

    connection: Connection = Connection()

    def run(self, *arguments: str, bounded: bool = True) -> str:
        """Return what kubectl writes; PluginError has its own words when it fails."""
        command = self._command(*arguments, *([_REQUEST] if bounded else []))
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and arguments are never options
                command,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_LONGEST_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            text = f"kubectl did not end within {_LONGEST_SECONDS} s"
            raise PluginError(
                "unreachable", f"{text}: check --context, and the login it uses"
            ) from error
        except OSError as error:
            raise _not_runnable(error) from error
        if done.returncode:
            raise failure(done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    def stream(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a kubectl whose lines are read while it runs."""
        try:
            return subprocess.Popen(  # noqa: S603
                self._command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise _not_runnable(error) from error

    def get(self, kind: str, name: str, *, owners: bool = False) -> Fields:
        """Return the object; NotThereError when there is none. `owners`: with managedFields."""
        more = ["--show-managed-fields"] if owners else []
        return _parsed(self.run("get", kind, name, "--output=json", *more))

    def items(self, kind: str, *, selector: str = "", everywhere: bool = False) -> list[Fields]:
        """Return the objects of the namespace, or of all."""
        chosen = [f"--selector={selector}"] if selector else []
        chosen += ["--all-namespaces"] if everywhere else []
        return parts(_parsed(self.run("get", kind, "--output=json", *chosen)), "items")

    def patch(self, kind: str, name: str, changes: Mapping[str, Any]) -> Fields:
        """Merge the changes into the object, under the plugin's own name; return the object."""
        written = self.run(
            "patch",
            kind,
            name,
            "--type=merge",
            f"--field-manager={FIELD_MANAGER}",
            f"--patch={json.dumps(changes, sort_keys=True)}",
            "--output=json",
        )
        return _parsed(written)

    def _command(self, *arguments: str) -> list[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise PluginError("no_kubectl", "kubectl is not on PATH: install it, or correct PATH")
        verb, *rest = arguments
        return [program, verb, *self.connection.flags, *rest]


def failure(words: str) -> PluginError:
    """Return the error for what kubectl wrote to stderr."""
    lines = [one.strip() for one in words.splitlines() if one.strip()]
    fact = "; ".join(
        one for one in lines if not re.match(r"[EWI]\d{4} ", one) and not one.startswith("Warning:")
    )
    fact = (fact or "; ".join(lines) or "kubectl failed without a word")[:1000]
    fact = re.sub(r"^(error: |Error from server( \(\w+\))?:? )", "", fact)
    for pattern, code, advice in _FAILURES:
        if pattern.search(words):
            kinds = {"not_found": NotThereError, "conflict": ConflictError}
            return kinds.get(code, PluginError)(code, f"{fact}: {advice}")
    return PluginError("kubectl", fact)


def _parsed(answer: str) -> Fields:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise PluginError("protocol", "kubectl's answer is no JSON: is it a wrapper?") from error
    if not isinstance(found, dict):
        raise PluginError("protocol", "kubectl's answer is no object: is it a wrapper?")
    return found


def _not_runnable(error: OSError) -> PluginError:
    return PluginError(
        "no_kubectl", f"kubectl cannot be started ({error.strerror}): install it again"
    )
