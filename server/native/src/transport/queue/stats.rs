//! Values Python gets to see: counters and connections.

use std::sync::atomic::Ordering::Relaxed;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::transport::queue::shared::{Peer, Shared};

#[pyclass(module = "amaters_native.transport", frozen, get_all)]
pub struct ListenerStats {
    connections: u64,
    connections_total: u64,
    calls_total: u64,
    calls_in_flight: u64,
    bytes_received: u64,
    bytes_sent: u64,
    handshake_failures: u64,
    rejected: u64,
    rejected_per_client: u64,
    rejected_for_descriptors: u64,
    bytes_held: u64,
    cut_for_slowness: u64,
    cut_for_floods: u64,
    sent_elsewhere: u64,
    last_rejected_client: Option<String>,
}

impl ListenerStats {
    pub fn of(shared: &Shared) -> Self {
        let counters = &shared.counters;
        ListenerStats {
            connections: shared.peers.lock().len() as u64,
            connections_total: counters.connections_total.load(Relaxed),
            calls_total: counters.calls_total.load(Relaxed),
            calls_in_flight: counters.calls_in_flight.load(Relaxed),
            bytes_received: counters.bytes_received.load(Relaxed),
            bytes_sent: counters.bytes_sent.load(Relaxed),
            handshake_failures: counters.handshake_failures.load(Relaxed),
            rejected: counters.rejected.load(Relaxed),
            rejected_per_client: counters.rejected_per_client.load(Relaxed),
            rejected_for_descriptors: counters.rejected_for_descriptors.load(Relaxed),
            bytes_held: shared.backlog.held() as u64,
            cut_for_slowness: counters.cut_for_slowness.load(Relaxed),
            cut_for_floods: counters.cut_for_floods.load(Relaxed),
            sent_elsewhere: counters.sent_elsewhere.load(Relaxed),
            last_rejected_client: shared.hosts.last_turned_away().map(|host| host.to_string()),
        }
    }
}

#[pymethods]
impl ListenerStats {
    fn __repr__(&self) -> String {
        format!(
            "ListenerStats(connections={}, calls_total={}, calls_in_flight={}, rejected={})",
            self.connections, self.calls_total, self.calls_in_flight, self.rejected
        )
    }
}

#[pyclass(module = "amaters_native.transport", frozen)]
pub struct Connection {
    #[pyo3(get)]
    id: u64,
    #[pyo3(get)]
    peer: String,
    #[pyo3(get)]
    tls: bool,
    #[pyo3(get)]
    certificate: Option<Py<PyBytes>>,
}

impl Connection {
    pub fn of(py: Python<'_>, id: u64, peer: &Peer) -> Self {
        Connection {
            id,
            peer: peer.address.clone(),
            tls: peer.tls,
            certificate: peer
                .certificate
                .as_deref()
                .map(|der| PyBytes::new(py, der).unbind()),
        }
    }
}

#[pymethods]
impl Connection {
    fn __repr__(&self) -> String {
        format!(
            "Connection(id={}, peer={:?}, tls={})",
            self.id, self.peer, self.tls
        )
    }
}
