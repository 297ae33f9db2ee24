//! Connectors, channels and streams as Python holds them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::channel::{self, Target};
use super::completions::{Completions, Reason, Ticket};
use super::outflow::Outflow;
use super::request::{self, Emptied, Request, Shape};
use crate::transport::queue::inbox::Inbox;
use crate::transport::queue::py_convert::{self, os_error, seconds, PyMetadata};
use crate::transport::tls::ClientIdentity;

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Connector {
    completions: Arc<Completions>,
    ids: Arc<AtomicU64>,
    runtime: Handle,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Connector {
    fn stop(&self) {
        if let Some((stop, thread)) = self.running.lock().take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.stop();
    }
}

#[pymethods]
impl Connector {
    #[new]
    #[pyo3(signature = (*, event_fd))]
    fn new(event_fd: i32) -> PyResult<Self> {
        let completions = Completions::new(event_fd)
            .map_err(|error| os_error(&error, "event_fd is no usable eventfd"))?;
        start(completions).map_err(|error| os_error(&error, "cannot start a thread"))
    }

    #[pyo3(signature = (address, *, tls=None, connect_timeout_seconds=5.0,
        keepalive_interval_seconds=20.0, keepalive_timeout_seconds=20.0,
        max_message_bytes=16 << 20))]
    fn connect(
        &self,
        address: String,
        tls: Option<&Bound<'_, ClientIdentity>>,
        connect_timeout_seconds: f64,
        keepalive_interval_seconds: f64,
        keepalive_timeout_seconds: f64,
        max_message_bytes: usize,
    ) -> PyResult<Channel> {
        if self.running.lock().is_none() {
            return Err(PyRuntimeError::new_err("the connector is closed"));
        }
        let target = Target {
            address: address.clone(),
            tls: tls.map(|identity| identity.get().config.clone()),
            connect_timeout: seconds("connect_timeout_seconds", connect_timeout_seconds)?,
            keepalive_interval: seconds("keepalive_interval_seconds", keepalive_interval_seconds)?,
            keepalive_timeout: seconds("keepalive_timeout_seconds", keepalive_timeout_seconds)?,
        };
        let (requests, inbox) = unbounded_channel();
        let reason = Reason::new(Mutex::new("the connection was closed".into()));
        self.runtime
            .spawn(channel::run(target, reason.clone(), inbox));
        Ok(Channel {
            scheme: if tls.is_some() { "https" } else { "http" },
            address,
            limit: max_message_bytes,
            completions: self.completions.clone(),
            ids: self.ids.clone(),
            reason,
            requests: Mutex::new(Some(requests)),
        })
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let items = self
            .completions
            .take()
            .into_iter()
            .map(|(id, outcome)| match outcome {
                Ok(message) => (id, 0, String::new(), Some(PyBytes::new(py, &message))),
                Err((code, text)) => (id, code, text, None),
            });
        PyList::new(py, items.collect::<Vec<_>>())
    }

    fn take_readable(&self) -> Vec<u64> {
        self.completions.take_readable()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.stop());
    }
}

fn start(completions: Completions) -> io::Result<Connector> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("amaters-grpc-out".into())
        .spawn(move || {
            let _ = runtime.block_on(stopped);
            // A name that is being resolved is not waited for.
            runtime.shutdown_background();
        })?;
    Ok(Connector {
        completions: Arc::new(completions),
        ids: Arc::new(AtomicU64::new(1)),
        runtime: handle,
        running: Mutex::new(Some((stop, thread))),
    })
}

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Channel {
    scheme: &'static str,
    address: String,
    limit: usize,
    completions: Arc<Completions>,
    ids: Arc<AtomicU64>,
    reason: Reason,
    requests: Mutex<Option<UnboundedSender<Request>>>,
}

impl Channel {
    fn request(
        &self,
        path: &str,
        metadata: PyMetadata<'_>,
        timeout: Option<Duration>,
        shape: Shape,
    ) -> PyResult<u64> {
        let uri = format!("{}://{}{path}", self.scheme, self.address);
        let mut head = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py_convert::append(head.headers_mut(), metadata)?;
        if let Some(timeout) = timeout {
            let left = timeout.as_millis().clamp(1, 99_999_999);
            let value = http::HeaderValue::try_from(format!("{left}m"))
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            head.headers_mut().insert("grpc-timeout", value);
        }
        let id = self.ids.fetch_add(1, Relaxed);
        let request = Request {
            ticket: Ticket {
                id,
                completions: self.completions.clone(),
                reason: self.reason.clone(),
                outcome: None,
            },
            head,
            shape,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            limit: self.limit,
        };
        // A request that finds no taker is dropped, and reports the reason.
        if let Some(requests) = &*self.requests.lock() {
            let _ = requests.send(request);
        }
        Ok(id)
    }
}

#[pymethods]
impl Channel {
    #[pyo3(signature = (path, message, *, timeout_seconds=None, metadata=Vec::new()))]
    fn unary(
        &self,
        path: &str,
        message: &[u8],
        timeout_seconds: Option<f64>,
        metadata: PyMetadata<'_>,
    ) -> PyResult<u64> {
        let timeout = timeout_seconds
            .map(|value| seconds("timeout_seconds", value))
            .transpose()?;
        let shape = Shape::Unary(py_convert::frame(message)?.into());
        self.request(path, metadata, timeout, shape)
    }

    #[pyo3(signature = (path, *, max_queued_bytes, metadata=Vec::new()))]
    fn open(
        &self,
        path: &str,
        max_queued_bytes: usize,
        metadata: PyMetadata<'_>,
    ) -> PyResult<Stream> {
        let outflow = Arc::new(Outflow::new(max_queued_bytes));
        let shape = Shape::Upload(Emptied(outflow.clone()));
        let id = self.request(path, metadata, None, shape)?;
        Ok(Stream { id, outflow })
    }

    #[pyo3(signature = (path, message, *, max_waiting_bytes, metadata=Vec::new()))]
    fn download(
        &self,
        path: &str,
        message: &[u8],
        max_waiting_bytes: usize,
        metadata: PyMetadata<'_>,
    ) -> PyResult<Download> {
        let inbox = Arc::<Inbox>::default();
        let message = py_convert::frame(message)?.into();
        let download = request::Download {
            inbox: inbox.clone(),
            limit: max_waiting_bytes,
        };
        let id = self.request(path, metadata, None, Shape::Download(message, download))?;
        Ok(Download { id, inbox })
    }

    fn close(&self) {
        *self.requests.lock() = None;
    }

    fn __repr__(&self) -> String {
        format!("Channel({:?})", self.address)
    }
}

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Stream {
    #[pyo3(get)]
    id: u64,
    outflow: Arc<Outflow>,
}

#[pymethods]
impl Stream {
    fn send(&self, messages: Vec<Bound<'_, PyBytes>>) -> PyResult<bool> {
        let frames = messages
            .iter()
            .map(|message| py_convert::frame(message.as_bytes()).map(Into::into))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(self.outflow.send(frames))
    }

    fn finish(&self) {
        self.outflow.finish();
    }
}

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Download {
    #[pyo3(get)]
    id: u64,
    inbox: Arc<Inbox>,
}

#[pymethods]
impl Download {
    fn take<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let taken = self.inbox.take();
        let messages = taken.messages.iter();
        messages.map(|message| PyBytes::new(py, message)).collect()
    }

    fn close(&self) {
        self.inbox.close();
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
