//! The node as a Python class: converts arguments and results.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use raft::eraftpb::MessageType;
use raft::raw_node::SnapshotStatus;
use raft::{Config, Error, GetEntriesContext, Raft, RawNode, StateRole};

use super::convert::{self, ConfStateTuple, EntryTuple};
use super::engine::Engine;
use super::guard::{self, Trust, Verdict};
use super::log::Log;
use super::ready::PyReady;
use super::ready_tracker::ReadyTracker;
use super::start::StoredState;
use super::status::{self, PyStatus};
use super::{envelope, gap, membership, proposal, refused, FarTerm};

#[pyclass(module = "amaters_native.consensus")]
pub struct RaftNode {
    engine: Engine,
    ready_tracker: ReadyTracker,
    trust: Trust,
}

impl RaftNode {
    fn raft(&self) -> &Raft<Log> {
        self.engine.raft()
    }
}

#[pymethods]
impl RaftNode {
    #[new]
    #[pyo3(signature = (*, id, election_tick, heartbeat_tick, min_election_tick=0,
        max_election_tick=0, pre_vote=true, check_quorum=true, priority=0,
        max_size_per_message=1 << 20, max_inflight_messages=256, max_uncommitted_size=64 << 20,
        max_committed_size=8 << 20, applied=0, hard_state=(0, 0, 0),
        conf_state=Default::default(), snapshot_index=0, snapshot_term=0, entries=vec![], check_entries=true,
        max_terms_ahead=1 << 20))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        id: u64,
        election_tick: usize,
        heartbeat_tick: usize,
        min_election_tick: usize,
        max_election_tick: usize,
        pre_vote: bool,
        check_quorum: bool,
        priority: i64,
        max_size_per_message: u64,
        max_inflight_messages: usize,
        max_uncommitted_size: u64,
        max_committed_size: u64,
        applied: u64,
        hard_state: (u64, u64, u64),
        conf_state: ConfStateTuple,
        snapshot_index: u64,
        snapshot_term: u64,
        entries: Vec<EntryTuple>,
        check_entries: bool,
        max_terms_ahead: u64,
    ) -> PyResult<Self> {
        let config = Config {
            id,
            election_tick,
            heartbeat_tick,
            min_election_tick,
            max_election_tick,
            pre_vote,
            check_quorum,
            priority,
            max_size_per_msg: max_size_per_message,
            max_inflight_msgs: max_inflight_messages,
            max_uncommitted_size,
            max_committed_size_per_ready: max_committed_size,
            applied: applied.max(snapshot_index),
            ..Default::default()
        };
        config.validate().map_err(|error| {
            PyValueError::new_err(format!("raft refuses its settings: {error}"))
        })?;
        let stored = StoredState {
            applied: config.applied,
            hard_state: convert::hard_state(hard_state)?,
            conf_state: convert::conf_state(conf_state)?,
            base: (snapshot_index, snapshot_term),
            entries: entries
                .into_iter()
                .map(convert::entry)
                .collect::<PyResult<_>>()?,
        };
        if applied != 0 && applied < snapshot_index {
            return Err(gap(format!(
                "applied {applied} lies before the last compacted entry {snapshot_index}"
            )));
        }
        stored.check().map_err(gap)?;
        Ok(RaftNode {
            engine: Engine::start(&config, stored)?,
            ready_tracker: ReadyTracker::new(config.applied, (hard_state.0, hard_state.1)),
            trust: Trust::new(check_entries, max_terms_ahead),
        })
    }

    fn tick(&mut self) -> PyResult<()> {
        self.engine.run(|node| {
            let raft = &node.raft;
            let due = raft.state != StateRole::Leader
                && raft.election_elapsed + 1 >= raft.randomized_election_timeout();
            // An election that may not start yet is put off to the first tick when it may.
            if !(due && raft.promotable() && !guard::may_campaign(raft)) {
                node.tick();
            }
        })
    }

    #[pyo3(signature = (message, hold_snapshot=false))]
    fn step(&mut self, message: &[u8], hold_snapshot: bool) -> PyResult<(&'static str, u64)> {
        step(&mut self.engine, message, &self.trust, hold_snapshot)
    }

    fn confirm_term(&mut self, term: u64) {
        self.trust.confirm(term);
    }

    fn note_incarnation(&mut self, member: u64, incarnation: u64) {
        self.trust.note_incarnation(member, incarnation);
    }

    fn propose(&mut self, context: &[u8], data: &[u8]) -> PyResult<()> {
        let outcome = self
            .engine
            .run(|node| node.propose(context.to_vec(), data.to_vec()))?;
        proposal::outcome(self.raft(), outcome)
    }

    #[pyo3(signature = (context, changes, transition="auto"))]
    fn propose_conf_change(
        &mut self,
        context: &[u8],
        changes: Vec<(String, u64)>,
        transition: &str,
    ) -> PyResult<()> {
        let change = membership::build(&changes, transition).map_err(PyValueError::new_err)?;
        if self.raft().state == StateRole::Leader {
            if self.raft().has_pending_conf() {
                return Err(proposal::change_pending());
            }
            self.engine
                .run(|node| membership::validate(&node.raft, &change))?
                .map_err(|error| refused(format!("the change does not fit: {error}")))?;
        }
        let outcome = self
            .engine
            .run(|node| node.propose_conf_change(context.to_vec(), change))?;
        proposal::outcome(self.raft(), outcome)
    }

    fn apply_conf_change(&mut self, data: &[u8]) -> PyResult<ConfStateTuple> {
        apply_conf_change(&mut self.engine, data)
    }

    fn conf_state(&self) -> ConfStateTuple {
        convert::conf_state_tuple(&self.raft().prs().conf().to_conf_state())
    }

    fn read_index(&mut self, context: &[u8]) -> PyResult<bool> {
        if context.is_empty() {
            return Err(PyValueError::new_err(
                "a read index needs a context that is not empty",
            ));
        }
        let raft = self.raft();
        let leader_known = match raft.state {
            StateRole::Leader => raft.commit_to_current_term(),
            _ => proposal::leader_known(raft),
        };
        if leader_known {
            self.engine.run(|node| node.read_index(context.to_vec()))?;
        }
        Ok(leader_known)
    }

    fn transfer_leader(&mut self, to: u64) -> PyResult<()> {
        membership::check_transferee(self.raft(), to).map_err(refused)?;
        self.engine.run(|node| node.transfer_leader(to))
    }

    fn campaign(&mut self) -> PyResult<()> {
        if !guard::may_campaign(self.raft()) {
            return Ok(());
        }
        self.engine
            .run(RawNode::campaign)?
            .map_err(|error| refused(error.to_string()))
    }

    fn set_priority(&mut self, priority: i64) {
        self.engine.set_priority(priority);
    }

    fn report_unreachable(&mut self, id: u64) -> PyResult<()> {
        self.engine.run(|node| node.report_unreachable(id))
    }

    fn report_snapshot(&mut self, id: u64, ok: bool) -> PyResult<()> {
        let status = if ok {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.engine.run(|node| node.report_snapshot(id, status))
    }

    fn has_ready(&mut self) -> PyResult<bool> {
        self.engine.run(|node| node.has_ready())
    }

    fn ready(&mut self, py: Python<'_>) -> PyResult<PyReady> {
        self.ready_tracker.take(&mut self.engine, |ready, hold| {
            PyReady::build(py, ready, hold)
        })
    }

    fn on_persist_ready(&mut self, number: u64) -> PyResult<()> {
        self.ready_tracker.durable(&mut self.engine, number)
    }

    fn advance_apply_to(&mut self, index: u64) -> PyResult<()> {
        self.ready_tracker.applied(&mut self.engine, index)
    }

    fn compact(&mut self, index: u64) -> PyResult<()> {
        let applied = self.raft().raft_log.applied;
        if index > applied {
            return Err(gap(format!(
                "entry {index} is not applied yet, only {applied} is"
            )));
        }
        self.engine.run(|node| node.mut_store().compact(index))
    }

    fn log_bytes(&self) -> usize {
        self.raft().store().bytes()
    }

    fn first_index(&self) -> u64 {
        self.raft().raft_log.first_index()
    }

    fn last_index(&self) -> u64 {
        self.raft().raft_log.last_index()
    }

    fn term_of(&mut self, index: u64) -> PyResult<u64> {
        let log = &self.raft().raft_log;
        let (base, last) = (log.first_index() - 1, log.last_index());
        if !(base..=last).contains(&index) {
            return Err(gap(format!(
                "index {index} is outside the log, which knows {base}..={last}"
            )));
        }
        self.engine
            .run(|node| node.raft.raft_log.term(index))?
            .map_err(|error| gap(format!("the term of entry {index} is unknown: {error}")))
    }

    #[pyo3(signature = (low, high, max_bytes=None))]
    fn entries_between<'py>(
        &mut self,
        py: Python<'py>,
        low: u64,
        high: u64,
        max_bytes: Option<u64>,
    ) -> PyResult<Bound<'py, PyList>> {
        if low > high || low < self.first_index() || high > self.last_index() + 1 {
            let (first, last) = (self.first_index(), self.last_index());
            return Err(gap(format!(
                "[{low}, {high}) is outside the log, which holds {first}..={last}"
            )));
        }
        let context = GetEntriesContext::empty(false);
        let entries = self
            .engine
            .run(|node| node.raft.raft_log.slice(low, high, max_bytes, context))?
            .map_err(|error| gap(error.to_string()))?;
        convert::entry_list(py, &entries)
    }

    fn set_snapshot(
        &mut self,
        index: u64,
        term: u64,
        conf_state: ConfStateTuple,
        data: &[u8],
    ) -> PyResult<()> {
        let applied = self.raft().raft_log.applied;
        if index == 0 || index > applied {
            return Err(gap(format!(
                "snapshot {index} is outside 1..={applied} (applied)"
            )));
        }
        let log = &self.raft().raft_log;
        if index + 1 >= log.first_index() && !log.match_term(index, term) {
            return Err(gap(format!(
                "entry {index} of the log is not of term {term}"
            )));
        }
        let snapshot = convert::snapshot(index, term, conf_state, data)?;
        self.engine.log().offer(Some(snapshot));
        Ok(())
    }

    fn clear_snapshot(&mut self) {
        self.engine.log().offer(None);
    }

    fn take_snapshot_requests(&self) -> Vec<u64> {
        self.raft().store().take_snapshot_requests()
    }

    fn status(&self, py: Python<'_>) -> PyResult<PyStatus> {
        status::of(py, self.raft())
    }

    #[getter]
    fn id(&self) -> u64 {
        self.raft().id
    }

    #[getter]
    fn leader(&self) -> u64 {
        self.raft().leader_id
    }

    #[getter]
    fn term(&self) -> u64 {
        self.raft().term
    }

    #[getter]
    fn role(&self) -> &'static str {
        convert::role_name(self.raft().state)
    }

    #[getter]
    fn commit(&self) -> u64 {
        self.raft().raft_log.committed
    }

    #[getter]
    fn applied(&self) -> u64 {
        self.raft().raft_log.applied
    }

    #[getter]
    fn is_leader(&self) -> bool {
        self.raft().state == StateRole::Leader
    }

    #[getter]
    fn is_learner(&self) -> bool {
        let raft = self.raft();
        raft.prs().conf().learners().contains(&raft.id)
    }

    #[getter]
    fn promotable(&self) -> bool {
        self.raft().promotable()
    }

    #[getter]
    fn committed_in_term(&self) -> bool {
        self.raft().commit_to_current_term()
    }

    fn __repr__(&self) -> String {
        format!(
            "RaftNode(id={}, term={}, role={:?}, leader={}, commit={}, applied={})",
            self.id(),
            self.term(),
            self.role(),
            self.leader(),
            self.commit(),
            self.applied()
        )
    }
}

