"""ExecuteBatch: all its queries take effect together, or none does."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters.wire.aql_pb2 import BatchRequest
from amaters.wire.query_pb2 import Query
from google.protobuf.message import DecodeError

from amaters_server.model.errors import DatabaseError, MalformedError
from amaters_server.model.keys import collection_prefix
from amaters_server.model.queries import Operation, Put, Read, Remove, Result, Write
from amaters_server.rpc import decode, encode
from amaters_server.rpc.arrivals import Arrival, seconds_for
from amaters_server.rpc.calls import Call, Outlet
from amaters_server.rpc.ledger import Encoder, refusal
from amaters_server.rpc.workshop import Workshop
from amaters_server.telemetry.counters import Op


class Batches:
    """Decodes batches of queries and gives each to the node as one write or one read."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop

    def execute(self, calls: Sequence[Call], outlet: Outlet) -> None:
        """Take all waiting calls; those that make no sense are answered at once."""
        now = self._shop.now()
        writes: list[Write] = []
        reads: list[Read] = []
        refused: list[tuple[int, bytes]] = []
        for call_id, _, message, left, metadata, _ in calls:
            request_id = None
            try:
                request = BatchRequest.FromString(message)
                if request.HasField("request_id"):
                    request_id = request.request_id
                deadline = now + seconds_for(request, left, self._shop.limits.request_seconds)
                arrival = Arrival(outlet, call_id, request_id, now, deadline, metadata)
                self._accept(request, arrival, writes, reads)
            except _QueryRefusedError as wrong:
                text = f"Query {wrong.index} in batch failed to parse: "
                body = refusal(wrong.error, context=text)
                refused.append((call_id, body + encode.tail(request_id, 0)))
            except DatabaseError as error:
                refused.append((call_id, refusal(error) + encode.tail(request_id, 0)))
            except DecodeError:
                refused.append((call_id, refusal(MalformedError("this is no BatchRequest"))))
        self._shop.hand_over(writes, reads)
        self._shop.ledger.refuse(refused, outlet)

    def _accept(
        self, request: BatchRequest, arrival: Arrival, writes: list[Write], reads: list[Read]
    ) -> None:
        plan = _Plan.of(request)
        if plan.commands:
            waiting = arrival.waiting(self._shop.ledger.ops[Op.BATCH], self._encoder(plan))
            self._shop.spawn(self._with_commands(plan, arrival), waiting, arrival.deadline)
            return
        session = arrival.session
        ticket = self._shop.ledger.enter(
            arrival.waiting(self._shop.ledger.ops[Op.BATCH], self._encoder(plan))
        )
        if not plan.operations:
            self._shop.ledger.answered([(ticket, [])])
        elif plan.writing:
            writes.append(
                Write(ticket, plan.operations, arrival.deadline, *session, forward=arrival.forward)
            )
        else:
            reads.append(Read(ticket, plan.operations, arrival.deadline, stale=arrival.stale))

    async def _with_commands(self, plan: "_Plan", arrival: Arrival) -> list[Result]:
        results: list[Result] = []
        if plan.operations:
            results = await self._shop.perform(plan.operations, arrival, writing=plan.writing)
        for index, key in sorted(plan.commands.items()):
            results.insert(index, await self._shop.intercept.answer(key))
        return results

    def _encoder(self, plan: "_Plan") -> Encoder:
        def encoder(results: list[Result]) -> bytes:
            pairs = zip(results, plan.prefix_lengths, strict=True)
            body = encode.batch_response(encode.query_result(*pair) for pair in pairs)
            return self._shop.fitting(body, written=plan.writing)

        return encoder


@dataclass(frozen=True, slots=True)
class _Plan:
    """A batch taken apart."""

    operations: list[Operation]
    commands: dict[int, bytes]
    """Administrative commands among its Gets, by their place in the batch."""
    prefix_lengths: list[int]
    """For every query, how much of its data keys is the collection's."""

    @property
    def writing(self) -> bool:
        """Whether anything in it changes something."""
        return any(isinstance(one, Put | Remove) for one in self.operations)

    @classmethod
    def of(cls, request: BatchRequest) -> "_Plan":
        """Decode every query; _QueryRefusedError names the first that makes no sense."""
        plan = cls([], {}, [])
        for index, query in enumerate(request.queries):
            try:
                plan.prefix_lengths.append(_prefix_length(query))
                if query.get.key.data.startswith(decode.ADMIN_PREFIX):
                    plan.commands[index] = query.get.key.data
                else:
                    plan.operations.append(decode.operation(query))
            except DatabaseError as error:
                raise _QueryRefusedError(index, error) from error
        return plan


def _prefix_length(query: Query) -> int:
    return len(collection_prefix(query.range.collection)) if query.HasField("range") else 0


class _QueryRefusedError(Exception):
    """One query of a batch makes no sense."""

    def __init__(self, index: int, error: DatabaseError) -> None:
        self.index = index
        self.error = error
        super().__init__(f"query {index}: {error}")
