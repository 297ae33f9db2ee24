//! Looking into messages and entries without a node.

use prost::Message as _;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use raft::eraftpb::{
    ConfChangeTransition, ConfChangeType, ConfChangeV2, Message, MessageType, Snapshot,
};

use super::convert::{conf_state_tuple, ConfStateTuple};
use super::refused;

/// The message without its entries: prost skips the fields that are not named here.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(uint64, tag = "3")]
    from: u64,
    #[prost(uint64, tag = "4")]
    term: u64,
    #[prost(uint64, tag = "6")]
    index: u64,
    #[prost(message, optional, tag = "9")]
    snapshot: Option<Snapshot>,
}

/// Read a whole message, whose type must come first: by those two bytes Python knows which ones must
/// wait, such as an offer for its image.
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

type Decoded<'py> = (
    &'static str,
    u64,
    u64,
    u64,
    u64,
    Option<(u64, u64, ConfStateTuple, Bound<'py, PyBytes>)>,
);

#[pyfunction]
pub fn decode_message<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Decoded<'py>> {
    let envelope = Envelope::decode(message)
        .map_err(|error| refused(format!("these bytes are no raft message: {error}")))?;
    let Some(kind) = MessageType::from_i32(envelope.kind) else {
        return Err(refused(format!(
            "raft message of unknown type {}: is the sender newer?",
            envelope.kind
        )));
    };
    let snapshot = envelope.snapshot.as_ref().map(|snapshot| {
        let metadata = snapshot.get_metadata();
        (
            metadata.index,
            metadata.term,
            conf_state_tuple(metadata.get_conf_state()),
            PyBytes::new(py, &snapshot.data),
        )
    });
    Ok((
        kind.as_str_name(),
        envelope.from,
        envelope.to,
        envelope.term,
        envelope.index,
        snapshot,
    ))
}

/// Refuses what the generated getters would panic on.
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
