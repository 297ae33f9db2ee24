"""What leaders told of failures reaches whoever may lead next, and what is older does not count."""

import asyncio

from amaters_server.node.membership.failures import FailureReports
from amaters_server.wire import peer_pb2


class Transport:
    """Delivers to whoever is up, and remembers."""

    def __init__(self):
        self.down = set()
        self.knows = peer_pb2.FailedMembers()
        self.sent = []

    async def forward(self, to, request, timeout):
        if to in self.down:
            raise ConnectionError("down")
        said = request.failed_members
        self.sent.append((to, said.term, list(said.members)))
        return peer_pb2.ForwardResponse(failed_members=self.knows)


async def told(failures, transport, term, failed, others=(2, 3)):
    transport.sent.clear()
    failures.share(term, frozenset(failed), others)
    await asyncio.gather(*failures._sending.values())
    return sorted(transport.sent)


async def test_everybody_who_is_there_hears_of_each_change_once():
    transport = Transport()
    failures = FailureReports(transport)

    assert await told(failures, transport, 5, set()) == [(2, 5, []), (3, 5, [])]
    assert await told(failures, transport, 5, {3}) == [(2, 5, [3])]
    assert await told(failures, transport, 5, {3}) == []
    assert await told(failures, transport, 5, set()) == [(2, 5, [])]
    assert failures.known == frozenset()


async def test_who_did_not_hear_it_or_started_anew_is_told_again():
    transport = Transport()
    failures = FailureReports(transport)
    transport.down = {2}
    assert await told(failures, transport, 5, {3}) == []
    transport.down = set()
    assert await told(failures, transport, 5, {3}) == [(2, 5, [3])]

    failures.forget(2)

    assert await told(failures, transport, 5, {3}) == [(2, 5, [3])]


async def test_a_new_leader_tells_everybody_anew():
    transport = Transport()
    failures = FailureReports(transport)
    await told(failures, transport, 5, set())

    assert await told(failures, transport, 7, set()) == [(2, 7, []), (3, 7, [])]


def test_what_an_old_leader_says_late_does_not_count():
    failures = FailureReports(Transport())
    failures.receive(peer_pb2.FailedMembers(term=7, members=[3]))

    failures.receive(peer_pb2.FailedMembers(term=6, members=[]))
    assert failures.known == {3}
    failures.receive(peer_pb2.FailedMembers(term=7, members=[]))
    assert failures.known == frozenset()


async def test_a_leader_that_knows_nothing_learns_what_the_others_knew():
    transport = Transport()
    transport.knows = peer_pb2.FailedMembers(term=6, members=[1])
    failures = FailureReports(transport)
    await told(failures, transport, 7, set())
    assert failures.failed == {1}

    transport.knows = peer_pb2.FailedMembers(term=7, members=[2])
    await told(failures, transport, 7, {3})

    assert failures.failed == {1, 3}


async def test_what_somebody_knew_of_even_older_leaders_does_not_count():
    transport = Transport()
    failures = FailureReports(transport)
    failures.receive(peer_pb2.FailedMembers(term=6))
    transport.knows = peer_pb2.FailedMembers(term=5, members=[1])

    await told(failures, transport, 7, set())

    assert failures.failed == frozenset()
