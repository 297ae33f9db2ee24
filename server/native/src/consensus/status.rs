//! The status of a node and, on a leader, the progress of the other members.

use pyo3::prelude::*;
use raft::{Progress, ProgressState, Raft, StateRole};

use super::convert::role_name;
use super::log::Log;

#[pyclass(
    name = "Progress",
    module = "amaters_native.consensus",
    frozen,
    get_all
)]
pub struct PyProgress {
    id: u64,
    matched: u64,
    next: u64,
    state: &'static str,
    recent_active: bool,
    paused: bool,
    pending_snapshot: u64,
    is_learner: bool,
}

#[pyclass(name = "Status", module = "amaters_native.consensus", frozen, get_all)]
pub struct PyStatus {
    id: u64,
    term: u64,
    vote: u64,
    commit: u64,
    applied: u64,
    leader: u64,
    role: &'static str,
    lead_transferee: u64,
    progress: Vec<Py<PyProgress>>,
}

#[pymethods]
impl PyProgress {
    fn __repr__(&self) -> String {
        format!(
            "Progress(id={}, matched={}, next={}, state={:?}, recent_active={}, is_learner={})",
            self.id, self.matched, self.next, self.state, self.recent_active, self.is_learner
        )
    }
}

#[pymethods]
impl PyStatus {
    fn __repr__(&self) -> String {
        format!(
            "Status(id={}, term={}, role={:?}, leader={}, commit={}, applied={})",
            self.id, self.term, self.role, self.leader, self.commit, self.applied
        )
    }
}

fn state_name(state: ProgressState) -> &'static str {
    match state {
        ProgressState::Probe => "probe",
        ProgressState::Replicate => "replicate",
        ProgressState::Snapshot => "snapshot",
    }
}

fn progress(id: u64, progress: &Progress, is_learner: bool) -> PyProgress {
    PyProgress {
        id,
        matched: progress.matched,
        next: progress.next_idx,
        state: state_name(progress.state),
        recent_active: progress.recent_active,
        paused: progress.is_paused(),
        pending_snapshot: progress.pending_snapshot,
        is_learner,
    }
}

pub fn of(py: Python<'_>, raft: &Raft<Log>) -> PyResult<PyStatus> {
    let mut members = Vec::new();
    if raft.state == StateRole::Leader {
        let learners = raft.prs().conf().learners();
        members.extend(
            raft.prs()
                .iter()
                .map(|(id, known)| progress(*id, known, learners.contains(id))),
        );
        members.sort_unstable_by_key(|member| member.id);
    }
    Ok(PyStatus {
        id: raft.id,
        term: raft.term,
        vote: raft.vote,
        commit: raft.raft_log.committed,
        applied: raft.raft_log.applied,
        leader: raft.leader_id,
        role: role_name(raft.state),
        lead_transferee: raft.lead_transferee.unwrap_or(0),
        progress: members
            .into_iter()
            .map(|member| Py::new(py, member))
            .collect::<PyResult<_>>()?,
    })
}
