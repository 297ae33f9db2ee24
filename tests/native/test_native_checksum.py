import hypothesis.strategies as st
import pytest
from amaters_native.checksum import FNV_OFFSET_BASIS, fnv1_64, fnv1a64
from hypothesis import given


@pytest.mark.parametrize(
    ("data", "one", "one_a"),
    [
        (b"", 0xCBF29CE484222325, 0xCBF29CE484222325),
        (b"a", 0xAF63BD4C8601B7BE, 0xAF63DC4C8601EC8C),
        (b"hello", 0x7B495389BDBDD4C7, 0xA430D84680AABD0B),
        (b"foobar", 0x340D8765A4DDA9C2, 0x85944171F73967E8),
    ],
)
def test_published_vectors(data: bytes, one: int, one_a: int) -> None:
    assert fnv1_64(data) == one
    assert fnv1a64(data) == one_a


def slowly(data: bytes) -> int:
    state = FNV_OFFSET_BASIS
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return state


@given(st.lists(st.binary(max_size=100)))
def test_pieces_give_the_checksum_of_the_whole(pieces: list[bytes]) -> None:
    state = FNV_OFFSET_BASIS
    for piece in pieces:
        state = fnv1a64(piece, state)

    assert state == fnv1a64(b"".join(pieces)) == slowly(b"".join(pieces))


def test_any_contiguous_buffer_will_do() -> None:
    data = bytes(range(256)) * 400

    assert fnv1a64(bytearray(data)) == fnv1a64(memoryview(data)) == fnv1a64(data) == slowly(data)


def test_anything_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not contiguous"):
        fnv1a64(memoryview(b"abcd")[::2])
    with pytest.raises(TypeError):
        fnv1a64("text")  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        fnv1a64(b"", 2**64)
