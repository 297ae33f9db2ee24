"""The yardstick for Python: grpcio.aio on uvloop, the same messages, a dict, and nothing else.

Run as a program: `python -m bench.bare_grpcio PORT`.
"""

import asyncio
import sys
import zlib

import grpc
import grpc.aio
import uvloop
from amaters.wire import aql_pb2, query_pb2, types_pb2


class Records:
    """Keeps what it is given in memory; checks the checksum, as a real server must."""

    def __init__(self) -> None:
        self._values: dict[bytes, types_pb2.CipherBlob] = {}

    async def query(self, request: aql_pb2.QueryRequest, _context: object) -> aql_pb2.QueryResponse:
        """Answer one Get or Set."""
        return aql_pb2.QueryResponse(result=self._result(request.query))

    async def batch(self, request: aql_pb2.BatchRequest, _context: object) -> aql_pb2.BatchResponse:
        """Answer many at once."""
        results = [self._result(query) for query in request.queries]
        return aql_pb2.BatchResponse(results=aql_pb2.BatchResult(results=results))

    def _result(self, query: query_pb2.Query) -> query_pb2.QueryResult:
        if query.WhichOneof("query") == "set":
            blob = query.set.value
            if zlib.crc32(blob.data) != blob.metadata.checksum:
                raise ValueError("checksum mismatch")
            self._values[query.set.key.data] = blob
            return query_pb2.QueryResult(success=query_pb2.SuccessResult(affected_rows=1))
        found = self._values.get(query.get.key.data)
        return query_pb2.QueryResult(single=query_pb2.SingleResult(value=found))


async def serve(port: int) -> None:
    """Answer until the process is terminated."""
    records = Records()
    methods = {
        "ExecuteQuery": grpc.unary_unary_rpc_method_handler(
            records.query,
            request_deserializer=aql_pb2.QueryRequest.FromString,
            response_serializer=aql_pb2.QueryResponse.SerializeToString,
        ),
        "ExecuteBatch": grpc.unary_unary_rpc_method_handler(
            records.batch,
            request_deserializer=aql_pb2.BatchRequest.FromString,
            response_serializer=aql_pb2.BatchResponse.SerializeToString,
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("amaters.aql.AqlService", methods),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
