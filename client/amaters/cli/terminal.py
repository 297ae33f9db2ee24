"""The context of every command: settings, output, and running a coroutine with a client."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import click

from amaters.admin.client import AdminClient
from amaters.cli.output import Output
from amaters.cli.settings import Settings
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, UnreachableError
from amaters.values import ClientOptions

T = TypeVar("T")

ADMIN_DIAL = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Terminal:
    """One call of the program."""

    settings: Settings
    out: Output

    @property
    def collection(self) -> str:
        """The collection the command works on."""
        return self.settings.collection

    def only(self, address: str) -> "Terminal":
        """Return the same call for one server alone."""
        return replace(self, settings=replace(self.settings, servers=(address,)))

    def at(self, servers: tuple[str, ...]) -> "Terminal":
        """Return the same call for other servers."""
        return replace(self, settings=replace(self.settings, servers=servers))

    def with_client(self, action: Callable[[AmatersClient], Awaitable[T]]) -> T:
        """Run the action with a client of the servers; the connection closes afterwards."""

        async def run() -> T:
            async with await self.connected() as client:
                return await action(client)

        return asyncio.run(run())

    async def connected(self) -> AmatersClient:
        """Return a client of the servers once one of them is connected."""
        options = ClientOptions(
            connect_timeout=min(self.settings.timeout, timedelta(seconds=10)),
            request_timeout=self.settings.timeout,
            server_name=self.settings.server_name,
            plaintext_login=self.settings.plaintext_login,
        )
        return await AmatersClient.connect(
            self.settings.servers,
            credentials=self.settings.tls,
            login=self.settings.login,
            options=options,
        )

    def with_admin(self, action: Callable[[AdminClient], Awaitable[T]]) -> T:
        """Run the action with the first internal listener that can be reached."""

        async def run() -> T:
            async with await self.reach_admin() as admin:
                return await action(admin)

        return asyncio.run(run())

    async def reach_admin(self) -> AdminClient:
        """Return a client of the first internal listener that can be reached."""
        failures: list[AmatersError] = []
        for address in self.settings.admins:
            admin = self.admin_at(address)
            try:
                await admin.reach(min(self.settings.timeout, ADMIN_DIAL))
            except UnreachableError as error:
                await admin.close()
                failures.append(error)
            else:
                return admin
        reasons = "; ".join(str(one) for one in failures)
        raise UnreachableError(
            f"no internal listener answers (name another with --admin HOST:PORT): {reasons}"
        )

    def admin_at(self, address: str) -> AdminClient:
        """Return a client of that internal listener, not connected yet."""
        return AdminClient.connect(
            address,
            credentials=self.settings.tls,
            server_name=self.settings.server_name,
            timeout=self.settings.timeout,
        )


pass_terminal = click.make_pass_decorator(Terminal)
