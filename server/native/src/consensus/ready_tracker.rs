//! Which Readies are out, and what the caller may report as durable and applied.

use pyo3::prelude::*;
use raft::{RawNode, Ready};

use super::engine::Engine;
use super::gap;

pub struct ReadyTracker {
    last_ready: u64,
    /// The highest index in any Ready's committed entries or snapshot.
    last_index: u64,
    /// The last (term, vote) handed out, and its Ready until that is durable.
    vote: (u64, u64),
    volatile_vote: Option<u64>,
}

impl ReadyTracker {
    pub fn new(applied: u64, vote: (u64, u64)) -> Self {
        ReadyTracker {
            last_ready: 0,
            last_index: applied,
            vote,
            volatile_vote: None,
        }
    }

    /// Take the outstanding work out of raft; its log can read the new entries from now on.
    ///
    /// `view` converts it; its flag says that all messages have to wait for the disk.
    pub fn take<T>(
        &mut self,
        engine: &mut Engine,
        view: impl FnOnce(&mut Ready, bool) -> PyResult<T>,
    ) -> PyResult<T> {
        let mut ready = engine.run(RawNode::ready)?;
        self.last_ready = ready.number();
        let vote = (engine.raft().term, engine.raft().vote);
        if vote != self.vote {
            self.vote = vote;
            self.volatile_vote = Some(ready.number());
        }
        if let Some(entry) = ready.committed_entries().last() {
            self.last_index = self.last_index.max(entry.index);
        }
        self.last_index = self.last_index.max(ready.snapshot().get_metadata().index);
        // A group of one elects its leader before the vote is durable; no other member may
        // receive that term before it is.
        let value = view(&mut ready, self.volatile_vote.is_some())?;
        engine.run(|node| {
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

    pub fn durable(&mut self, engine: &mut Engine, number: u64) -> PyResult<()> {
        if number > self.last_ready {
            return Err(gap(format!(
                "Ready {number} was not handed out yet, the last one is {}",
                self.last_ready
            )));
        }
        if self.volatile_vote.is_some_and(|ready| ready <= number) {
            self.volatile_vote = None;
        }
        engine.run(|node| node.on_persist_ready(number))
    }

    pub fn applied(&self, engine: &mut Engine, index: u64) -> PyResult<()> {
        let log = &engine.raft().raft_log;
        let limit = self.last_index.min(log.committed).min(log.persisted);
        if index < log.applied || index > limit {
            return Err(gap(format!(
                "applied {index} is outside {}..={limit} (applied before, handed out and durable)",
                log.applied
            )));
        }
        engine.run(|node| node.advance_apply_to(index))
    }
}
