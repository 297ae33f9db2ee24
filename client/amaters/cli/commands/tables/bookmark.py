"""Where an interrupted import or export goes on: a small file beside the one it is about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amaters.errors import ConfigurationError, RefusedError

Identity = Mapping[str, str | int | None]
"""What the work is about; another one cannot be continued."""

SUFFIX = ".resume"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the work is."""

    rows: int = 0
    size: int = 0
    """Bytes of the file that belong to these rows."""
    last_key: str = ""
    """Of an export, in hexadecimal."""


class Bookmark:
    """The mark of one file."""

    def __init__(self, file: Path, identity: Identity) -> None:
        self.path = file.with_name(file.name + SUFFIX)
        self._identity = dict(identity)

    def load(self) -> Mark:
        """Return the mark; RefusedError when there is none, or one of other work."""
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            mark = Mark(int(stored["rows"]), int(stored["size"]), str(stored["last_key"]))
        except FileNotFoundError:
            raise RefusedError(
                f"there is nothing to resume, for {self.path} does not exist: leave out --resume"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path} ({error.strerror})") from error
        except (ValueError, KeyError, TypeError):
            raise RefusedError(
                f"{self.path} is damaged: delete it, and start again without --resume"
            ) from None
        changed = [
            f"{name} was {stored.get(name)!r} and is {value!r}"
            for name, value in self._identity.items()
            if stored.get(name) != value
        ]
        if changed:
            raise RefusedError(
                f"{self.path} is about something else ({', '.join(changed)}): start again without "
                "--resume"
            )
        return mark

    def save(self, mark: Mark) -> None:
        """Replace the mark; ConfigurationError when the folder cannot be written."""
        facts = {
            **self._identity,
            "rows": mark.rows,
            "size": mark.size,
            "last_key": mark.last_key,
        }
        draft = self.path.with_name(self.path.name + ".new")
        try:
            draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            draft.replace(self.path)
        except OSError as error:
            raise ConfigurationError(f"cannot write {self.path} ({error.strerror})") from error

    def remove(self) -> None:
        """Forget the mark: the work is done."""
        self.path.unlink(missing_ok=True)
