"""How a cluster starts: once, of members named before the first pod, perhaps from a backup. Pure."""

from datetime import datetime

from amaters_operator.api.spec import BootstrapSpec
from amaters_operator.api.status import BootstrapStatus, RestoreStatus
from amaters_operator.decisions.actions import Restore, Wait
from amaters_operator.decisions.backup.schedule import pause_after
from amaters_operator.decisions.observation import Observation, Pod, listed


def record(
    recorded: BootstrapStatus | None,
    *,
    desired: tuple[str, ...],
    in_config_map: tuple[str, ...] | None,
) -> BootstrapStatus:
    """Return how the cluster started: by the status, or the first record of it.

    `in_config_map` is what an existing ConfigMap says: the status can be lost (objects restored
    from files), and the members must stay the same.
    """
    if recorded is not None and recorded.initial_members:
        return recorded
    members = in_config_map or desired
    return (recorded or BootstrapStatus()).model_copy(update={"initial_members": list(members)})


def formed(record: BootstrapStatus, observed: Observation, *, older: bool) -> BootstrapStatus:
    """Return the record with the cluster's identity, once all initial members take part.

    Volumes may hold a cluster that is older than the AmatersCluster, and of another size: that
    one has formed already.
    """
    if record.cluster_id or not observed.cluster_id or observed.leader() is None:
        return record
    members = observed.members or ()
    taking_part = sum(observed.participates(one) for one in members)
    if not older and taking_part < min(len(record.initial_members), len(members)):
        return record
    return record.model_copy(update={"cluster_id": observed.cluster_id})


def restored(record: BootstrapStatus, restore: RestoreStatus | None) -> BootstrapStatus:
    """Return the record with the backup that the data came from, once it is loaded completely."""
    if restore is None or record.restored_from:
        return record
    return record.model_copy(
        update={
            "restore_started": restore.started or record.restore_started,
            "restored_from": restore.loaded_from,
            "restored_keys": restore.keys if restore.loaded_from else 0,
        }
    )


def next_restore(
    spec: BootstrapSpec | None,
    record: BootstrapStatus,
    restore: RestoreStatus,
    *,
    inputs: str,
    now: datetime,
) -> Restore | Wait | None:
    """Return whether the backup is to be loaded now; None when there is nothing to load.

    A load that did not finish may have left half of the data: the next one replaces what is
    there. Failures are retried with growing pauses, and at once after a correction, which shows
    in `inputs`. Clients find no Service until the load is done.
    """
    if spec is None or record.restored_from or restore.loaded_from:
        return None
    if not record.cluster_id:
        return Wait("the backup is loaded once the cluster has formed")
    if restore.failed is not None and restore.failed_with == inputs:
        due = restore.failed + pause_after(restore.failures)
        if now < due:
            return Wait(f"the backup is retried at {due:%H:%M:%S} UTC, or once corrected")
    again = restore.started is not None or record.restore_started is not None
    return Restore(
        spec.restore_from,
        replace=again,
        because="the last attempt did not finish" if again else "spec.bootstrap asks for it",
    )


def restore_pod(observed: Observation, wanted: frozenset[str]) -> Pod | Wait:
    """Return the pod that loads the backup: the leader's, once every node knows the source.

    A corrected configuration reaches the nodes one by one, and another may lead before the load
    is done. `wanted` are the digests of the current configuration.
    """
    leader = observed.leader()
    pod = None if leader is None else observed.pod(leader.ordinal)
    if pod is None:
        return Wait("the leader loads the backup, and none is known now")
    behind = [
        one.name
        for one in observed.pods
        if (node := observed.nodes.get(one.ordinal)) is not None
        and node.takes_part
        and node.config_digest
        and node.config_digest not in wanted
    ]
    if behind:
        return Wait(
            f"the newest configuration is on its way to {listed(behind)}: it takes up to a minute"
        )
    return pod


def serves_clients(spec: BootstrapSpec | None, record: BootstrapStatus) -> bool:
    """Whether clients may find the cluster: not before its backup is loaded completely."""
    return spec is None or bool(record.restored_from)
