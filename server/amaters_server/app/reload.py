"""SIGHUP: read everything again, compare, and apply what may change; or refuse and keep the old."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from amaters_server.config.load import Sources, load
from amaters_server.config.reloadable import ReloadReport, difference, merged
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError, DatabaseError, NotReadyError

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
"""Between the end of one reload and the next: a reload takes time of the event loop."""


@dataclass(frozen=True, slots=True)
class Reloadable:
    """The targets of a reload. `apply` raises OSError or DatabaseError to refuse."""

    apply: Callable[[Settings], None]
    reload_certificates: Callable[[], list[str]]
    record: Callable[[ReloadReport], None] = lambda _: None
    """Takes every report, beside the log."""


class Reloader:
    """Holds the settings in force."""

    def __init__(
        self, sources: Sources, settings: Settings, parts: Reloadable, *, digest: str = ""
    ) -> None:
        self.settings = settings
        self.digest = digest
        """Of the file whose settings are in force; see `config.load.Loaded`."""
        self._sources = sources
        self._parts = parts
        self._asked: list[asyncio.Future[ReloadReport]] = []

    def reload(self) -> ReloadReport:
        """Reload now; return and log the report."""
        report = self._reload()
        level = logging.INFO if report.success else logging.ERROR
        _log.log(level, "config.reloaded", extra={"report": str(report).strip()})
        self._parts.record(report)
        asked, self._asked = self._asked, []
        for answer in asked:
            if not answer.done():
                answer.set_result(report)
        return report

    async def ask(self) -> ReloadReport:
        """Raise SIGHUP on this process, as a person would, and wait for the report."""
        answer: asyncio.Future[ReloadReport] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        os.kill(os.getpid(), signal.SIGHUP)
        return await answer

    def _reload(self) -> ReloadReport:
        errors = self._parts.reload_certificates()
        try:
            loaded = load(self._sources)
        except ConfigurationError as wrong:
            return ReloadReport(errors=(*errors, *str(wrong).splitlines()))
        wanted = loaded.settings
        found = difference(self.settings, wanted)
        try:
            self._parts.apply(merged(self.settings, wanted))
        except (OSError, DatabaseError) as wrong:
            return ReloadReport(errors=(*errors, str(wrong)))
        self.settings = merged(self.settings, wanted)
        self.digest = loaded.digest
        return ReloadReport(found.updated, found.skipped, errors=tuple(errors))


class Reloading:
    """Reloads on request: several requests at once are one.

    The reloader exists only once everything it acts on does; an earlier request is not lost.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reloader: Reloader | None = None
        self._due: asyncio.TimerHandle | None = None
        self._wanted = False
        self._not_before = 0.0

    def begin(self, reloader: Reloader) -> None:
        """Use that reloader from now on."""
        self._reloader = reloader
        if self._wanted:
            self.ask_soon()

    def ask_soon(self) -> None:
        """Reload soon: at once, or when the last one is some time ago."""
        if self._reloader is None:
            self._wanted = True
        elif self._due is None:
            self._due = self._loop.call_at(self._not_before, self._reload, self._reloader)

    def digest(self) -> str:
        """Return the digest of the configuration file in force."""
        return "" if self._reloader is None else self._reloader.digest

    async def ask(self) -> ReloadReport:
        """Reload as if SIGHUP had come, and return the report."""
        if self._reloader is None:
            raise NotReadyError("it is starting")
        return await self._reloader.ask()

    def _reload(self, reloader: Reloader) -> None:
        self._due = None
        reloader.reload()
        self._not_before = self._loop.time() + PAUSE_SECONDS
