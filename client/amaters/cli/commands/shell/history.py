"""What was typed, in a file: `$XDG_DATA_HOME/amaters/history` or `~/.amaters/history`."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

MOST = 1000
"""Lines that are kept."""


def default_path(environment: Mapping[str, str]) -> Path:
    """Return where the history is kept."""
    data = environment.get("XDG_DATA_HOME")
    if data:
        return Path(data) / "amaters" / "history"
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return (Path(home) if home else Path.home()) / ".amaters" / "history"


class History:
    """The lines, the oldest first; a file that cannot be read or written is done without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines: list[str] = []
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            self.lines = text.splitlines()[-MOST:]

    def add(self, line: str) -> None:
        """Keep a line: no comment, and not the same one twice in a row."""
        flat = " ".join(line.splitlines()).strip()
        if not flat or flat.startswith("#") or (self.lines and self.lines[-1] == flat):
            return
        self.lines.append(flat)
        del self.lines[:-MOST]

    def save(self) -> None:
        """Replace the file; readable by its owner only, for values are typed here."""
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self.lines)
            draft.replace(self._path)
