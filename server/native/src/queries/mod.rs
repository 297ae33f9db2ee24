//! The usual queries out of many requests at once; unusual ones are left to Python.
//!
//! Nothing here refuses anything: what is no plain Get, Set or Delete within the rules comes back
//! as None, so that one place, in Python, knows what to answer.

mod decode;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod plain;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use decode::{Frame, Name, Query, Rules};

/// Kinds of queries, by their field in `Query`.
const GET: u8 = 1;
const SET: u8 = 2;
const DELETE: u8 = 3;

#[pyclass(frozen, module = "amaters_native.queries")]
struct QueryReader(Rules);

#[pymethods]
impl QueryReader {
    #[new]
    #[pyo3(signature = (*, longest_collection, longest_key, highest_compression, created_at, commands))]
    fn new(
        longest_collection: u16,
        longest_key: usize,
        highest_compression: u64,
        created_at: (i64, i64),
        commands: Vec<u8>,
    ) -> Self {
        QueryReader(Rules {
            longest_collection: longest_collection.into(),
            longest_key,
            highest_compression,
            created_at: created_at.0..=created_at.1,
            commands,
        })
    }

    fn queries<'py>(&self, requests: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        each(requests, |py, request| {
            self.0
                .query_request(request)
                .map_or(Ok(None), |(query, frame)| {
                    lone(py, &query, &frame).map(Some)
                })
        })
    }

    fn batches<'py>(&self, requests: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        each(requests, |py, request| {
            self.0
                .batch_request(request)
                .map_or(Ok(None), |(queries, frame)| columns(py, &queries, &frame))
        })
    }
}

/// Read every request; None is an unusual one.
fn each<'py>(
    requests: &Bound<'py, PyList>,
    read: impl Fn(Python<'py>, &[u8]) -> PyResult<Option<Bound<'py, PyTuple>>>,
) -> PyResult<Bound<'py, PyList>> {
    let py = requests.py();
    let answers = PyList::empty(py);
    for request in requests {
        answers.append(read(py, request.cast::<PyBytes>()?.as_bytes())?)?;
    }
    Ok(answers)
}

fn lone<'py>(
    py: Python<'py>,
    query: &Query<'_>,
    frame: &Frame<'_>,
) -> PyResult<Bound<'py, PyTuple>> {
    let (kind, name, value) = match query {
        Query::Get(name) => (GET, name, None),
        Query::Set(name, value) => (SET, name, Some(PyBytes::new(py, value))),
        Query::Delete(name) => (DELETE, name, None),
    };
    let key = data_key(py, name)?;
    (kind, key, value, frame.request_id, frame.timeout_ms).into_pyobject(py)
}

/// Keys and values side by side, without values when all are Gets; None when some are.
fn columns<'py>(
    py: Python<'py>,
    queries: &[Query<'_>],
    frame: &Frame<'_>,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let gets = queries.iter().filter(|one| matches!(one, Query::Get(_)));
    let gets = gets.count();
    if queries.is_empty() || gets != 0 && gets != queries.len() {
        return Ok(None);
    }
    let keys = PyList::empty(py);
    let values = PyList::empty(py);
    for query in queries {
        let (name, value) = match query {
            Query::Get(name) | Query::Delete(name) => (name, None),
            Query::Set(name, value) => (name, Some(PyBytes::new(py, value))),
        };
        keys.append(data_key(py, name)?)?;
        if gets == 0 {
            values.append(value)?;
        }
    }
    let values = (gets == 0).then_some(values);
    (keys, values, frame.request_id, frame.timeout_ms)
        .into_pyobject(py)
        .map(Some)
}

/// The key in the data keyspace: the collection's length, the collection, the caller's key.
fn data_key<'py>(py: Python<'py>, name: &Name<'_>) -> PyResult<Bound<'py, PyBytes>> {
    let Name { collection, key } = name;
    // `Rules` keeps collections within what two bytes can tell.
    let length = (collection.len() as u16).to_be_bytes();
    let name_ends = length.len() + collection.len();
    PyBytes::new_with(py, name_ends + key.len(), |whole| {
        whole[..length.len()].copy_from_slice(&length);
        whole[length.len()..name_ends].copy_from_slice(collection);
        whole[name_ends..].copy_from_slice(key);
        Ok(())
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<QueryReader>()
}
