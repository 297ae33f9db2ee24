"""Logs of several pods at once, read from one kubectl for each."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from subprocess import Popen
from typing import IO, Final

from amaters_kubectl import names
from amaters_kubectl.cluster.log_lines import LogLine, parsed
from amaters_kubectl.kubectl import Kubectl

_SETTLE_SECONDS: Final = 0.3
"""How long a line waits for older ones of other pods."""
_AGAIN_SECONDS: Final = 2.0
"""Pause before a log that ended is opened again: its pod may be on its way back."""


@dataclass(slots=True)
class Follower:
    """Follows the logs of the pods until it is stopped; pods that restart are picked up again."""

    kubectl: Kubectl
    pods: Sequence[str]
    arguments: Sequence[str]
    _lines: "queue.Queue[LogLine | str]" = field(default_factory=queue.Queue)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: dict[str, "Popen[bytes]"] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def lines(self) -> Iterator[list[LogLine] | str]:
        """Yield lines by time, a batch at once, and notes of what ended; it never ends itself."""
        for pod in self.pods:
            self._threads.append(threading.Thread(target=self._follow, args=(pod,), daemon=True))
            self._threads[-1].start()
        while True:
            batch = [self._lines.get()]
            time.sleep(_SETTLE_SECONDS)
            with contextlib.suppress(queue.Empty):
                while True:
                    batch.append(self._lines.get_nowait())
            yield from (one for one in batch if isinstance(one, str))
            found = [one for one in batch if isinstance(one, LogLine)]
            yield sorted(found, key=lambda one: one.at)

    def stop(self) -> None:
        """End every kubectl."""
        self._stopping.set()
        for process in list(self._running.values()):
            process.kill()
        for thread in self._threads:
            thread.join(timeout=1)

    def _follow(self, pod: str) -> None:
        """Read the log of a pod, again and again; a line that was shown is not shown again."""
        last, noted = "", ""
        arguments = list(self.arguments)
        while not self._stopping.is_set():
            fresh, failed = self._read(pod, arguments, last)
            note = f"{pod}: {failed or 'its log ended'}; waiting for it"
            if (fresh > last or note != noted) and not self._stopping.is_set():
                self._lines.put(note)
                noted = note
            last = fresh
            if last:
                arguments = [f"--since-time={last[:19]}Z"]
            self._stopping.wait(_AGAIN_SECONDS)

    def _read(self, pod: str, arguments: Sequence[str], after: str) -> tuple[str, str]:
        """Read until the log ends; return the time of the last line, and why it failed."""
        last = after
        with self.kubectl.stream(*log_arguments(pod, *arguments, "--follow")) as process:
            self._running[pod] = process
            for line in parsed(_decoded(process.stdout), pod):
                if not after or line.at > after:
                    self._lines.put(line)
                last = max(last, line.at)
            failed = b"" if process.stderr is None else process.stderr.read()
        return last, failed.decode(errors="replace").strip()


def log_arguments(pod: str, *more: str) -> list[str]:
    """Return what kubectl is asked for."""
    return ["logs", pod, f"--container={names.CONTAINER}", "--timestamps", *more]


def _decoded(output: IO[bytes] | None) -> Iterator[str]:
    for raw in output or ():
        yield raw.decode(errors="replace")
