"""`amaters-cli interactive`: the loop that reads lines and carries them out."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass

import click

from amaters.cli.commands.shell import language
from amaters.cli.commands.shell.history import History, default_path
from amaters.cli.commands.shell.language import VERBS, Line
from amaters.cli.commands.shell.prompt import Completions, Reader, Script, reader
from amaters.cli.commands.shell.session import LOCAL, Session
from amaters.cli.commands.tables.queries import ask
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.errors import AmatersError, InvalidRequestError
from amaters.transport.addresses import distinct_addresses
from amaters.version import __version__

CONTINUATION = "... > "


@click.command(
    "interactive",
    epilog=example(
        "amaters-cli interactive",
        "amaters-cli -c users interactive --server demo:7878",
    ),
)
@click.option("-u", "--server", metavar="URL", help="The server, as with amaters-cli --server.")
@pass_terminal
def interactive(terminal: Terminal, server: str | None) -> None:
    """Read commands from a prompt, with history and completion; `help` lists them.

    The history is in ~/.amaters/history. Ctrl-C gives a line or a running command up, Ctrl-D
    leaves. From a pipe the lines are carried out without a prompt: the first that fails ends the
    program with exit code 1.
    """
    if server is not None:
        terminal = terminal.at(distinct_addresses(server))
    history = History(default_path(os.environ))
    session = Session(terminal, ask, terminal.collection)
    lines = reader(history.lines, lambda: completions(session))
    shell = _Shell(terminal, session, history, lines)
    failed = asyncio.run(shell.run())
    if failed:
        click.get_current_context().exit(1)


def completions(session: Session) -> Completions:
    """Return the words that may be typed now."""
    found: Completions = dict.fromkeys(verb.name for verb in VERBS)
    found["use"] = dict.fromkeys(sorted(session.collections))
    found["timing"] = found["\\timing"] = {"on": None, "off": None}
    return found


@dataclass(frozen=True, slots=True)
class _Shell:
    """The loop."""

    terminal: Terminal
    session: Session
    history: History
    lines: Reader

    @property
    def is_script(self) -> bool:
        """Whether nobody types."""
        return isinstance(self.lines, Script)

    async def run(self) -> bool:
        """Read and carry out lines until the end; returns whether a script failed."""
        try:
            if not self.is_script:
                await self._greet()
            while (text := await self._read()) is not None:
                try:
                    if not await self._carry_out(text):
                        break
                except AmatersError as error:
                    self.terminal.out.error(error)
                    if self.is_script:
                        return True
            return False
        finally:
            if not self.is_script:
                self.history.save()
            await self.session.close()

    async def _greet(self) -> None:
        print(f"AmateRS Interactive REPL v{__version__}\nType help for the commands.")
        try:
            await self._interruptible(self.session.look_at_collections())
        except AmatersError as error:
            # Not the end: the server may come, and `help` needs none.
            self.terminal.out.error(error)

    async def _read(self) -> str | None:
        """Return a line, joined with those that continue it; None at the end."""
        while True:
            lines: list[str] = []
            prompt = self.session.prompt
            try:
                while True:
                    line = await self.lines.line(prompt)
                    if line is None:
                        return language.joined(lines) if lines else None
                    lines.append(line)
                    if not language.continues(lines):
                        return language.joined(lines)
                    prompt = CONTINUATION
            except KeyboardInterrupt:
                continue

    async def _carry_out(self, text: str) -> bool:
        """Carry a line out; returns whether the shell goes on."""
        recalled = language.recalled(text, self.history.lines)
        if recalled != text:
            print(recalled)
        if not self.is_script:
            self.history.add(recalled)
        line = language.parse(recalled)
        if line is None:
            return True
        if line.verb.name not in LOCAL:
            await self._interruptible(self.session.run(line))
        return self._local(line)

    def _local(self, line: Line) -> bool:
        match line.verb.name:
            case "quit":
                return False
            case "clear":
                click.clear()
            case "history":
                for number, one in enumerate(self.history.lines, 1):
                    print(f"{number:5}  {one}")
            case _:
                pass
        sys.stdout.flush()
        return True

    async def _interruptible(self, work: Coroutine[object, object, None]) -> None:
        """Wait for it; Ctrl-C gives it up, and not the shell."""
        task = asyncio.get_running_loop().create_task(work, name="command")
        if self.is_script:
            await task
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise InvalidRequestError("interrupted: what was sent may have been done") from None
        finally:
            loop.remove_signal_handler(signal.SIGINT)
