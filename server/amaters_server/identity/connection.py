"""Who calls over one connection: nearly always the one who did before, with the same credential."""

from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.credentials import (
    AUTHORIZATION,
    Credentials,
    Metadata,
    credentials_of,
)
from amaters_server.model.errors import AuthenticationError
from amaters_server.model.principal import Principal


def ip_address(peer: str) -> str:
    """Return the address in host:port or [host]:port."""
    return peer.rpartition(":")[0].strip("[]")


class ConnectionCallers:
    """The callers of one connection. Its last credential is compared, and not even digested."""

    def __init__(
        self, authenticator: Authenticator, *, peer: str, certificate: bytes = b""
    ) -> None:
        """`peer` is host:port or [host]:port.

        `certificate` is the verified one of the client (DER), if it presented one.
        """
        self._authenticator = authenticator
        self.address = ip_address(peer)
        """Of the other side, without port."""
        self._certificate = certificate
        self._credential: tuple[str, str | bytes] | None = None
        self._principal: Principal | None = None
        self._generation = -1

    @property
    def generation(self) -> int:
        """The authenticator's; goes up when principals found so far count no more."""
        return self._authenticator.generation

    def current(self, principal: Principal, generation: int) -> bool:
        """Whether a principal that was found at this generation still counts."""
        authenticator = self._authenticator
        if generation != authenticator.generation:
            return False
        return not principal.expired(authenticator.unix_seconds())

    def known(self, metadata: Metadata) -> Principal | None:
        """Return the caller if it was verified before; None: `authenticate` has to."""
        authenticator = self._authenticator
        header = authenticator.methods.api_key_header
        credential = None
        for pair in metadata or ():
            name = pair[0]
            if name in (AUTHORIZATION, header):
                if credential is not None:
                    break
                credential = pair
        else:
            principal = self._principal
            if (
                principal is not None
                and credential == self._credential
                and self._generation == authenticator.generation
                and not principal.expired(authenticator.unix_seconds())
            ):
                return principal
        # Several credentials at once come here, too, and are refused.
        try:
            found = authenticator.known(self._credentials(metadata))
        except AuthenticationError:
            return None
        if found is not None:
            self._remember(credential, found)
        return found

    async def authenticate(self, metadata: Metadata) -> Principal:
        """Return the caller; errors and waits are those of `Authenticator.authenticate`."""
        try:
            credentials = self._credentials(metadata)
        except AuthenticationError as refused:
            self._authenticator.refused(refused, self.address)
            raise
        return await self._authenticator.authenticate(credentials)

    def _credentials(self, metadata: Metadata) -> Credentials:
        return credentials_of(
            metadata,
            address=self.address,
            api_key_header=self._authenticator.methods.api_key_header,
            certificate=self._certificate,
        )

    def _remember(self, credential: tuple[str, str | bytes] | None, principal: Principal) -> None:
        self._credential, self._principal = credential, principal
        self._generation = self._authenticator.generation
