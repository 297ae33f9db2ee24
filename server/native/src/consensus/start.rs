//! Checks the state that the caller read from disk, and starts raft with it.

use raft::eraftpb::{ConfState, Entry, HardState};
use raft::{Config, RawNode};

use super::convert::CEILING;
use super::log::Log;

/// The state of a node as read from its disk.
pub struct StoredState {
    pub applied: u64,
    pub hard_state: HardState,
    pub conf_state: ConfState,
    /// Index and term of the last compacted entry.
    pub base: (u64, u64),
    pub entries: Vec<Entry>,
}

impl StoredState {
    /// Check the state; the error names the contradiction.
    pub fn check(&self) -> Result<(), String> {
        let (last_index, last_term) = self.check_entries()?;
        let (base_index, _) = self.base;
        let (term, commit) = (self.hard_state.term, self.hard_state.commit);
        let fresh = self.hard_state == HardState::default();
        if term < last_term {
            return Err(format!(
                "term {term} is older than the log's last term {last_term}"
            ));
        }
        if !fresh && !(base_index..=last_index).contains(&commit) {
            return Err(format!(
                "commit {commit} is outside the log, which holds {base_index}..={last_index}"
            ));
        }
        let committed = commit.max(base_index);
        if !(base_index..=committed).contains(&self.applied) {
            return Err(format!(
                "applied {} is outside {base_index}..={committed} (last compacted, commit)",
                self.applied
            ));
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(u64, u64), String> {
        let (mut index, mut term) = self.base;
        if index > CEILING || term > CEILING || (index == 0) != (term == 0) {
            return Err(format!(
                "the log cannot begin after entry ({index}, {term})"
            ));
        }
        for entry in &self.entries {
            if entry.index != index + 1 || entry.term < term.max(1) || entry.term > CEILING {
                return Err(format!(
                    "entry ({}, {}) cannot follow ({index}, {term})",
                    entry.index, entry.term
                ));
            }
            (index, term) = (entry.index, entry.term);
        }
        Ok((index, term))
    }
}

/// Build the node from a checked state.
pub fn start(config: &Config, stored: StoredState) -> raft::Result<RawNode<Log>> {
    let log = Log::new(
        stored.hard_state,
        stored.conf_state,
        stored.base,
        stored.entries,
    );
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    let mut node = RawNode::new(config, log, &silent)?;
    node.set_batch_append(true);
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredState {
        let entry = |index, term| Entry {
            index,
            term,
            ..Default::default()
        };
        StoredState {
            applied: 5,
            hard_state: HardState {
                term: 3,
                vote: 1,
                commit: 6,
            },
            conf_state: ConfState::default(),
            base: (4, 2),
            entries: vec![entry(5, 2), entry(6, 3)],
        }
    }

    #[test]
    fn a_sound_state_passes() {
        assert_eq!(stored().check(), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        let breaks: [fn(&mut StoredState); 6] = [
            |state| state.entries[1].index = 7,
            |state| state.entries[1].term = 1,
            |state| state.hard_state.term = 2,
            |state| state.hard_state.commit = 7,
            |state| state.applied = 3,
            |state| state.base = (4, 0),
        ];
        for broken in breaks {
            let mut state = stored();
            broken(&mut state);
            assert!(state.check().is_err());
        }
    }
}
