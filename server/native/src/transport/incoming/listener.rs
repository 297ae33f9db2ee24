//! The listener as Python holds it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::transport::incoming::acceptor::{bind, Acceptor, Door};
use crate::transport::incoming::worker::{Order, Worker};
use crate::transport::queue::backlog::Held;
use crate::transport::queue::call::End;
use crate::transport::queue::calls::{worker_of, MAX_WORKERS};
use crate::transport::queue::py_convert::{
    self, limit, os_error, seconds, Failure, MetadataLists, Paths, PyMetadata,
};
use crate::transport::queue::shared::{Settings, Shared, StreamKind, Upkeep};
use crate::transport::queue::state::Phase;
use crate::transport::queue::stats::{Connection, ListenerStats};
use crate::transport::tls::{Material, TlsIdentity};
use crate::transport::wire::headers::ClientVersion;
use crate::transport::wire::status;

/// How long the last words of a closing listener may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Listener {
    port: u16,
    shared: Arc<Shared>,
    workers: Arc<Vec<Worker>>,
    acceptor: Acceptor,
    phase: watch::Sender<Phase>,
    tls: Arc<Mutex<Option<Arc<Material>>>>,
    paths: Paths,
    lists: MetadataLists,
}

fn streams(
    inbound: Vec<String>,
    interactive: HashMap<String, String>,
) -> PyResult<HashMap<String, StreamKind>> {
    let mut streams: HashMap<_, _> = inbound
        .into_iter()
        .map(|path| (path, StreamKind::Collected))
        .collect();
    for (path, method) in interactive {
        let method = method
            .parse()
            .map_err(|_| PyValueError::new_err(format!("{method:?} is no path of a method")))?;
        streams.insert(path, StreamKind::AnsweredEach(method));
    }
    Ok(streams)
}

impl Listener {
    fn worker(&self, call_id: u64) -> Option<&Worker> {
        self.workers.get(worker_of(call_id))
    }

    /// Sort a batch by worker and give each one order.
    fn order<T>(&self, items: Vec<(u64, T)>, order: impl Fn(Vec<(u64, T)>) -> Order) {
        if let [only] = self.workers.as_slice() {
            if !items.is_empty() {
                only.order(order(items));
            }
            return;
        }
        let mut shares: Vec<Vec<(u64, T)>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (id, item) in items {
            if let Some(share) = shares.get_mut(worker_of(id)) {
                share.push((id, item));
            }
        }
        for (worker, share) in self.workers.iter().zip(shares) {
            if !share.is_empty() {
                worker.order(order(share));
            }
        }
    }

    /// Wait until no connection is left; false when the time is over first.
    fn wait_quiet(&self, limit: Duration) -> bool {
        let deadline = std::time::Instant::now().checked_add(limit);
        let mut peers = self.shared.peers.lock();
        while !peers.is_empty() {
            match deadline {
                Some(deadline) => {
                    if self
                        .shared
                        .quiet
                        .wait_until(&mut peers, deadline)
                        .timed_out()
                    {
                        return peers.is_empty();
                    }
                }
                None => self.shared.quiet.wait(&mut peers),
            }
        }
        true
    }

    fn shut(&self, grace: Duration) {
        self.stop_accepting();
        if !self.wait_quiet(grace) {
            for worker in self.workers.iter() {
                worker.order(Order::Abandon);
            }
            self.wait_quiet(LAST_WORDS);
        }
        for worker in self.workers.iter() {
            worker.stop();
        }
    }

    fn stop_accepting(&self) {
        self.acceptor.stop();
        self.phase.send_replace(Phase::Draining);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shut(Duration::ZERO);
    }
}

