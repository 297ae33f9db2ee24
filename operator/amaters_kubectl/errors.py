"""Every error of the plugin: a stable code, the fact, and the next step."""

INTERRUPTED = 130
"""The exit code of shells for a program that Ctrl-C ended."""


class PluginError(Exception):
    """What the command could not do; `code` is for programs and never reused."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class NotThereError(PluginError):
    """What was named does not exist."""


class ConflictError(PluginError):
    """The object changed between reading and writing it: read again."""


class NotInTimeError(PluginError):
    """What was asked for is written, and was not reached within the time."""
