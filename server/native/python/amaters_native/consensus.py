"""Raft consensus without I/O (see consensus.pyi for the promises)."""

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
    decode_message,
    entry_fault,
)

__all__ = [
    "ENTRY_CONF_CHANGE",
    "ENTRY_NORMAL",
    "ChangeKind",
    "ConfState",
    "ConsensusError",
    "DecodedMessage",
    "Entry",
    "FarTerm",
    "HardState",
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
    "decode_message",
    "entry_fault",
]

ENTRY_NORMAL = 0
ENTRY_CONF_CHANGE = 2

ConfState: TypeAlias = tuple[list[int], list[int], list[int], list[int], bool]
Entry: TypeAlias = tuple[int, int, int, bytes, bytes]
HardState: TypeAlias = tuple[int, int, int]
Snapshot: TypeAlias = tuple[int, int, ConfState, bytes]
DecodedMessage: TypeAlias = tuple[str, int, int, int, int, Snapshot | None]

Role: TypeAlias = Literal["follower", "candidate", "leader", "pre-candidate"]
ProgressState: TypeAlias = Literal["probe", "replicate", "snapshot"]
ChangeKind: TypeAlias = Literal["add_voter", "add_learner", "remove"]
Transition: TypeAlias = Literal["auto", "implicit", "explicit"]
