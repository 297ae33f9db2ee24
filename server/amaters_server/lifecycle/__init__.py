"""How a server ends: phases, hooks with deadlines, and a guard for every way out.

    coordinator = ShutdownCoordinator(DrainConfig(drain_timeout=30))
    async with ShutdownGuard(coordinator):
        coordinator.register_shutdown_hook(CallHook("cache", cache.close))
        await coordinator.wanted()

Knows nothing of what is stopped: the hooks do.
"""

from amaters_server.lifecycle.coordinator import ShutdownCoordinator, ShutdownReport
from amaters_server.lifecycle.guard import ShutdownGuard
from amaters_server.lifecycle.hooks import (
    CallHook,
    ConnectionDrainHook,
    MemtableFlushHook,
    MetricsSnapshotHook,
    ShutdownHook,
    WalFlushHook,
)
from amaters_server.lifecycle.phases import DrainConfig, ShutdownPhase
from amaters_server.lifecycle.snapshot import MetricsSnapshot

__all__ = [
    "CallHook",
    "ConnectionDrainHook",
    "DrainConfig",
    "MemtableFlushHook",
    "MetricsSnapshot",
    "MetricsSnapshotHook",
    "ShutdownCoordinator",
    "ShutdownGuard",
    "ShutdownHook",
    "ShutdownPhase",
    "ShutdownReport",
    "WalFlushHook",
]
