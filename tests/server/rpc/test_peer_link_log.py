import logging

from amaters_server.rpc.peer.link_log import STARTUP_SECONDS, LinkLog

START = 100.0
LATER = START + STARTUP_SECONDS


def test_a_member_that_is_not_up_yet_is_no_warning():
    link_log = LinkLog(START)

    assert link_log.level("unreachable", START) == logging.INFO
    assert link_log.level("unreachable", START + 1) is None
    assert link_log.level("it is starting", START + 2) == logging.INFO


def test_one_that_does_not_come_up_is_warned_of_once():
    link_log = LinkLog(START)
    link_log.level("unreachable", START)

    assert link_log.level("unreachable", LATER) == logging.WARNING
    assert link_log.level("unreachable", LATER + 60) is None
    assert link_log.level("wrong cluster", LATER + 61) == logging.WARNING


def test_one_that_was_connected_is_warned_of_at_once():
    link_log = LinkLog(START)
    link_log.level("unreachable", START)
    link_log.connected()

    assert link_log.level("unreachable", START + 1) == logging.WARNING

    link_log.connected()

    assert link_log.level("unreachable", START + 2) == logging.WARNING
