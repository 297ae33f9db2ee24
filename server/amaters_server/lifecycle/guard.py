"""A shutdown on every way out of a block: its end, an exception, a cancellation."""

from types import TracebackType
from typing import Self

from amaters_server.lifecycle.coordinator import ShutdownCoordinator


class ShutdownGuard:
    """Shuts down when the block ends, however it does, unless it was disarmed."""

    def __init__(self, coordinator: ShutdownCoordinator) -> None:
        self._coordinator = coordinator
        self._armed = True

    def disarm(self) -> None:
        """Leave the shutdown to somebody else."""
        self._armed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut down; what a hook raised comes out unless the block itself raised."""
        if not self._armed:
            return
        report = await self._coordinator.shutdown()
        if error is None and report.failures:
            raise report.failures[0]
