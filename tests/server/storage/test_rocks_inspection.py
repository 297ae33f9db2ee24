"""A checkpoint is read past the caches, however the database was tuned."""

import pytest
from amaters_server.storage.engine import Changes, DamagedError, Space
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import Compaction, RocksTuning


@pytest.mark.parametrize(
    "tuning",
    [
        RocksTuning(),
        RocksTuning(levels=9, bloom_bits_per_key=0),
        RocksTuning(compaction=Compaction.UNIVERSAL, levels=3),
    ],
)
def test_a_database_of_any_tuning_is_inspected(tmp_path, tuning):
    engine = RocksEngine(tmp_path / "db", tuning)
    for number in range(3):
        changes = Changes()
        changes.put(Space.DATA, b"k%d" % number, b"v")
        changes.put(Space.META, b"m%d" % number, b"v")
        engine.write(changes, sync=True)
        engine.checkpoint(tmp_path / f"copy-{number}")

    read = []
    for number in range(3):
        inspection = engine.inspected(tmp_path / f"copy-{number}")
        read.append([len(list(inspection.rows(space, b""))) for space in Space])
        inspection.close()
    engine.close()

    assert [sum(one) for one in read] == [2, 4, 6]


def test_a_table_that_is_missing_or_cut_is_damage(tmp_path):
    engine = RocksEngine(tmp_path / "db")
    changes = Changes()
    changes.put(Space.DATA, b"k", b"v" * 10_000)
    engine.write(changes, sync=True)
    for name in ("missing", "cut"):
        engine.checkpoint(tmp_path / name)
        [*_, table] = sorted((tmp_path / name).glob("*.sst"), key=lambda one: one.stat().st_size)
        content = table.read_bytes()
        table.unlink()
        if name == "cut":
            table.write_bytes(content[:-10])

        with pytest.raises(DamagedError, match=r"Corruption|IO error") as damaged:
            engine.inspected(tmp_path / name)

        assert table.name in damaged.value.what
        assert str(tmp_path) not in damaged.value.what
    engine.close()
