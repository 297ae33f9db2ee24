"""The migrations of this version."""

from pathlib import Path

from amaters_server.storage import durable_mark
from amaters_server.storage.migrations.registry import Migration, MigrationRegistry

DATABASE = "db"
"""The folder of the database in a data folder."""


def _name_the_format(_: Path) -> None:
    """Change nothing: that it has been done is what the file says."""


def _name_the_manifest(folder: Path) -> None:
    """Have a mark of versions before 0.4 say how much there is of the manifest.

    From then on a cut manifest is missed from the first start, not only after the first write.
    """
    durable_mark.name_manifest(folder / DATABASE)


MIGRATIONS = MigrationRegistry(
    (
        Migration(1, "name_the_format", _name_the_format),
        Migration(2, "name_the_manifest", _name_the_manifest),
    )
)
