//! Python's values in and out of the listener: calls as tuples, answers as frames.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use tokio::time::Instant;

use crate::transport::queue::backlog::{Backlog, Held};
use crate::transport::queue::inbound::Taken;
use crate::transport::queue::shared::Queued;
use crate::transport::wire::framing::framed;
use crate::transport::wire::headers::{self, Metadata, Value};
use crate::transport::wire::status;

pub type PyMetadata<'py> = Vec<(String, Bound<'py, PyAny>)>;
pub type Failure<'py> = (u64, u16, String, Option<PyMetadata<'py>>);

pub fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{name} cannot be {value}")))
}

/// A time that is no limit when it is 0.
pub fn limit(name: &str, value: f64) -> PyResult<Option<Duration>> {
    seconds(name, value).map(|time| (!time.is_zero()).then_some(time))
}

pub fn os_error(error: &io::Error, what: &str) -> PyErr {
    PyOSError::new_err((
        error.raw_os_error().unwrap_or(0),
        format!("{what}: {error}"),
    ))
}

/// Paths repeat: each is turned into a Python string once. Bounded, because clients choose paths.
#[derive(Default)]
pub struct Paths(Mutex<HashMap<Box<str>, Py<PyString>>>);

impl Paths {
    const LIMIT: usize = 1024;

    fn string<'py>(&self, py: Python<'py>, path: &str) -> Bound<'py, PyString> {
        let mut known = self.0.lock();
        if let Some(string) = known.get(path) {
            return string.bind(py).clone();
        }
        let string = PyString::new(py, path);
        if known.len() < Self::LIMIT {
            known.insert(path.into(), string.clone().unbind());
        }
        string
    }
}

/// Callers repeat their metadata, a token above all: a connection's last list is handed out again.
/// Bounded in number and size, because clients choose both.
#[derive(Default)]
pub struct MetadataLists(Mutex<HashMap<u64, (Metadata, Py<PyList>)>>);

impl MetadataLists {
    const LIMIT: usize = 1024;
    const LONGEST: usize = 4096;

    fn list<'py>(
        &self,
        py: Python<'py>,
        connection: u64,
        metadata: &Metadata,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut known = self.0.lock();
        if let Some((same, list)) = known.get(&connection) {
            if same == metadata {
                return Ok(list.bind(py).clone());
            }
        }
        let list = metadata_list(py, metadata)?;
        let size: usize = metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if size <= Self::LONGEST {
            if known.len() >= Self::LIMIT {
                known.clear();
            }
            known.insert(connection, (metadata.clone(), list.clone().unbind()));
        }
        Ok(list)
    }
}

pub fn call_tuple<'py>(
    py: Python<'py>,
    paths: &Paths,
    lists: &MetadataLists,
    now: Instant,
    queued: &Queued,
) -> PyResult<Bound<'py, PyTuple>> {
    let left = queued
        .deadline
        .map(|deadline| deadline.saturating_duration_since(now).as_secs_f64());
    let metadata = queued
        .metadata
        .as_ref()
        .map(|metadata| lists.list(py, queued.connection, metadata))
        .transpose()?;
    (
        queued.call.id,
        paths.string(py, queued.uri.path()),
        PyBytes::new(py, &queued.message),
        left,
        metadata,
        queued.connection,
    )
        .into_pyobject(py)
}

fn metadata_list<'py>(py: Python<'py>, metadata: &Metadata) -> PyResult<Bound<'py, PyList>> {
    let items = metadata
        .iter()
        .map(|(name, value)| match value {
            Value::Text(text) => (name, PyString::new(py, text).into_any()).into_pyobject(py),
            Value::Bytes(bytes) => (name, PyBytes::new(py, bytes).into_any()).into_pyobject(py),
        })
        .collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, items)
}

/// What inbound streams brought, as (call_id, messages, ended).
pub fn taken_list(py: Python<'_>, taken: Vec<Taken>) -> PyResult<Bound<'_, PyList>> {
    let items = taken
        .into_iter()
        .map(|(id, messages, ended)| {
            let messages = messages.iter().map(|message| PyBytes::new(py, message));
            let messages = PyList::new(py, messages.collect::<Vec<_>>())?;
            (id, messages, ended).into_pyobject(py)
        })
        .collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, items)
}

/// One (call_id, message) of a batch.
pub fn answer(item: &Bound<'_, PyAny>, backlog: &Arc<Backlog>) -> PyResult<(u64, Held)> {
    let pair = item
        .cast::<PyTuple>()
        .map_err(|_| PyTypeError::new_err("an answer is a tuple (call_id, message)"))?;
    let id = pair.get_borrowed_item(0)?.extract()?;
    let message = pair.get_borrowed_item(1)?;
    let message = message
        .cast::<PyBytes>()
        .map_err(|_| PyTypeError::new_err("the message of an answer must be bytes"))?;
    Ok((id, Held::new(frame(message.as_bytes())?, backlog)))
}

pub fn frame(message: &[u8]) -> PyResult<Vec<u8>> {
    framed(message)
        .ok_or_else(|| PyValueError::new_err("a message of 4 GiB or more cannot be sent"))
}

/// The trailers that end a call; None is a plain OK.
pub fn trailers(
    code: u16,
    message: &str,
    metadata: Option<PyMetadata<'_>>,
) -> PyResult<Option<Box<HeaderMap>>> {
    if code > 16 {
        return Err(PyValueError::new_err(format!(
            "{code} is no gRPC status code (0..16)"
        )));
    }
    let metadata = metadata.unwrap_or_default();
    if code == 0 && metadata.is_empty() {
        return Ok(None);
    }
    let mut trailers = match code {
        0 => status::ok(),
        _ => status::failed(code, message),
    };
    append(&mut trailers, metadata)?;
    Ok(Some(Box::new(trailers)))
}

pub fn append(headers: &mut HeaderMap, metadata: PyMetadata<'_>) -> PyResult<()> {
    for (name, value) in metadata {
        let value = match value.cast::<PyBytes>() {
            Ok(bytes) => Value::Bytes(bytes.as_bytes().to_vec()),
            Err(_) => Value::Text(value.extract()?),
        };
        headers::append(headers, &name, &value).map_err(PyValueError::new_err)?;
    }
    Ok(())
}
