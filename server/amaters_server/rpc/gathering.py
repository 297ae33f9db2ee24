"""What becomes of one batch of calls while it is decoded: writes, reads and refusals."""

from amaters_server.model.errors import DatabaseError
from amaters_server.model.queries import Read, Write
from amaters_server.rpc import encode
from amaters_server.rpc.arrivals import Arrival, seconds_for
from amaters_server.rpc.calls import Call, Outlet
from amaters_server.rpc.ledger import refusal


class Gathering:
    """The calls of one outlet that arrived together."""

    __slots__ = ("longest", "now", "outlet", "reads", "refused", "writes")

    def __init__(self, outlet: Outlet, *, now: float, longest: float) -> None:
        self.outlet = outlet
        self.now = now
        self.longest = longest
        """Seconds that a call may take which names no shorter time itself."""
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self.refused: list[tuple[int, bytes]] = []
        """Call ids and answers."""

    def arrival(self, call: Call, request_id: str | None, timeout_ms: int) -> Arrival:
        """Return the call with what its message says of itself."""
        call_id, _, _, left, metadata, _ = call
        deadline = self.now + seconds_for(timeout_ms, left, self.longest)
        return Arrival(self.outlet, call_id, request_id, self.now, deadline, metadata)

    def refuse(
        self, call: Call, request_id: str | None, error: DatabaseError, *, context: str = ""
    ) -> None:
        """Answer a call that makes no sense, or finds no room."""
        body = refusal(error, context=context) + encode.tail(request_id, 0)
        self.refused.append((call[0], body))
