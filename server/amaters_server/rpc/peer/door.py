"""Where members are let in, each as itself alone."""

from amaters_server.model.errors import CertificateRefusedError, InvalidRequestError
from amaters_server.rpc.peer.identities import Identities, Refusal
from amaters_server.rpc.peer.messages import introduced
from amaters_server.rpc.peer.ports import ProvideNode
from amaters_server.rpc.transport.calls import Metadata
from amaters_server.wire import peer_pb2


class Door:
    """Compares whom callers name with their certificates, before the node decides."""

    def __init__(self, node: ProvideNode, identities: Identities) -> None:
        self._node = node
        self._identities = identities

    def handshake(
        self, request: peer_pb2.HandshakeRequest, connection: int
    ) -> peer_pb2.HandshakeResponse:
        """Accept or refuse a connection; an impostor does not learn which cluster this is."""
        addresses = self._node().addresses_of(request)
        if addresses is not None:
            who = f"member {request.sender}"
            reason = self._identities.impostor(connection, who, addresses)
            if reason:
                self._node().look_up(request)
                return peer_pb2.HandshakeResponse(reason=reason)
        return self._node().handshake(request)

    def admit(self, metadata: Metadata, connection: int) -> int:
        """Return which member is calling; InvalidRequestError for one who may not."""
        request = introduced(metadata)
        answer = self.handshake(request, connection)
        if not answer.accepted:
            raise InvalidRequestError(answer.reason)
        return request.sender

    def require_address(self, address: str, connection: int) -> None:
        """Raise CertificateRefusedError when the caller's certificate is not for that address."""
        reason = self._identities.impostor(connection, "the node that asks", [address])
        if reason:
            raise CertificateRefusedError(reason)

    def require_own(self, call: peer_pb2.ForwardRequest, sender: int, connection: int) -> None:
        """Raise when a member announces another one, or an address that is not its own."""
        kind = call.WhichOneof("call")
        if kind == "stopping_member":
            named = call.stopping_member.id
        elif kind == "announce_member":
            named = call.announce_member.id
            self.require_address(call.announce_member.peer_address, connection)
        else:
            return
        if named != sender:
            reason = f"member {sender} speaks for member {named}: members announce only themselves"
            self._identities.refuse(Refusal.SENDER, connection, reason)
            raise InvalidRequestError(reason)
