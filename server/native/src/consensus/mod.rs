//! One member of a Raft group for Python: no disk, network, clock or thread.

mod convert;
mod engine;
mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod guard;
mod log;
mod membership;
mod node;
mod payload;
mod proposal;
mod ready;
mod ready_tracker;
mod start;
mod status;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    amaters_native.consensus,
    ConsensusError,
    PyException,
    "The consensus engine refuses: the message says what happened and what to do."
);
create_exception!(
    amaters_native.consensus,
    ProposalDropped,
    ConsensusError,
    "The proposal did not enter the log and never will; proposing again is safe."
);
create_exception!(
    amaters_native.consensus,
    StorageGap,
    ConsensusError,
    "Indexes, terms or states that do not fit together."
);

create_exception!(
    amaters_native.consensus,
    FarTerm,
    ConsensusError,
    "A message's term lies so far ahead that the sender must confirm it."
);

/// A `ConsensusError` with this text.
pub fn refused(message: impl Into<String>) -> PyErr {
    ConsensusError::new_err(message.into())
}

pub fn gap(message: impl Into<String>) -> PyErr {
    StorageGap::new_err(message.into())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("ConsensusError", py.get_type::<ConsensusError>())?;
    module.add("ProposalDropped", py.get_type::<ProposalDropped>())?;
    module.add("StorageGap", py.get_type::<StorageGap>())?;
    module.add("FarTerm", py.get_type::<FarTerm>())?;
    module.add_class::<node::RaftNode>()?;
    module.add_class::<ready::PyReady>()?;
    module.add_class::<status::PyStatus>()?;
    module.add_class::<status::PyProgress>()?;
    module.add_function(wrap_pyfunction!(envelope::snapshot_offer, module)?)?;
    module.add_function(wrap_pyfunction!(payload::entry_fault, module)?)?;
    module.add_function(wrap_pyfunction!(envelope::conf_changes, module)?)
}
