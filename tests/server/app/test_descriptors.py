"""The process takes all the descriptors it is granted, and says when they are few."""

import logging
import resource

import pytest
from amaters_server.app.descriptors import raise_limit


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
