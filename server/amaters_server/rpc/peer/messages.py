"""What members say to each other on a channel: calls, frames of raft messages, introductions."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.transport.calls import Metadata
from amaters_server.rpc.transport.channels import Channel
from amaters_server.telemetry.tracing.proposals import TraceNote
from amaters_server.wire import peer_pb2

FRAME_BYTES = 4 * 1024 * 1024
LONGEST_NUMBER = 20
"""Digits of the largest number a field holds."""

Response = TypeVar("Response", bound=Message)

_SERVICE = peer_pb2.DESCRIPTOR.services_by_name["PeerService"].full_name


def path(method: str) -> str:
    """Return the full path of a method of PeerService."""
    return f"/{_SERVICE}/{method}"


async def answer_to(
    request: Message,
    kind: type[Response],
    channel: Channel,
    method: str,
    seconds: float,
    metadata: Metadata | None = None,
) -> Response:
    """Ask a method of PeerService; OSError when there is no answer that makes sense."""
    answer = await channel.ask(path(method), request.SerializeToString(), seconds, metadata)
    return answered(answer, kind, method)


def answered(answer: bytes, kind: type[Response], method: str) -> Response:
    """Return what a method of PeerService answered; OSError when it makes no sense."""
    try:
        return kind.FromString(answer)
    except DecodeError as wrong:
        raise ConnectionError(f"the answer to {method} is no {kind.DESCRIPTOR.name}") from wrong


def frames(messages: Sequence[bytes]) -> Iterator[bytes]:
    """Yield serialized frames, each as large as a frame should be, or with one larger message."""
    if any(type(one) is TraceNote for one in messages):
        traced = [
            peer_pb2.TracedProposal.FromString(one) for one in messages if type(one) is TraceNote
        ]
        yield peer_pb2.Frame(traced=traced).SerializeToString()
        messages = [one for one in messages if type(one) is not TraceNote]
    first = size = 0
    for at, message in enumerate(messages):
        if at > first and size + len(message) > FRAME_BYTES:
            yield peer_pb2.Frame(messages=messages[first:at]).SerializeToString()
            first, size = at, 0
        size += len(message)
    yield peer_pb2.Frame(messages=messages[first:]).SerializeToString()


def introduction(own: PeerIdentity, to: int) -> Metadata:
    """Say on a call who is calling whom."""
    return [
        ("amaters-cluster", own.cluster_id),
        ("amaters-from", str(own.node_id)),
        ("amaters-to", str(to)),
        ("amaters-version", ".".join(str(part) for part in own.version)),
    ]


def introduced(metadata: Metadata) -> peer_pb2.HandshakeRequest:
    """Read an introduction; what is missing or malformed is left empty."""
    headers = {key: str(value) for key, value in metadata}
    parts = headers.get("amaters-version", "").split(".")
    numbers = [_number(part, bits=32) for part in parts] + [0, 0, 0]
    return peer_pb2.HandshakeRequest(
        cluster_id=headers.get("amaters-cluster", ""),
        sender=_number(headers.get("amaters-from", "")),
        to=_number(headers.get("amaters-to", "")),
        version_major=numbers[0],
        version_minor=numbers[1],
        version_patch=numbers[2],
    )


def _number(text: str, *, bits: int = 64) -> int:
    """Return the number; 0 when it is none, or none the field could hold."""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        return 0
    number = int(text)
    return number if number < 1 << bits else 0