#[pymethods]
impl Listener {
    #[new]
    #[pyo3(signature = (*, address, event_fd, threads=1, max_message_bytes=16 << 20,
        max_connections=1000, max_connections_per_client=0, max_descriptor=0, max_concurrent_streams=128,
        queue_limit=65536,
        keepalive_interval_seconds=20.0, keepalive_timeout_seconds=20.0,
        handshake_timeout_seconds=10.0, message_timeout_seconds=30.0,
        idle_timeout_seconds=0.0, max_age_seconds=0.0, age_grace_seconds=60.0, write_timeout_seconds=30.0,
        stream_window_bytes=64 << 10, room_bytes=32 << 20, stream_low_water_bytes=256 << 10, tls=None,
        inbound_streams=Vec::new(), interactive_streams=HashMap::new(),
        inbound_backlog_bytes=4 << 20))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        address: &str,
        event_fd: i32,
        threads: usize,
        max_message_bytes: usize,
        max_connections: u64,
        max_connections_per_client: u64,
        max_descriptor: u64,
        max_concurrent_streams: u32,
        queue_limit: usize,
        keepalive_interval_seconds: f64,
        keepalive_timeout_seconds: f64,
        handshake_timeout_seconds: f64,
        message_timeout_seconds: f64,
        idle_timeout_seconds: f64,
        max_age_seconds: f64,
        age_grace_seconds: f64,
        write_timeout_seconds: f64,
        stream_window_bytes: u32,
        room_bytes: usize,
        stream_low_water_bytes: usize,
        tls: Option<&Bound<'_, TlsIdentity>>,
        inbound_streams: Vec<String>,
        interactive_streams: HashMap<String, String>,
        inbound_backlog_bytes: usize,
    ) -> PyResult<Self> {
        if !(1..=MAX_WORKERS).contains(&threads) {
            return Err(PyValueError::new_err(format!(
                "threads must be 1..={MAX_WORKERS}"
            )));
        }
        let upkeep = Upkeep {
            idle: limit("idle_timeout_seconds", idle_timeout_seconds)?,
            max_age: limit("max_age_seconds", max_age_seconds)?,
            grace: seconds("age_grace_seconds", age_grace_seconds)?,
            untaken: limit("write_timeout_seconds", write_timeout_seconds)?,
        };
        let settings = Settings {
            max_message_bytes,
            max_connections: max_connections.into(),
            max_connections_per_client: max_connections_per_client.into(),
            max_descriptor,
            max_concurrent_streams,
            queue_limit,
            keepalive_interval: limit("keepalive_interval_seconds", keepalive_interval_seconds)?,
            keepalive_timeout: seconds("keepalive_timeout_seconds", keepalive_timeout_seconds)?,
            handshake_timeout: seconds("handshake_timeout_seconds", handshake_timeout_seconds)?,
            message_timeout: limit("message_timeout_seconds", message_timeout_seconds)?,
            upkeep,
            stream_window: stream_window_bytes,
            room: room_bytes,
            stream_low_water: stream_low_water_bytes,
            streams: streams(inbound_streams, interactive_streams)?,
            inbound_backlog: inbound_backlog_bytes,
        };
        let shared = Shared::new(settings, event_fd)
            .map(Arc::new)
            .map_err(|error| os_error(&error, "event_fd is no usable eventfd"))?;
        let what = format!("cannot listen on {address}");
        let socket = bind(address).map_err(|error| os_error(&error, &what))?;
        let port = socket
            .local_addr()
            .map_err(|error| os_error(&error, &what))?
            .port();
        let (phase, watcher) = watch::channel(Phase::Serving);
        let workers = (0..threads)
            .map(|index| Worker::start(index, shared.clone(), watcher.clone()))
            .collect::<io::Result<Vec<_>>>()
            .map(Arc::new)
            .map_err(|error| os_error(&error, "cannot start a thread"))?;
        let tls = Arc::new(Mutex::new(
            tls.map(|identity| identity.get().material.clone()),
        ));
        let door = Door {
            shared: shared.clone(),
            workers: workers.clone(),
            tls: tls.clone(),
        };
        let acceptor = Acceptor::start(socket, door)
            .map_err(|error| os_error(&error, "cannot start a thread"))?;
        Ok(Listener {
            port,
            shared,
            workers,
            acceptor,
            phase,
            tls,
            paths: Paths::default(),
            lists: MetadataLists::default(),
        })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    #[pyo3(signature = (limit=4096))]
    fn take<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let now = Instant::now();
        let mut calls = Vec::new();
        for queued in self.shared.take(limit) {
            if queued.call.take() {
                calls.push(py_convert::call_tuple(
                    py,
                    &self.paths,
                    &self.lists,
                    now,
                    &queued,
                )?);
            }
        }
        PyList::new(py, calls)
    }

    fn take_messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        py_convert::taken_list(py, self.shared.take_messages())
    }

    fn take_cancelled(&self) -> Vec<u64> {
        self.shared.take_cancelled()
    }

    fn take_writable(&self) -> Vec<u64> {
        self.shared.take_writable()
    }

    fn reply(&self, answers: &Bound<'_, PyList>) -> PyResult<()> {
        let mut batch = Vec::with_capacity(answers.len());
        for item in answers.iter() {
            batch.push(py_convert::answer(&item, &self.shared.backlog)?);
        }
        self.order(batch, Order::Answer);
        Ok(())
    }

    fn fail(&self, failures: Vec<Failure<'_>>) -> PyResult<()> {
        let mut batch = Vec::with_capacity(failures.len());
        for (id, code, message, metadata) in failures {
            let trailers = py_convert::trailers(code, &message, metadata)?;
            batch.push((id, trailers.unwrap_or_else(|| Box::new(status::ok()))));
        }
        self.order(batch, Order::Fail);
        Ok(())
    }

    fn send(&self, call_id: u64, message: &Bound<'_, PyBytes>) -> PyResult<i64> {
        let frame = Held::new(py_convert::frame(message.as_bytes())?, &self.shared.backlog);
        let Some(call) = self
            .worker(call_id)
            .and_then(|worker| worker.calls.get(call_id))
        else {
            return Ok(-1);
        };
        if call.is_gone() {
            return Ok(-1);
        }
        let waker = call.deliver(Some(frame), None);
        let queued = {
            let mut outbox = call.outbox.lock();
            outbox.held = outbox.queued > self.shared.settings.stream_low_water;
            outbox.queued
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(i64::try_from(queued).unwrap_or(i64::MAX))
    }

    #[pyo3(signature = (call_id, code=0, message="", metadata=None))]
    fn finish(
        &self,
        call_id: u64,
        code: u16,
        message: &str,
        metadata: Option<PyMetadata<'_>>,
    ) -> PyResult<()> {
        let end = py_convert::trailers(code, message, metadata)?.map_or(End::Ok, End::Failed);
        let call = self
            .worker(call_id)
            .and_then(|worker| worker.calls.remove(call_id));
        if let Some(waker) = call.and_then(|call| call.deliver(None, Some(end))) {
            waker.wake();
        }
        Ok(())
    }

    /// How many bytes of answers have not been taken yet.
    fn held(&self) -> usize {
        self.shared.backlog.held()
    }

    fn taken(&self) -> u64 {
        self.shared.backlog.taken()
    }

    fn wake_below(&self, size: usize) -> bool {
        self.shared.backlog.wake_below(size)
    }

    fn cut_slow(&self, py: Python<'_>, keep: usize, parts: u64) -> Vec<(String, usize)> {
        py.detach(|| self.shared.cut_slow(keep, parts))
    }

    fn connection(&self, py: Python<'_>, connection_id: u64) -> Option<Connection> {
        let peer = self.shared.peers.lock().get(&connection_id).cloned()?;
        Some(Connection::of(py, connection_id, &peer))
    }

    fn replace_tls(&self, identity: &Bound<'_, TlsIdentity>) -> PyResult<()> {
        let mut tls = self.tls.lock();
        if tls.is_none() {
            return Err(PyValueError::new_err(
                "this listener speaks plain text: start it with an identity to have TLS",
            ));
        }
        *tls = Some(identity.get().material.clone());
        Ok(())
    }

    #[pyo3(signature = (max_connections, max_connections_per_client=0))]
    fn limit_connections(&self, max_connections: u64, max_connections_per_client: u64) {
        let settings = &self.shared.settings;
        settings.max_connections.store(max_connections, Relaxed);
        settings
            .max_connections_per_client
            .store(max_connections_per_client, Relaxed);
    }

    fn certificate_serial(&self) -> Option<String> {
        self.tls
            .lock()
            .as_ref()
            .map(|material| material.serial.clone())
    }

    fn drain(&self, py: Python<'_>) {
        py.detach(|| self.stop_accepting());
    }

    #[pyo3(signature = (grace_seconds=0.0))]
    fn close(&self, py: Python<'_>, grace_seconds: f64) -> PyResult<()> {
        let grace = seconds("grace_seconds", grace_seconds)?;
        py.detach(|| self.shut(grace));
        Ok(())
    }

    /// How many connections there are by the version of their client, the oldest first.
    fn clients(&self) -> Vec<(Option<ClientVersion>, u64)> {
        self.shared.clients().into_iter().collect()
    }

    fn stats(&self) -> ListenerStats {
        ListenerStats::of(&self.shared)
    }

    fn __repr__(&self) -> String {
        format!(
            "Listener(port={}, threads={})",
            self.port,
            self.workers.len()
        )
    }
}
