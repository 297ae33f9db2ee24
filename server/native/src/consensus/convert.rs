//! Converts Python tuples to raft's values and back.

use std::collections::BTreeSet;

use prost::Message as _;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot};
use raft::StateRole;

use super::{gap, refused};

pub type ConfStateTuple = (Vec<u64>, Vec<u64>, Vec<u64>, Vec<u64>, bool);
pub type EntryTuple = (u64, u64, i32, PyBackedBytes, PyBackedBytes);

/// No index or term gets here; beyond it arithmetic could overflow.
pub const CEILING: u64 = 1 << 62;

pub fn hard_state((term, vote, commit): (u64, u64, u64)) -> PyResult<HardState> {
    if term > CEILING || commit > CEILING {
        return Err(gap(format!(
            "hard state ({term}, {vote}, {commit}) is out of range"
        )));
    }
    Ok(HardState { term, vote, commit })
}

pub fn conf_state(
    (voters, learners, voters_outgoing, learners_next, auto_leave): ConfStateTuple,
) -> PyResult<ConfState> {
    let state = ConfState {
        voters,
        learners,
        voters_outgoing,
        learners_next,
        auto_leave,
    };
    check_conf_state(&state).map_err(gap)?;
    Ok(state)
}

pub fn conf_state_tuple(state: &ConfState) -> ConfStateTuple {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    (
        sorted(&state.voters),
        sorted(&state.learners),
        sorted(&state.voters_outgoing),
        sorted(&state.learners_next),
        state.auto_leave,
    )
}

/// Check a configuration; the error says what is wrong. An empty one is valid.
pub fn check_conf_state(state: &ConfState) -> Result<(), String> {
    let set = |name: &str, ids: &[u64]| {
        let unique: BTreeSet<u64> = ids.iter().copied().collect();
        if unique.len() != ids.len() || unique.contains(&0) {
            return Err(format!(
                "{name} {ids:?} of the configuration repeat an id or contain 0"
            ));
        }
        Ok(unique)
    };
    let voters = set("voters", &state.voters)?;
    let learners = set("learners", &state.learners)?;
    let outgoing = set("voters_outgoing", &state.voters_outgoing)?;
    let next = set("learners_next", &state.learners_next)?;
    if voters.is_empty() && !(learners.is_empty() && outgoing.is_empty() && next.is_empty()) {
        return Err("the configuration has members but no voters".into());
    }
    if !learners.is_disjoint(&voters) || !learners.is_disjoint(&outgoing) {
        return Err("a member of the configuration is both voter and learner".into());
    }
    if !next.is_subset(&outgoing) || !next.is_disjoint(&voters) {
        return Err("learners_next of the configuration are not outgoing voters".into());
    }
    if state.auto_leave && outgoing.is_empty() {
        return Err("the configuration leaves a joint state it is not in".into());
    }
    Ok(())
}

pub fn entry((index, term, kind, data, context): EntryTuple) -> PyResult<Entry> {
    if EntryType::from_i32(kind).is_none() {
        return Err(gap(format!("entry {index} has the unknown type {kind}")));
    }
    Ok(Entry {
        entry_type: kind,
        term,
        index,
        data: data.to_vec(),
        context: context.to_vec(),
        ..Default::default()
    })
}

pub fn entry_list<'py>(py: Python<'py>, entries: &[Entry]) -> PyResult<Bound<'py, PyList>> {
    let tuples = entries.iter().map(|entry| {
        (
            entry.index,
            entry.term,
            entry.entry_type,
            PyBytes::new(py, &entry.data),
            PyBytes::new(py, &entry.context),
        )
            .into_pyobject(py)
            .map(Bound::into_any)
    });
    PyList::new(py, tuples.collect::<PyResult<Vec<_>>>()?)
}

pub fn message_list<'py>(py: Python<'py>, messages: &[Message]) -> PyResult<Bound<'py, PyList>> {
    let tuples = messages.iter().map(|message| {
        let kind = message_kind(message);
        (message.to, kind, encoded(py, message)?).into_pyobject(py)
    });
    PyList::new(py, tuples.collect::<PyResult<Vec<Bound<'py, PyTuple>>>>()?)
}

/// Encode straight into the Python object.
fn encoded<'py>(py: Python<'py>, message: &Message) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, message.encoded_len(), |mut buffer| {
        message
            .encode(&mut buffer)
            .map_err(|error| refused(format!("a message cannot be encoded: {error}")))
    })
}

pub fn snapshot_tuple<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyTuple>> {
    let metadata = snapshot.get_metadata();
    (
        metadata.index,
        metadata.term,
        conf_state_tuple(metadata.get_conf_state()),
        PyBytes::new(py, &snapshot.data),
    )
        .into_pyobject(py)
}

pub fn snapshot(index: u64, term: u64, state: ConfStateTuple, data: &[u8]) -> PyResult<Snapshot> {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(conf_state(state)?);
    snapshot.data = data.to_vec();
    Ok(snapshot)
}

/// Name a message of a known type. The names are finer than raft's types where a caller has to
/// treat messages of one type differently.
pub fn message_kind(message: &Message) -> &'static str {
    use MessageType as T;

    match message.get_msg_type() {
        T::MsgAppend if message.entries.is_empty() => "commit_notice",
        T::MsgAppend => "append",
        T::MsgAppendResponse => "append_response",
        T::MsgHeartbeat => "heartbeat",
        T::MsgHeartbeatResponse => "heartbeat_response",
        T::MsgPropose => "proposal",
        T::MsgReadIndex => "read_index",
        T::MsgReadIndexResp => "read_index_response",
        T::MsgRequestPreVote => "pre_vote_request",
        T::MsgRequestPreVoteResponse if message.reject => "pre_vote_rejection",
        T::MsgRequestPreVoteResponse => "pre_vote_response",
        T::MsgRequestVote => "vote_request",
        T::MsgRequestVoteResponse => "vote_response",
        T::MsgSnapshot => "snapshot",
        T::MsgTimeoutNow => "timeout_now",
        T::MsgTransferLeader => "transfer_leader",
        // Raft sends these to itself only, and the guard refuses them from others.
        T::MsgHup | T::MsgBeat | T::MsgUnreachable | T::MsgSnapStatus | T::MsgCheckQuorum => {
            "local"
        }
    }
}

pub fn role_name(role: StateRole) -> &'static str {
    match role {
        StateRole::Follower => "follower",
        StateRole::Candidate => "candidate",
        StateRole::Leader => "leader",
        StateRole::PreCandidate => "pre-candidate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]) -> ConfState {
        ConfState {
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            voters_outgoing: outgoing.to_vec(),
            learners_next: next.to_vec(),
            auto_leave: false,
        }
    }

    #[test]
    fn sound_configurations_pass() {
        for sound in [
            state(&[], &[], &[], &[]),
            state(&[1], &[], &[], &[]),
            state(&[1, 2, 3], &[5], &[1, 2, 4, 6], &[4]),
        ] {
            assert_eq!(check_conf_state(&sound), Ok(()));
        }
    }

    #[test]
    fn contradictions_are_named() {
        for broken in [
            state(&[0], &[], &[], &[]),
            state(&[1, 1], &[], &[], &[]),
            state(&[], &[2], &[], &[]),
            state(&[1, 2], &[2], &[], &[]),
            state(&[1], &[], &[], &[4]),
            state(&[1, 4], &[], &[4], &[4]),
        ] {
            assert!(check_conf_state(&broken).is_err(), "{broken:?}");
        }
    }
}
