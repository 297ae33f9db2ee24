//! Decodes messages and entries without a node.

use prost::Message as _;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use raft::eraftpb::{ConfChangeTransition, ConfChangeType, ConfChangeV2, Message};

use super::convert::snapshot_tuple;
use super::refused;

/// Read a whole message, whose type must come first, as every member writes it.
pub fn decode(bytes: &[u8]) -> PyResult<Message> {
    let message = Message::decode(bytes)
        .map_err(|error| refused(format!("these bytes are no raft message: {error}")))?;
    let announced = match bytes {
        [0x08, kind, ..] => i32::from(*kind),
        _ => -1,
    };
    if announced != message.msg_type {
        return Err(refused(
            "a raft message that does not begin with its type".to_owned(),
        ));
    }
    Ok(message)
}

/// Read the snapshot out of a message that offers one.
#[pyfunction]
pub fn snapshot_offer<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    let message = decode(message)?;
    match &message.snapshot {
        Some(snapshot) => snapshot_tuple(py, snapshot),
        None => Err(refused("the message offers no snapshot: drop it")),
    }
}

/// Decode a conf change; refuses values that the generated getters would panic on.
pub fn decode_conf_change(data: &[u8]) -> PyResult<ConfChangeV2> {
    let change = ConfChangeV2::decode(data)
        .map_err(|error| refused(format!("these bytes are no conf change: {error}")))?;
    if ConfChangeTransition::from_i32(change.transition).is_none() {
        return Err(refused(format!(
            "conf change with the unknown transition {}",
            change.transition
        )));
    }
    for single in &change.changes {
        if ConfChangeType::from_i32(single.change_type).is_none() {
            return Err(refused(format!(
                "conf change of unknown type {}",
                single.change_type
            )));
        }
    }
    Ok(change)
}

#[pyfunction]
pub fn conf_changes(data: &[u8]) -> PyResult<Vec<(&'static str, u64)>> {
    let change = decode_conf_change(data)?;
    Ok(change
        .changes
        .iter()
        .map(|single| (kind_name(single.get_change_type()), single.node_id))
        .collect())
}

pub fn kind_name(kind: ConfChangeType) -> &'static str {
    match kind {
        ConfChangeType::AddNode => "add_voter",
        ConfChangeType::AddLearnerNode => "add_learner",
        ConfChangeType::RemoveNode => "remove",
    }
}

pub fn kind_of(name: &str) -> Option<ConfChangeType> {
    match name {
        "add_voter" => Some(ConfChangeType::AddNode),
        "add_learner" => Some(ConfChangeType::AddLearnerNode),
        "remove" => Some(ConfChangeType::RemoveNode),
        _ => None,
    }
}