/// Process another member's message, or refuse it; return its kind and sender.
pub fn step(
    engine: &mut Engine,
    message: &[u8],
    trust: &Trust,
    hold_snapshot: bool,
) -> PyResult<(&'static str, u64)> {
    let message = envelope::decode(message)?;
    let verdict = guard::judge(engine.raft(), &message, trust).map_err(refused)?;
    let named = (convert::message_kind(&message), message.from);
    let hold = hold_snapshot && message.msg_type == MessageType::MsgSnapshot as i32;
    match verdict {
        Verdict::Unconfirmed(why) => return Err(FarTerm::new_err(why)),
        Verdict::Step if !hold => match engine.run(|node| node.step(message))? {
            // The origin of a forwarded proposal learns nothing of this; it will time out.
            Ok(()) | Err(Error::ProposalDropped | Error::StepPeerNotFound) => {}
            Err(error) => return Err(refused(error.to_string())),
        },
        Verdict::Step | Verdict::Drop => {}
    }
    Ok(named)
}

/// Put a committed change into force; refused when it does not fit the configuration.
pub fn apply_conf_change(engine: &mut Engine, data: &[u8]) -> PyResult<ConfStateTuple> {
    let change = envelope::decode_conf_change(data)?;
    engine
        .run(|node| membership::validate(&node.raft, &change))?
        .map_err(|error| refused(format!("the change does not fit: {error}")))?;
    let state = engine
        .run(|node| {
            let state = node.apply_conf_change(&change)?;
            membership::step_down_if_removed(&mut node.raft);
            Ok::<_, Error>(state)
        })?
        .map_err(|error| refused(error.to_string()))?;
    Ok(convert::conf_state_tuple(&state))
}
