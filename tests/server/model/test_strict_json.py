"""Documents that two readers could understand differently are refused."""

import pytest
from amaters_server.model.strict_json import parsed


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"a": 1, "a": 2}', "has the name 'a' twice"),
        ('[{"x": {"c": 2, "b": 1, "b": 1}}]', "has the name 'b' twice"),
        ("[NaN]", "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("[" * 100_000, "nested too deep"),
        (b'"\xff"', "decode"),
        ("[]".encode("utf-16"), "decode"),
        ("[1,]", "line 1"),
    ],
)
def test_what_is_ambiguous_is_refused(document, reason):
    with pytest.raises(ValueError, match=reason):
        parsed(document)


def test_what_is_sound_is_returned():
    assert parsed(b'{"a": [1, 2.5, null], "b": {"a": "\xc3\xa4"}}') == {
        "a": [1, 2.5, None],
        "b": {"a": "ä"},
    }
