//! The node: raft's RawNode behind Python's calls. Every call that could trip over a broken
//! invariant inside raft runs guarded: a panic there breaks this node for good, not the process.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use prost::Message as _;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use raft::eraftpb::{Message, Snapshot};
use raft::raw_node::SnapshotStatus;
use raft::{Config, Error, GetEntriesContext, Raft, RawNode, StateRole};

use super::convert::{self, ConfStateTuple, EntryTuple};
use super::guard::{self, Verdict};
use super::log::Log;
use super::ready::PyReady;
use super::start::{start, Remembered};
use super::status::{self, PyStatus};
use super::{envelope, gap, membership, refused, ProposalDropped};

#[pyclass(module = "amaters_native.consensus")]
pub struct RaftNode {
    node: RawNode<Log>,
    /// Why the node cannot go on, once raft has contradicted itself.
    broken: Option<String>,
    /// The last Ready handed out, and the highest index in any of them.
    last_ready: u64,
    handed_out: u64,
    /// The last (term, vote) handed out, and the Ready it is in until that is durable.
    handed_vote: (u64, u64),
    unsure_vote: Option<u64>,
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other
            .downcast::<&str>()
            .map_or_else(|_| "unknown".to_owned(), |text| (*text).to_owned()),
    }
}

impl RaftNode {
    fn raft(&self) -> &Raft<Log> {
        &self.node.raft
    }

    /// Run a step of raft; a panic inside becomes an exception, now and on every later call.
    fn run<T>(&mut self, step: impl FnOnce(&mut RawNode<Log>) -> T) -> PyResult<T> {
        if let Some(reason) = &self.broken {
            return Err(refused(format!(
                "node {} is broken, restart it from its disk: {reason}",
                self.node.raft.id
            )));
        }
        let node = &mut self.node;
        catch_unwind(AssertUnwindSafe(|| step(node))).map_err(|panic| {
            let reason = panic_text(panic);
            self.broken = Some(reason.clone());
            refused(format!(
                "raft contradicted itself and this node must stop: {reason}"
            ))
        })
    }

    fn dropped(&self) -> PyErr {
        let raft = self.raft();
        let (reason, text) = if raft.state != StateRole::Leader {
            ("no_leader", "no leader is known: wait for an election")
        } else if raft.prs().get(raft.id).is_none() {
            ("removed", "this node is no member any more")
        } else if raft.lead_transferee.is_some() {
            (
                "transferring",
                "leadership is being handed over: wait for the new leader",
            )
        } else {
            (
                "too_much_uncommitted",
                "too many bytes wait for a quorum: wait for commits",
            )
        };
        dropped_because(reason, text)
    }

    fn proposed(&self, outcome: raft::Result<()>) -> PyResult<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Error::ProposalDropped) => Err(self.dropped()),
            Err(error) => Err(refused(error.to_string())),
        }
    }

    fn in_log(&self, index: u64) -> PyResult<()> {
        let log = &self.raft().raft_log;
        let (base, last) = (log.first_index() - 1, log.last_index());
        if (base..=last).contains(&index) {
            return Ok(());
        }
        Err(gap(format!(
            "index {index} is outside the log, which knows {base}..={last}"
        )))
    }

    fn leader_known(&self) -> bool {
        let raft = self.raft();
        raft.state == StateRole::Leader
            || (raft.state == StateRole::Follower && raft.leader_id != 0)
    }
}

fn dropped_because(reason: &'static str, text: &str) -> PyErr {
    Python::attach(|py| {
        let error = ProposalDropped::new_err(format!("proposal dropped, {text}"));
        match error.value(py).setattr("reason", reason) {
            Ok(()) => error,
            Err(failure) => failure,
        }
    })
}

