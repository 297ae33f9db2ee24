"""What is applied and not written yet, seen as a reader sees it."""

from amaters_server.machine.overlay import ABSENT, MOST_BATCHES, Overlay
from amaters_server.machine.view import MachineView


def values_of(overlay):
    return {key: value for layer in overlay.layers() for key, value in layer.values.items()}


def test_the_newest_value_shows_until_its_own_version_is_written():
    overlay = Overlay()
    overlay.add(1, {b"a": b"1", b"b": b"1"}, clears=False)
    overlay.add(2, {b"a": b"2"}, clears=False)

    overlay.written(1)

    assert overlay.get(b"a", ABSENT) == b"2"
    assert overlay.get(b"b", ABSENT) is ABSENT
    overlay.written(2)
    assert overlay.get(b"a", ABSENT) is ABSENT
    assert not overlay


def test_a_deletion_is_known_and_an_unknown_key_is_not():
    overlay = Overlay()
    overlay.add(1, {b"a": None}, clears=False)

    assert overlay.get(b"a", ABSENT) is None
    assert overlay.get(b"b", ABSENT) is ABSENT


def test_clearing_hides_everything_older_until_it_is_written():
    overlay = Overlay()
    overlay.add(1, {b"a": b"1"}, clears=False)
    overlay.add(2, {b"b": b"2"}, clears=True)
    overlay.written(1)

    assert overlay.hides_engine
    assert values_of(overlay) == {b"b": b"2"}
    overlay.written(2)
    assert not overlay.hides_engine


def test_many_batches_grow_together_and_stay_until_the_newest_of_them_is_written():
    overlay = Overlay()
    last = MOST_BATCHES + 3
    for version in range(1, last + 1):
        overlay.add(version, {b"all": b"%d" % version, b"%d" % version: b"own"}, clears=False)

    assert overlay.get(b"all", ABSENT) == b"%d" % last
    overlay.written(last - 1)
    assert overlay.get(b"%d" % (last - 1), ABSENT) == b"own"
    assert overlay.get(b"%d" % (MOST_BATCHES - 1), ABSENT) is ABSENT
    overlay.written(last)
    assert values_of(overlay) == {}


def test_what_was_copied_does_not_change_with_the_overlay():
    overlay = Overlay()
    for version in range(1, MOST_BATCHES + 1):
        overlay.add(version, {b"a": b"%d" % version}, clears=False)
    copied = values_of(overlay)

    overlay.add(MOST_BATCHES + 1, {b"a": b"newer"}, clears=False)

    assert copied == {b"a": b"%d" % MOST_BATCHES}


def test_the_rows_of_a_slow_write_are_shown_without_a_copy_and_between_others_in_order():
    many = {b"%03d" % number: b"new" for number in range(10)}
    overlay = Overlay()
    overlay.add(1, {b"003": b"older", b"x": b"older"}, clears=False)
    overlay.add(2, many, clears=False, keys=sorted(many))
    for version in range(3, 3 + 2 * MOST_BATCHES):
        overlay.add(version, {b"005": b"newer", b"y": None}, clears=False)

    layers = overlay.layers()
    overlay.add(99, {b"004": b"newest"}, clears=False)

    assert overlay.holds_many
    assert layers[1].values is many
    assert many[b"004"] == b"new"
    assert [len(one.values) for one in layers] == [2, 10, 2]
    assert overlay.get(b"003", ABSENT) == b"new"
    assert overlay.get(b"005", ABSENT) == b"newer"
    rows = MachineView(None, layers).scan(b"002", b"z")
    assert [key for key, value in rows if value != b"new"] == [b"005", b"x"]
    overlay.written(2)
    assert not overlay.holds_many
