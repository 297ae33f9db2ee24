"""Take one action. Each is safe to repeat: the next observation finds a crash in the middle."""

from datetime import timedelta
from typing import assert_never

from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.database.port import MembershipAdmin
from amaters_operator.decisions.actions import (
    Action,
    AddMember,
    DeleteClaim,
    DiscardSetAside,
    ForceDeletePod,
    PromoteMember,
    RemoveMember,
    ReplacePod,
    SetAside,
    SetReplicas,
    StartCanary,
    TransferLeadership,
)
from amaters_operator.decisions.observation import Observation, Pod
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names

TIMEOUT = timedelta(seconds=20)
"""How long a membership change may take, commit included."""

MembershipChange = AddMember | PromoteMember | RemoveMember | TransferLeadership


class ActionDeferredError(Exception):
    """The action is not possible now, and nothing was changed; the message says why."""


async def apply_action(kube: KubeApi, action: Action, nodes: Nodes, observed: Observation) -> None:
    """Take the action; ActionDeferredError, KubeError or AmatersError when it was not taken."""
    namespace = nodes.cluster.namespace
    match action:
        case ReplacePod(pod, uid):
            if refused := await kube.evict(namespace, pod, uid=uid):
                raise ActionDeferredError(f"{pod} cannot be evicted now: {refused}")
        case ForceDeletePod(pod, uid):
            await kube.delete(kinds.POD, namespace, pod, uid=uid, at_once=True)
        case SetReplicas() | StartCanary():
            pass  # The status records it, and the next pass applies it.
        case DeleteClaim(claim, uid):
            await kube.delete(kinds.CLAIM, namespace, claim, uid=uid)
        case SetAside() | DiscardSetAside():
            await _change_disk(action, nodes, observed)
        case AddMember() | PromoteMember() | RemoveMember() | TransferLeadership():
            await _change_membership(action, nodes, observed)
        case _:
            assert_never(action)


async def _change_membership(change: MembershipChange, nodes: Nodes, observed: Observation) -> None:
    # The leader itself is asked, so that nothing is forwarded.
    async with nodes.admin(_leading_pod(observed), timeout=TIMEOUT) as admin:
        match change:
            case AddMember(ordinal):
                await _add(admin, nodes, ordinal)
            case PromoteMember(member):
                await admin.promote_member(member)
            case RemoveMember(member):
                await admin.remove_member(member)
            case TransferLeadership(member):
                await admin.transfer_leadership(to=member)
            case _:
                assert_never(change)


async def _change_disk(
    change: SetAside | DiscardSetAside, nodes: Nodes, observed: Observation
) -> None:
    pod = observed.pod(change.ordinal)
    if pod is None:
        raise ActionDeferredError(f"there is no {observed.pod_name(change.ordinal)} now")
    async with nodes.admin(pod, timeout=TIMEOUT) as admin:
        match change:
            case SetAside(_, member, cluster_id):
                await admin.set_aside(member, cluster_id=cluster_id)
            case DiscardSetAside(_, member):
                await admin.discard_set_aside(member)
            case _:
                assert_never(change)


async def _add(admin: MembershipAdmin, nodes: Nodes, ordinal: int) -> None:
    await admin.add_member(
        peer_address=names.peer_address(nodes.cluster, ordinal),
        client_address=names.client_address(nodes.cluster, ordinal),
        name=names.pod(nodes.cluster, ordinal),
    )


def _leading_pod(observed: Observation) -> Pod:
    leader = observed.leader() or next((one for one in observed.voters if one.leader), None)
    pod = observed.pod(leader.ordinal) if leader is not None else None
    if pod is None:
        raise ActionDeferredError("no pod leads the cluster now")
    return pod
