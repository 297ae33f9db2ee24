//! The log since the last compaction, in memory, as raft wants to read it.
//!
//! The caller makes it durable: it writes what a Ready hands out, and raft itself tracks what is
//! durable.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

pub struct Log {
    hard_state: HardState,
    conf_state: ConfState,
    /// The last compacted entry (or the snapshot the log continues).
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    offer: Option<Snapshot>,
    /// Members for which raft asked for a snapshot and got none. Locked, because raft asks
    /// through a shared reference.
    snapshot_requests: Mutex<BTreeSet<u64>>,
}

fn weight(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len()
}

impl Log {
    /// The entries must follow (`base_index`, `base_term`) without a gap.
    pub fn new(
        hard_state: HardState,
        conf_state: ConfState,
        (base_index, base_term): (u64, u64),
        entries: Vec<Entry>,
    ) -> Self {
        Log {
            hard_state,
            conf_state,
            base_index,
            base_term,
            bytes: entries.iter().map(weight).sum(),
            entries: entries.into(),
            offer: None,
            snapshot_requests: Mutex::default(),
        }
    }

    pub fn first(&self) -> u64 {
        self.base_index + 1
    }

    pub fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Append entries, dropping whatever was stored from the first one's index on.
    pub fn append(&mut self, entries: Vec<Entry>) -> std::result::Result<(), String> {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return Ok(());
        };
        if first <= self.base_index || first > self.last() + 1 {
            return Err(format!(
                "entries from {first} do not continue a log of {}..={}",
                self.first(),
                self.last()
            ));
        }
        while self.last() >= first {
            if let Some(replaced) = self.entries.pop_back() {
                self.bytes -= weight(&replaced);
            }
        }
        self.bytes += entries.iter().map(weight).sum::<usize>();
        self.entries.extend(entries);
        Ok(())
    }

    /// Start over after an installed snapshot.
    pub fn restart_at(&mut self, metadata: &SnapshotMetadata) {
        self.base_index = metadata.index;
        self.base_term = metadata.term;
        self.entries.clear();
        self.bytes = 0;
    }

    /// Forget entries up to and including `index`, which must be in the log.
    pub fn compact(&mut self, index: u64) {
        while self.base_index < index {
            let Some(gone) = self.entries.pop_front() else {
                return;
            };
            self.base_index = gone.index;
            self.base_term = gone.term;
            self.bytes -= weight(&gone);
        }
        if self.entries.capacity() > 4096 && self.entries.capacity() / 4 > self.entries.len() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    pub fn offer(&mut self, snapshot: Option<Snapshot>) {
        self.offer = snapshot;
    }

    pub fn take_snapshot_requests(&self) -> Vec<u64> {
        let mut snapshot_requests = self
            .snapshot_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *snapshot_requests)
            .into_iter()
            .collect()
    }

    fn offer_for(&self, request_index: u64) -> Option<&Snapshot> {
        self.offer.as_ref().filter(|snapshot| {
            let index = snapshot.get_metadata().index;
            // The log must be able to continue where the snapshot ends.
            index >= request_index && index >= self.base_index
        })
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 || low > high {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let (from, to) = (
            (low - self.first()) as usize,
            (high - self.first()) as usize,
        );
        let mut total = 0u64;
        let mut found = Vec::new();
        for entry in self.entries.range(from..to) {
            total = total.saturating_add(weight(entry) as u64 + 16);
            if total > limit && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.entries
            .get((index - self.first()) as usize)
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        if let Some(snapshot) = self.offer_for(request_index) {
            return Ok(snapshot.clone());
        }
        self.snapshot_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(to);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            data: vec![0; 10],
            ..Default::default()
        }
    }

    fn log(range: std::ops::RangeInclusive<u64>) -> Log {
        let base = range.start() - 1;
        let entries = range.map(|index| entry(index, 2)).collect();
        Log::new(
            HardState::default(),
            ConfState::default(),
            (base, 1),
            entries,
        )
    }

    #[test]
    fn appending_replaces_the_tail() {
        let mut log = log(6..=9);

        log.append(vec![entry(8, 3)]).unwrap();

        assert_eq!((log.first(), log.last(), log.bytes()), (6, 8, 30));
        assert_eq!(log.term(8).unwrap(), 3);
    }

    #[test]
    fn appending_refuses_gaps_and_compacted_indexes() {
        let mut log = log(6..=9);

        assert!(log.append(vec![entry(11, 3)]).is_err());
        assert!(log.append(vec![entry(5, 3)]).is_err());
    }

    #[test]
    fn compaction_keeps_the_term_of_the_last_one_gone() {
        let mut log = log(6..=9);

        log.compact(8);

        assert_eq!((log.first(), log.last(), log.bytes()), (9, 9, 10));
        assert_eq!(log.term(8).unwrap(), 2);
        assert!(log.term(7).is_err());
    }

    #[test]
    fn size_limit_never_returns_nothing() {
        let log = log(1..=5);
        let some = |max| {
            log.entries(1, 6, max, GetEntriesContext::empty(false))
                .unwrap()
                .len()
        };

        assert_eq!(some(Some(0)), 1);
        assert_eq!(some(Some(60)), 2);
        assert_eq!(some(None), 5);
    }

    #[test]
    fn an_offer_older_than_the_log_is_not_handed_out() {
        let mut log = log(6..=9);
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 4;
        log.offer(Some(snapshot.clone()));

        assert!(log.snapshot(0, 3).is_err());
        assert_eq!(log.take_snapshot_requests(), vec![3]);
        assert!(log.take_snapshot_requests().is_empty());

        snapshot.mut_metadata().index = 7;
        log.offer(Some(snapshot));

        assert_eq!(log.snapshot(0, 3).unwrap().get_metadata().index, 7);
    }
}
