"""Reading lines from a person: the only door to `prompt_toolkit`."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import DynamicCompleter, NestedCompleter
from prompt_toolkit.history import InMemoryHistory
from typing_extensions import override

Completions = dict[str, dict[str, None] | None]
"""Words that may begin a line, and for each the words that may follow it."""


class Reader(Protocol):
    """Where lines come from."""

    async def line(self, prompt: str) -> str | None:
        """Return the next line, None at the end; KeyboardInterrupt when it was given up."""
        ...


class Prompt(Reader):
    """A person at a terminal: history, completion, editing."""

    def __init__(self, history: Sequence[str], completions: Callable[[], Completions]) -> None:
        def completer() -> NestedCompleter:
            return NestedCompleter.from_nested_dict(completions())

        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory(history),
            completer=DynamicCompleter(completer),
            complete_while_typing=False,
        )

    @override
    async def line(self, prompt: str) -> str | None:
        """Ask for a line."""
        try:
            return await self._session.prompt_async(prompt)
        except EOFError:
            return None


class Script(Reader):
    """Lines of a file or pipe, without prompts."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)

    @override
    async def line(self, prompt: str) -> str | None:
        """Return the next line."""
        found = next(self._lines, None)
        return None if found is None else found.rstrip("\n")


def reader(history: Sequence[str], completions: Callable[[], Completions]) -> Reader:
    """Return what reads stdin: with a prompt on a terminal, line by line elsewhere."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        return Prompt(history, completions)
    return Script(sys.stdin or ())
