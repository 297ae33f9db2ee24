"""Carries migrations out, and records each beginning and end in the folder."""

import logging
from pathlib import Path

from amaters_server.storage import data_format
from amaters_server.storage.data_format import DataForm
from amaters_server.storage.migrations.registry import MigrationRegistry

_log = logging.getLogger(__name__)


def begin_new(folder: Path, registry: MigrationRegistry, version: str) -> None:
    """Record that a folder without data is of the newest revision; OSError when impossible."""
    form = DataForm(registry.format, version, registry.newest)
    data_format.write(folder, form)


def migrate(folder: Path, registry: MigrationRegistry, version: str) -> None:
    """Bring the data to the newest revision; blocks, and nothing may have it open.

    What a kill interrupted is run again. OSError or StorageError when a step is impossible: the
    folder is then as after the last whole step, and the next start tries again.
    """
    form = data_format.found(folder)
    for one in registry.pending(form.revision):
        # The later format is named before the first change: no earlier version reads the half of it.
        needed = max(form.format, one.needs)
        begun = DataForm(needed, version, form.revision, migrating_to=one.revision)
        facts = {"migration": one.name, "revision": one.revision, "folder": str(folder)}
        again = form.migrating_to == one.revision
        _log.warning("data.migrating", extra={**facts, "again": again})
        data_format.write(folder, begun)
        one.run(folder)
        form = DataForm(needed, version, one.revision)
        data_format.write(folder, form)
        _log.warning("data.migrated", extra=facts)
