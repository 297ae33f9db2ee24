"""The process takes all the descriptors it is granted, and says when they are few."""

import logging
import resource

import pytest
from amaters_server.app.descriptors import raise_limit, shares


@pytest.fixture
def low_soft_limit():
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_all_descriptors_that_are_granted_are_taken(low_soft_limit):
    raise_limit(1)

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low_soft_limit


@pytest.mark.parametrize(("connections", "warned"), [(512, False), (513, True)])
def test_connections_that_could_leave_the_database_no_file_are_told(
    monkeypatch, caplog, connections, warned
):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))

    with caplog.at_level(logging.WARNING):
        raise_limit(connections)

    assert ("process.few_descriptors" in caplog.messages) == warned


@pytest.mark.parametrize("limit", [64, 256, 1024, 4096, 65_536, 1_048_576])
def test_each_has_a_share_of_the_table_that_no_other_can_take(limit):
    found = shares(limit)

    assert limit / 2 < found.clients < found.members < limit
    assert 1 <= found.pages <= 256
    kept_for_files = limit - found.members - found.pages
    assert kept_for_files >= min(512, limit // 8)


def test_a_table_without_end_needs_no_shares():
    found = shares(resource.RLIM_INFINITY)

    assert (found.clients, found.members, found.pages) == (0, 0, 256)
