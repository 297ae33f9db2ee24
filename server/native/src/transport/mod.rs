//! A gRPC listener for Python whose calls are taken, and answered, in batches.
//!
//! Path of a call: `acceptor` → `connection` (TLS, HTTP/2) → `handler` (one message read) → `shared`
//! (queue, eventfd) → `listener` (Python takes and answers) → `worker` (one order per batch) →
//! `exchange` (the response body).

mod acceptor;
mod call;
mod connection;
mod exchange;
mod framing;
mod handler;
mod headers;
mod listener;
mod pieces;
mod shared;
mod stats;
mod status;
mod tls;
mod worker;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<listener::Listener>()?;
    module.add_class::<stats::ListenerStats>()?;
    module.add_class::<stats::Connection>()?;
    module.add_class::<tls::TlsIdentity>()
}
