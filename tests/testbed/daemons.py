"""Daemons of the cluster: started in a network namespace and a control group, recorded by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups
from testbed.places import Places
from testbed.shell import TestbedError

# The shell joins the group before anything else runs, so that no child can be born outside it, and
# the daemon is one of the group's when its process id is known.
# nsenter, not `ip netns exec`: that one remounts /sys, and kubelet then finds no control groups.
LAUNCH = """
group=$1 namespace=$2 log=$3; shift 3
echo 0 >"$group" || exit 1
exec nsenter --net="$namespace" "$@" >>"$log" 2>&1 </dev/null &
echo $!
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a daemon runs: whose network, and which control group."""

    namespace: str
    group: str


@dataclass(frozen=True, slots=True)
class Daemons:
    """The register of this test bed's daemons; it survives the process that started them."""

    places: Places

    @property
    def register(self) -> Path:
        """The file that maps names to process ids."""
        return self.places.state / "daemons.json"

    def start(
        self,
        name: str,
        seat: Seat,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ) -> int:
        """Start a daemon that outlives this process and return its process id."""
        launched = subprocess.run(
            [
                *("setsid", "sh", "-c", LAUNCH, "sh"),
                str(cgroups.processes_file(seat.group)),
                f"/run/netns/{seat.namespace}",
                str(self.places.logs / f"{name}.log"),
                *map(str, command),
            ],
            env={**os.environ, **(env or {})},
            pass_fds=tuple(keep_open),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        pid = int(launched.stdout)
        self._record({**self.recorded(), name: pid})
        return pid

    def stop(self, name: str) -> None:
        """End one daemon at once and forget it; it is fine if it is gone already."""
        if name in self.alive():
            os.kill(self.recorded()[name], signal.SIGKILL)
        self._record({other: pid for other, pid in self.recorded().items() if other != name})

    def recorded(self) -> dict[str, int]:
        """Return every daemon that was started and not stopped."""
        if not self.register.exists():
            return {}
        found: dict[str, int] = json.loads(self.register.read_text())
        return found

    def alive(self) -> set[str]:
        """Return the names of the daemons that run now."""
        running = cgroups.pids()
        return {name for name, pid in self.recorded().items() if pid in running}

    def dead(self) -> set[str]:
        """Return the names of the daemons that ended by themselves."""
        return set(self.recorded()) - self.alive()

    def last_words(self, name: str) -> str:
        """Return the end of a daemon's log."""
        log = self.places.logs / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-15:])

    def require_alive(self) -> None:
        """Raise, with the last words of the first daemon found dead."""
        for name in sorted(self.dead()):
            raise TestbedError(f"{name} died; its last words:\n{self.last_words(name)}")

    def _record(self, found: Mapping[str, int]) -> None:
        draft = self.register.with_suffix(".new")
        draft.write_text(json.dumps(dict(found), indent=2))
        draft.rename(self.register)
