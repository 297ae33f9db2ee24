"""The cache of results, between who applies entries and who answers walks."""

from amaters_server.cache import ResultCache
from amaters_server.config.settings import Settings
from amaters_server.machine.machine import Machine
from amaters_server.storage.engine import Engine

MIB = 1024 * 1024


def machine_and_cache(settings: Settings, engine: Engine) -> tuple[Machine, ResultCache | None]:
    """Return the machine, and the cache that hears of its changes; None when it is switched off."""
    machine, section = Machine(engine), settings.cache
    if not section.enabled:
        return machine, None
    results = ResultCache(max_entries=section.max_entries, max_bytes=section.max_mb * MIB)
    machine.on_change = results.changed
    return machine, results
