//! gRPC for Python in batches: a listener (`incoming`), and connections to others (`outgoing`).
//!
//! Path of a call: `acceptor` → `connection` (TLS, HTTP/2) → `handler` (one message read) → `shared`
//! (queue, eventfd) → `listener` (Python takes and answers) → `worker` (one order per batch) →
//! `exchange` (the response body). A request that is a stream is not read to its end first:
//! `request_reader` moves its messages to `inbound`, where Python takes them.
//!
//! `incoming` and `outgoing` import from `queue` and `wire`, `queue` from `wire`.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod incoming;
mod memory;
mod outgoing;
mod queue;
mod tls;
mod wakeup;
mod wire;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<incoming::listener::Listener>()?;
    module.add_class::<queue::stats::ListenerStats>()?;
    module.add_class::<queue::stats::Connection>()?;
    module.add_function(wrap_pyfunction!(memory::release_memory, module)?)?;
    module.add_class::<tls::TlsIdentity>()?;
    module.add_class::<tls::ClientIdentity>()?;
    outgoing::register(module)
}
