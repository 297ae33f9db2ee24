"""etcd as a cluster whose leader can be disturbed, and a client that fails over as ours does."""

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import grpc
import grpc.aio
from amaters.values import ClientOptions

from bench import dialects
from bench.groups import Caller, Leader
from bench.steady import CallFailedError
from bench.targets import EtcdMembers

PATIENCE = ClientOptions()
"""Each attempt, and each call as a whole, waits exactly as long as with our client."""
CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),
)
MESSAGES: Any = grpc.protos("bench/wire/etcd.proto")


class EtcdGroup:
    """The members of one etcd cluster."""

    def __init__(self, members: EtcdMembers) -> None:
        self._members = members
        self.name = members.name
        self.start = members.start
        self.stop = members.stop

    async def leader(self) -> Leader:
        """Return the member that leads."""
        address, *_ = await self._members.addresses()
        return _LeadingMember(self._members, address)

    def caller(self, first: int) -> Caller:
        """Return a client that asks that member first."""
        addresses = self._members.all_addresses
        return _EtcdCaller([*addresses[first:], *addresses[:first]])


class _LeadingMember:
    def __init__(self, members: EtcdMembers, address: str) -> None:
        self._members = members
        self._address = address
        self.program = members.program_at(address)

    async def hand_over(self) -> None:
        others = (one for one in self._members.all_addresses if one != self._address)
        target = dialects.etcd_status(next(others)).member
        await asyncio.to_thread(dialects.etcd_move_leader, self._address, target)


class _EtcdCaller:
    def __init__(self, addresses: Sequence[str]) -> None:
        self._channels = [grpc.aio.insecure_channel(one, options=CHANNEL) for one in addresses]

    async def write(self, key: bytes, data: bytes) -> None:
        await self._call("Put", MESSAGES.PutRequest(key=key, value=data), MESSAGES.PutResponse)

    async def read(self, key: bytes) -> bytes | None:
        request = MESSAGES.RangeRequest(key=key)
        answer = await self._call("Range", request, MESSAGES.RangeResponse)
        return answer.kvs[0].value if answer.kvs else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close(None)

    async def _call(self, method: str, request: Any, response: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE.request_timeout.total_seconds()
        while True:
            try:
                return await self._attempt(method, request, response)
            except grpc.aio.AioRpcError as error:
                if loop.time() > deadline:
                    raise CallFailedError(error.details() or error.code().name) from error
                # The member that failed becomes the last choice.
                self._channels.append(self._channels.pop(0))
                await asyncio.sleep(PATIENCE.backoff_first.total_seconds() / 2)

    async def _attempt(self, method: str, request: Any, response: Any) -> Any:
        call = self._channels[0].unary_unary(
            f"/etcdserverpb.KV/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await call(request, timeout=PATIENCE.failover_silence.total_seconds())
