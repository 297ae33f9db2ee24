"""How many sessions are remembered, and which are forgotten first."""

from amaters_server.machine.sessions import Sessions


def test_the_longest_unused_session_is_forgotten_first() -> None:
    sessions = Sessions(most=2)
    sessions.remember(b"a", 1, [1], 7)
    sessions.remember(b"b", 1, [1], 7)
    sessions.recall(b"a", 1, 7)

    sessions.remember(b"c", 1, [1], 7)

    assert [one.id for one in sessions.all()] == [b"a", b"c"]
    assert sessions.take_changed()[b"b"] is None
    assert sessions.recall(b"b", 1, 7) is None


def test_large_answers_are_forgotten_when_all_together_take_too_much() -> None:
    sessions = Sessions(most_bytes=3_000)
    for name in (b"a", b"b", b"c"):
        sessions.remember(name, 1, [b"x" * 500, [(b"k" * 400, b"v" * 400)]], 7)

    assert [one.id for one in sessions.all()] == [b"b", b"c"]


def test_the_newest_session_stays_however_large_its_answer() -> None:
    sessions = Sessions(most_bytes=10)

    sessions.remember(b"a", 1, [b"x" * 500], 7)

    assert sessions.recall(b"a", 1, 7) == [b"x" * 500]


def test_the_order_of_use_survives_a_restart() -> None:
    sessions = Sessions()
    for name in (b"a", b"b", b"c"):
        sessions.remember(name, 1, [1], 7)
    sessions.recall(b"a", 1, 7)

    again = Sessions(reversed(sessions.all()), most=3)
    again.remember(b"d", 1, [1], 7)

    assert [one.id for one in again.all()] == [b"c", b"a", b"d"]


def test_only_what_changed_is_written_again() -> None:
    sessions = Sessions()
    sessions.remember(b"a", 1, [1], 7)
    sessions.take_changed()

    sessions.remember(b"b", 1, [1], 7)

    assert list(sessions.take_changed()) == [b"b"]
    assert sessions.take_changed() == {}
