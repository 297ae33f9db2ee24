import logging

from amaters_server.rpc.peer.trouble import PATIENCE_SECONDS, Trouble

START = 100.0
LATER = START + PATIENCE_SECONDS


def test_a_member_that_is_not_up_yet_is_no_warning():
    trouble = Trouble(START)

    assert trouble.level("unreachable", START) == logging.INFO
    assert trouble.level("unreachable", START + 1) is None
    assert trouble.level("it is starting", START + 2) == logging.INFO


def test_one_that_does_not_come_up_is_warned_of_once():
    trouble = Trouble(START)
    trouble.level("unreachable", START)

    assert trouble.level("unreachable", LATER) == logging.WARNING
    assert trouble.level("unreachable", LATER + 60) is None
    assert trouble.level("wrong cluster", LATER + 61) == logging.WARNING


def test_one_that_was_connected_is_warned_of_at_once():
    trouble = Trouble(START)
    trouble.level("unreachable", START)
    trouble.over()

    assert trouble.level("unreachable", START + 1) == logging.WARNING

    trouble.over()

    assert trouble.level("unreachable", START + 2) == logging.WARNING