#[pymethods]
impl RaftNode {
    #[new]
    #[pyo3(signature = (*, id, election_tick, heartbeat_tick, min_election_tick=0,
        max_election_tick=0, pre_vote=true, check_quorum=true, priority=0,
        max_size_per_message=1 << 20, max_inflight_messages=256, max_uncommitted_size=64 << 20,
        max_committed_size=8 << 20, applied=0, hard_state=(0, 0, 0),
        conf_state=Default::default(), snapshot_index=0, snapshot_term=0, entries=vec![]))]
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
        let remembered = Remembered {
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
        remembered.check().map_err(gap)?;
        let node = catch_unwind(AssertUnwindSafe(|| start(&config, remembered)))
            .map_err(|panic| gap(panic_text(panic)))?
            .map_err(|error| gap(error.to_string()))?;
        Ok(RaftNode {
            node,
            broken: None,
            last_ready: 0,
            handed_out: config.applied,
            handed_vote: (hard_state.0, hard_state.1),
            unsure_vote: None,
        })
    }

    fn tick(&mut self) -> PyResult<()> {
        self.run(|node| {
            let raft = &node.raft;
            let due = raft.state != StateRole::Leader
                && raft.election_elapsed + 1 >= raft.randomized_election_timeout();
            // An election that may not start yet is put off to the first tick when it may.
            if !(due && raft.promotable() && !guard::may_campaign(raft)) {
                node.tick();
            }
        })
    }

    fn step(&mut self, message: &[u8]) -> PyResult<()> {
        let message = Message::decode(message)
            .map_err(|error| refused(format!("these bytes are no raft message: {error}")))?;
        match guard::judge(self.raft(), &message).map_err(refused)? {
            Verdict::Drop => Ok(()),
            Verdict::Step => match self.run(|node| node.step(message))? {
                // A forwarded proposal has nobody here to tell; its origin will time out.
                Ok(()) | Err(Error::ProposalDropped | Error::StepPeerNotFound) => Ok(()),
                Err(error) => Err(refused(error.to_string())),
            },
        }
    }

    fn propose(&mut self, context: &[u8], data: &[u8]) -> PyResult<()> {
        let outcome = self.run(|node| node.propose(context.to_vec(), data.to_vec()))?;
        self.proposed(outcome)
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
                return Err(dropped_because(
                    "pending_change",
                    "another change of membership is not applied yet: wait for it",
                ));
            }
            self.run(|node| membership::rehearse(&node.raft, &change))?
                .map_err(|error| refused(format!("the change does not fit: {error}")))?;
        }
        let outcome = self.run(|node| node.propose_conf_change(context.to_vec(), change))?;
        self.proposed(outcome)
    }

    fn apply_conf_change(&mut self, data: &[u8]) -> PyResult<ConfStateTuple> {
        let change = envelope::decode_conf_change(data)?;
        self.run(|node| membership::rehearse(&node.raft, &change))?
            .map_err(|error| refused(format!("the change does not fit: {error}")))?;
        let state = self
            .run(|node| {
                let state = node.apply_conf_change(&change)?;
                membership::step_down_if_removed(&mut node.raft);
                Ok::<_, Error>(state)
            })?
            .map_err(|error| refused(error.to_string()))?;
        Ok(convert::conf_state_tuple(&state))
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
        let heard = match raft.state {
            StateRole::Leader => raft.commit_to_current_term(),
            _ => self.leader_known(),
        };
        if heard {
            self.run(|node| node.read_index(context.to_vec()))?;
        }
        Ok(heard)
    }

    fn transfer_leader(&mut self, to: u64) -> PyResult<()> {
        if !self.leader_known() {
            return Err(refused(
                "no leader is known that could hand over: wait for an election",
            ));
        }
        let conf = self.raft().prs().conf();
        if conf.learners().contains(&to) || !conf.voters().contains(to) {
            return Err(refused(format!(
                "node {to} is no voter: leadership cannot go there"
            )));
        }
        self.run(|node| node.transfer_leader(to))
    }

    fn campaign(&mut self) -> PyResult<()> {
        if !guard::may_campaign(self.raft()) {
            return Ok(());
        }
        self.run(RawNode::campaign)?
            .map_err(|error| refused(error.to_string()))
    }

    fn set_priority(&mut self, priority: i64) {
        self.node.set_priority(priority);
    }

    fn report_unreachable(&mut self, id: u64) -> PyResult<()> {
        self.run(|node| node.report_unreachable(id))
    }

    fn report_snapshot(&mut self, id: u64, ok: bool) -> PyResult<()> {
        let status = if ok {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.run(|node| node.report_snapshot(id, status))
    }

    fn has_ready(&mut self) -> PyResult<bool> {
        self.run(|node| node.has_ready())
    }

    fn ready(&mut self, py: Python<'_>) -> PyResult<PyReady> {
        let mut ready = self.run(RawNode::ready)?;
        self.last_ready = ready.number();
        let vote = (self.raft().term, self.raft().vote);
        if vote != self.handed_vote {
            self.handed_vote = vote;
            self.unsure_vote = Some(ready.number());
        }
        // A group of one elects its leader before the vote is durable; nobody else may hear of
        // that term before it is.
        let hold = self.unsure_vote.is_some();
        if let Some(entry) = ready.committed_entries().last() {
            self.handed_out = self.handed_out.max(entry.index);
        }
        self.handed_out = self.handed_out.max(ready.snapshot().get_metadata().index);
        let value = PyReady::build(py, &mut ready, hold)?;
        self.run(|node| {
            let log = node.mut_store();
            if !ready.snapshot().is_empty() {
                log.restart_at(ready.snapshot().get_metadata());
            }
            if let Err(reason) = log.append(ready.take_entries()) {
                panic!("{reason}");
            }
            node.advance_append_async(ready);
        })?;
        Ok(value)
    }

    fn on_persist_ready(&mut self, number: u64) -> PyResult<()> {
        if number > self.last_ready {
            return Err(gap(format!(
                "Ready {number} was not handed out yet, the last one is {}",
                self.last_ready
            )));
        }
        if self.unsure_vote.is_some_and(|unsure| unsure <= number) {
            self.unsure_vote = None;
        }
        self.run(|node| node.on_persist_ready(number))
    }

    fn advance_apply_to(&mut self, index: u64) -> PyResult<()> {
        let log = &self.raft().raft_log;
        let limit = self.handed_out.min(log.committed).min(log.persisted);
        if index < log.applied || index > limit {
            return Err(gap(format!(
                "applied {index} is outside {}..={limit} (applied before, handed out and durable)",
                log.applied
            )));
        }
        self.run(|node| node.advance_apply_to(index))
    }

    fn compact(&mut self, index: u64) -> PyResult<()> {
        let applied = self.raft().raft_log.applied;
        if index > applied {
            return Err(gap(format!(
                "entry {index} is not applied yet, only {applied} is"
            )));
        }
        self.run(|node| node.mut_store().compact(index))
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
        self.in_log(index)?;
        self.run(|node| node.raft.raft_log.term(index))?
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
            return Err(gap(format!(
                "[{low}, {high}) is outside the log, which holds {}..={}",
                self.first_index(),
                self.last_index()
            )));
        }
        let context = GetEntriesContext::empty(false);
        let entries = self
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
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = term;
        metadata.set_conf_state(convert::conf_state(conf_state)?);
        snapshot.data = data.to_vec();
        self.node.mut_store().offer(Some(snapshot));
        Ok(())
    }

    fn clear_snapshot(&mut self) {
        self.node.mut_store().offer(None);
    }

    fn take_snapshot_requests(&self) -> Vec<u64> {
        self.raft().store().take_unserved()
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
        let raft = self.raft();
        format!(
            "RaftNode(id={}, term={}, role={:?}, leader={}, commit={}, applied={})",
            raft.id,
            raft.term,
            convert::role_name(raft.state),
            raft.leader_id,
            raft.raft_log.committed,
            raft.raft_log.applied
        )
    }
}
