"""Records in files: what is written is read again, and what is malformed is named by its line."""

import io

import pytest
from amaters.cli.commands.tables import records
from amaters.cli.commands.tables.records import Layout, UnreadableRecordError
from amaters.errors import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st

LETTERS = st.text().map(str.encode) | st.binary(max_size=50) | st.just(b"BASE64:x")
TABLE = st.lists(st.tuples(LETTERS, LETTERS), max_size=20)


def written(layout: Layout, rows: list[tuple[bytes, bytes]]) -> bytes:
    encode = records.writer(layout)
    return records.head_of(layout) + b"".join(encode(*row) for row in rows)


def read(layout: Layout, data: bytes) -> list[tuple[bytes, bytes]]:
    return list(records.read(io.BytesIO(data), layout))


@pytest.mark.parametrize("layout", [Layout.NDJSON, Layout.CSV])
@given(rows=TABLE)
def test_any_bytes_go_there_and_back(layout: Layout, rows: list[tuple[bytes, bytes]]) -> None:
    assert read(layout, written(layout, rows)) == rows


@given(rows=TABLE)
def test_the_nul_form_holds_all_but_nul(rows: list[tuple[bytes, bytes]]) -> None:
    if any(b"\0" in one for row in rows for one in row):
        with pytest.raises(InvalidRequestError, match="NUL byte"):
            written(Layout.NUL, rows)
    else:
        assert read(Layout.NUL, written(Layout.NUL, rows)) == rows


@pytest.mark.parametrize(
    ("layout", "data", "said"),
    [
        (Layout.NDJSON, b'{"key":"a","value":"b"}\n{"key":', "line 2: it is no JSON"),
        (Layout.NDJSON, b"[1]", "line 1: it is no object"),
        (Layout.NDJSON, b'\n\n{"key":"a"}', "line 3: its value has none"),
        (Layout.NDJSON, b'{"key":1,"value":"b"}', "line 1: its key is of type int"),
        (Layout.NDJSON, b'{"key":"BASE64:?","value":""}', "line 1: its key begins with BASE64:"),
        (Layout.NDJSON, b'{"key":"\\ud800","value":""}', "half of a letter"),
        (Layout.NDJSON, b"[" * 100_000, "line 1: it is no JSON"),
        (Layout.NDJSON, b"\xff\xfe", "line 1: it is no JSON"),
        (Layout.CSV, b"a,b\n1,2\n", "line 1: the header names a, b: it must name key and value"),
        (Layout.CSV, b"key,value\na\n", "line 2: it has only 1 fields"),
        (Layout.CSV, b'key,value\na,"b', "line 2: it is no CSV"),
        (Layout.CSV, b'key,value\na,"b"c\n', "line 2: it is no CSV"),
        (Layout.CSV, b"key,value\na,\xff\n", "it is no CSV in UTF-8"),
        (Layout.NUL, b"a\0b\0c", "record 2: the file ends in the middle of it"),
        (Layout.NUL, b"a\0b\0c\0", "record 2: the file ends in the middle of it"),
    ],
)
def test_what_is_malformed_is_named_by_its_place(layout: Layout, data: bytes, said: str) -> None:
    with pytest.raises(UnreadableRecordError) as raised:
        read(layout, data)

    assert said in str(raised.value)


@pytest.mark.parametrize("layout", Layout)
def test_a_record_without_an_end_is_not_read_into_memory(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LARGEST_RECORD", 1000)
    monkeypatch.setattr(records, "_PIECE", 100)

    with pytest.raises(UnreadableRecordError, match="more than 1000"):
        read(layout, records.head_of(layout) + b"x" * 5000)


def test_spreadsheets_are_read_with_their_mark_their_columns_and_their_line_ends() -> None:
    data = b'\xef\xbb\xbfid, Value ,KEY\r\n1,"x,\r\ny",a\r\n\r\n2,"",b\r\n'

    assert read(Layout.CSV, data) == [(b"a", b"x,\r\ny"), (b"b", b"")]
