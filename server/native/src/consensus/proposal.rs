//! Why a proposal did not enter the log.

use pyo3::prelude::*;
use raft::{Error, Raft, StateRole};

use super::log::Log;
use super::{refused, ProposalDropped};

/// Whether this node leads or could forward something to a leader.
pub fn leader_known(raft: &Raft<Log>) -> bool {
    raft.state == StateRole::Leader || (raft.state == StateRole::Follower && raft.leader_id != 0)
}

/// Add the reason to raft's "dropped".
pub fn outcome(raft: &Raft<Log>, result: raft::Result<()>) -> PyResult<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Error::ProposalDropped) => Err(dropped(raft)),
        Err(error) => Err(refused(error.to_string())),
    }
}

pub fn change_pending() -> PyErr {
    because(
        "pending_change",
        "another change of membership is not applied yet: wait for it",
    )
}

fn dropped(raft: &Raft<Log>) -> PyErr {
    if raft.state != StateRole::Leader {
        return because("no_leader", "no leader is known: wait for an election");
    }
    if raft.prs().get(raft.id).is_none() {
        return because("removed", "this node is no member any more");
    }
    if raft.lead_transferee.is_some() {
        return because(
            "transferring",
            "leadership is being handed over: wait for the new leader",
        );
    }
    because(
        "too_much_uncommitted",
        "too many bytes wait for a quorum: wait for commits",
    )
}

fn because(reason: &'static str, text: &str) -> PyErr {
    Python::attach(|py| {
        let error = ProposalDropped::new_err(format!("proposal dropped, {text}"));
        match error.value(py).setattr("reason", reason) {
            Ok(()) => error,
            Err(failure) => failure,
        }
    })
}
