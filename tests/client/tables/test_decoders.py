"""Bytes of others: whatever is in a file or an answer, it is a value or an error of this client."""

import asyncio
import io
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import lz4.frame
import pytest
from amaters.cli.commands.tables import records
from amaters.cli.commands.tables.backup_file import rows_of_backup
from amaters.cli.commands.tables.bookmark import Bookmark
from amaters.cli.commands.tables.counting import rows_of
from amaters.cli.commands.tables.records import Layout
from amaters.data.client import AmatersClient
from amaters.errors import AmatersError
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["collections", "collection", "keys", "rows"]), inner)
    ),
    max_leaves=8,
)
ANYTHING = st.binary(max_size=300) | JSON.map(lambda one: json.dumps(one).encode())


@pytest.mark.parametrize("layout", Layout)
@given(data=ANYTHING)
def test_any_file_is_records_or_an_error(layout: Layout, data: bytes) -> None:
    with suppress(AmatersError):
        list(records.read(io.BytesIO(data), layout))


@given(data=st.binary(max_size=300), framed=st.booleans())
def test_any_backup_is_rows_or_an_error(data: bytes, framed: bool) -> None:
    content = lz4.frame.compress(data) if framed else data
    file = b"AMSNAP\x01\x00" + bytes(32) + content
    with pytest.raises(AmatersError):
        list(rows_of_backup(io.BytesIO(file), "c", name="backup.bin"))


@given(data=ANYTHING | JSON.map(lambda one: json.dumps({"rows": one, "size": 1}).encode()))
def test_any_mark_is_a_mark_or_an_error(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        bookmark = Bookmark(Path(folder) / "table.csv", {"collection": "c"})
        bookmark.path.write_bytes(data)
        with suppress(AmatersError):
            bookmark.load()


class Answers:
    """A client whose every get is answered so."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def get(self, *_: object) -> bytes:
        return self._answer


@given(data=ANYTHING)
def test_any_answer_is_a_count_or_none(data: bytes) -> None:
    found = asyncio.run(rows_of(cast("AmatersClient", Answers(data)), "c"))

    assert found is None or isinstance(found, int)
