//! gRPC for Python in batches: a listener, and (`outgoing`) connections to others.
//!
//! Path of a call: `acceptor` → `connection` (TLS, HTTP/2) → `handler` (one message read) → `shared`
//! (queue, eventfd) → `listener` (Python takes and answers) → `worker` (one order per batch) →
//! `exchange` (the response body). A request that is a stream is not read to its end first:
//! `request_reader` moves its messages to `inbound`, where Python takes them.

mod acceptor;
mod arrival;
mod backlog;
mod call;
mod calls;
mod compression;
mod connection;
mod exchange;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handler;
mod headers;
mod hosts;
mod inbound;
mod inbox;
mod listener;
mod memory;
mod outgoing;
mod permit;
mod py_convert;
mod request_reader;
mod shared;
mod state;
mod stats;
mod status;
mod tls;
mod wakeup;
mod worker;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<listener::Listener>()?;
    module.add_class::<stats::ListenerStats>()?;
    module.add_class::<stats::Connection>()?;
    module.add_function(wrap_pyfunction!(memory::release_memory, module)?)?;
    module.add_class::<tls::TlsIdentity>()?;
    module.add_class::<tls::ClientIdentity>()?;
    outgoing::register(module)
}
