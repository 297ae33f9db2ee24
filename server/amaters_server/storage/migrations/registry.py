"""The known migrations, in order. Pure.

Each one brings a data folder from one revision to the next. Most leave data that earlier versions
still read; one that does not raises the format, so that those refuse the folder.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Migration:
    """One step."""

    revision: int
    """Of the data afterwards."""
    name: str
    run: Callable[[Path], None]
    """Changes a data folder that nothing has open. A kill may come at any moment, and it is run
    again from its beginning: so it must lead to the same result."""
    needs: int = 1
    """The format that a version must know to read the data afterwards."""


class MigrationRegistry:
    """Migrations by the revision that they lead to; a chain without gaps from 1."""

    def __init__(self, migrations: Iterable[Migration] = ()) -> None:
        self._known: dict[int, Migration] = {}
        for one in migrations:
            self.register(one)

    def register(self, migration: Migration) -> None:
        """Add the next one; ValueError when it leaves a gap, or lowers the format."""
        if migration.revision != self.newest + 1:
            raise ValueError(
                f"migration {migration.name} leads to revision {migration.revision}: the next one "
                f"is {self.newest + 1}"
            )
        if migration.needs < self.format:
            raise ValueError(f"migration {migration.name} lowers the format to {migration.needs}")
        self._known[migration.revision] = migration

    @property
    def newest(self) -> int:
        """Return the revision of data that needs no migration; 0 without any."""
        return len(self._known)

    @property
    def format(self) -> int:
        """Return the format of such data."""
        return self._known[self.newest].needs if self._known else 1

    def get(self, revision: int) -> Migration | None:
        """Return the migration that leads there, or None."""
        return self._known.get(revision)

    def pending(self, revision: int) -> list[Migration]:
        """Return what data of that revision needs, in order; nothing for a later version's."""
        return [one for one in self._known.values() if one.revision > revision]
