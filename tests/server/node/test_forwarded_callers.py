"""Calls that a member passes on for somebody: the leader asks its own roles."""

import pytest
from amaters_server.access import roles
from amaters_server.access.access import Access
from amaters_server.access.gate import Gate
from amaters_server.app.security.forwards import ForwardGate
from amaters_server.app.security.protection import Protection
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.identity.authenticator import Authenticator, Methods
from amaters_server.model.errors import CredentialExpiredError, PermissionDeniedError
from amaters_server.model.principal import ANONYMOUS, ForwardedFor, Principal, PrincipalKind
from amaters_server.testing.loopback import LoopClock, founders, leader_of, ready

ADMIN = Principal("ann", PrincipalKind.CERTIFICATE, ("admin",))
READER = Principal("rob", PrincipalKind.JWT, ("reader",), id="r-1")
METHODS = ["Members", "AddMember", "PromoteMember", "RemoveMember", "TransferLeadership"]


def gate(**authz: object) -> ForwardGate:
    clock = LoopClock()
    access = Access(AuthzSection.model_validate(authz), roles.BUILT_IN)
    protection = Protection(
        Authenticator(Methods(), clock), Gate(access, None, "changes"), None, clock
    )
    return ForwardGate(protection, clock)


@pytest.fixture
async def nodes(tmp_path):
    made = founders(3, tmp_path)
    permit = gate()
    for one in made:
        one.permit = permit
    for one in made:
        await one.start()
    await ready(made)
    yield made
    for one in made:
        await one.stop(0)


@pytest.fixture
async def follower(nodes):
    return next(one for one in nodes if one is not leader_of(nodes))


async def test_a_call_for_an_administrator_is_carried_out(follower, nodes):
    report = await follower.node.members.report(
        from_leader=True, deadline=follower.deadline(), caller=ForwardedFor(ADMIN)
    )
    moved = await follower.node.members.transfer(
        0, deadline=follower.deadline(), caller=ForwardedFor(ADMIN)
    )

    assert len(report.members) == 3
    assert moved.leader_id != report.leader_id


@pytest.mark.parametrize("caller", [READER, ANONYMOUS], ids=["reader", "anonymous"])
async def test_a_denial_of_the_leader_arrives_as_what_it_is(follower, nodes, caller):
    members, deadline = follower.node.members, follower.deadline()
    asked = ForwardedFor(caller, "192.0.2.1")
    term = leader_of(nodes).node.status().term

    for call in (
        members.report(from_leader=True, deadline=deadline, caller=asked),
        members.add("127.0.0.1:1", "127.0.0.1:2", "n", deadline=deadline, caller=asked),
        members.promote(2, deadline=deadline, caller=asked),
        members.remove(2, deadline=deadline, caller=asked),
        members.transfer(0, deadline=deadline, caller=asked),
    ):
        with pytest.raises(PermissionDeniedError, match=f"User '{caller.name}'") as raised:
            await call
        assert raised.value.resource == "Server"
    assert leader_of(nodes).node.status().term == term


async def test_a_caller_that_is_not_named_is_refused_with_what_to_do(follower):
    with pytest.raises(PermissionDeniedError, match=r"did not name its caller.*leader itself"):
        await follower.node.members.transfer(0, deadline=follower.deadline())


async def test_what_members_ask_for_themselves_needs_no_caller(nodes, follower):
    own = follower.node.status()
    member = (
        (
            await leader_of(nodes).node.members.report(
                from_leader=False, deadline=follower.deadline()
            )
        )
        .members[own.node_id - 1]
        .member
    )

    await follower.node.members.announce(member, deadline=follower.deadline())


async def test_a_credential_that_has_ended_on_the_way_is_refused():
    ended = Principal("ann", PrincipalKind.JWT, ("admin",), expires_at=1.0)

    with pytest.raises(CredentialExpiredError):
        gate()(ForwardedFor(ended), "AddMember")


@pytest.mark.parametrize("method", METHODS)
async def test_administrators_of_the_internal_port_need_no_role_of_the_file(method):
    inside = gate()

    inside(ForwardedFor(ADMIN, internal=True), method)
    for role in ("member", "reader", "user"):
        other = Principal("db-2", PrincipalKind.CERTIFICATE, (role,))
        with pytest.raises(PermissionDeniedError):
            inside(ForwardedFor(other, internal=True), method)


@pytest.mark.parametrize("method", METHODS)
async def test_without_authentication_a_member_need_not_name_its_caller(method):
    """As members of older versions pass calls on."""
    ForwardGate(None, LoopClock())(None, method)
