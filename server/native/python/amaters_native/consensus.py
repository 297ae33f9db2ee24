"""Raft consensus without I/O (documented in consensus.pyi)."""

from typing import Literal, TypeAlias

from amaters_native._native import (
    ConsensusError,
    FarTerm,
    Progress,
    ProposalDropped,
    RaftNode,
    Ready,
    Status,
    StorageGap,
    conf_changes,
    entry_fault,
    snapshot_offer,
)

__all__ = [
    "ENTRY_CONF_CHANGE",
    "ENTRY_NORMAL",
    "ChangeKind",
    "ConfState",
    "ConsensusError",
    "Entry",
    "FarTerm",
    "HardState",
    "Message",
    "MessageKind",
    "Progress",
    "ProgressState",
    "ProposalDropped",
    "RaftNode",
    "Ready",
    "Role",
    "Snapshot",
    "Status",
    "StorageGap",
    "Transition",
    "conf_changes",
    "entry_fault",
    "snapshot_offer",
]

ENTRY_NORMAL = 0
ENTRY_CONF_CHANGE = 2

ConfState: TypeAlias = tuple[list[int], list[int], list[int], list[int], bool]
Entry: TypeAlias = tuple[int, int, int, bytes, bytes]
HardState: TypeAlias = tuple[int, int, int]
Snapshot: TypeAlias = tuple[int, int, ConfState, bytes]
MessageKind: TypeAlias = Literal[
    "append",
    "append_response",
    "commit_notice",
    "heartbeat",
    "heartbeat_response",
    "pre_vote_rejection",
    "pre_vote_request",
    "pre_vote_response",
    "proposal",
    "read_index",
    "read_index_response",
    "snapshot",
    "timeout_now",
    "transfer_leader",
    "vote_request",
    "vote_response",
]
Message: TypeAlias = tuple[int, MessageKind, bytes]

Role: TypeAlias = Literal["follower", "candidate", "leader", "pre-candidate"]
ProgressState: TypeAlias = Literal["probe", "replicate", "snapshot"]
ChangeKind: TypeAlias = Literal["add_voter", "add_learner", "remove"]
Transition: TypeAlias = Literal["auto", "implicit", "explicit"]
