//! A Ready as a Python object: built once, read many times.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use raft::eraftpb::Message;
use raft::Ready;

use super::convert;

#[pyclass(name = "Ready", module = "amaters_native.consensus", frozen, get_all)]
pub struct PyReady {
    number: u64,
    messages: Py<PyList>,
    entries: Py<PyList>,
    hard_state: Option<(u64, u64, u64)>,
    must_sync: bool,
    persisted_messages: Py<PyList>,
    committed: Py<PyList>,
    read_states: Py<PyList>,
    snapshot: Option<Py<PyTuple>>,
    soft_state: Option<(u64, &'static str)>,
}

impl PyReady {
    /// Convert everything; the entries stay in the Ready, for the log.
    ///
    /// With `hold` even a leader's messages wait for durability.
    pub fn build(py: Python<'_>, ready: &mut Ready, hold: bool) -> PyResult<Self> {
        let mut now = ready.take_messages();
        let mut later = ready.take_persisted_messages();
        if hold {
            later.append(&mut now);
        }
        let committed = ready.take_committed_entries();
        Ok(PyReady {
            number: ready.number(),
            messages: list(py, &now)?,
            entries: convert::entry_list(py, ready.entries())?.unbind(),
            hard_state: ready.hs().map(|hs| (hs.term, hs.vote, hs.commit)),
            must_sync: ready.must_sync(),
            persisted_messages: list(py, &later)?,
            committed: convert::entry_list(py, &committed)?.unbind(),
            read_states: read_states(py, ready)?,
            snapshot: snapshot(py, ready)?,
            soft_state: ready
                .ss()
                .map(|ss| (ss.leader_id, convert::role_name(ss.raft_state))),
        })
    }
}

fn list(py: Python<'_>, messages: &[Message]) -> PyResult<Py<PyList>> {
    Ok(convert::message_list(py, messages)?.unbind())
}

fn read_states(py: Python<'_>, ready: &mut Ready) -> PyResult<Py<PyList>> {
    let states = ready.take_read_states();
    let tuples = states.iter().map(|state| {
        let context = pyo3::types::PyBytes::new(py, &state.request_ctx);
        (state.index, context).into_pyobject(py)
    });
    Ok(PyList::new(py, tuples.collect::<PyResult<Vec<_>>>()?)?.unbind())
}

fn snapshot(py: Python<'_>, ready: &Ready) -> PyResult<Option<Py<PyTuple>>> {
    if ready.snapshot().is_empty() {
        return Ok(None);
    }
    Ok(Some(
        convert::snapshot_tuple(py, ready.snapshot())?.unbind(),
    ))
}
