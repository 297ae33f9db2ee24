//! Calls to other servers, completed in batches.
//!
//! Path of a call: `connector` (Python asks) → `channel` (one task per connection: dials, speaks
//! HTTP/2, pings) → `request` (one task per call) → `done` (queue, eventfd) → Python. A stream's
//! messages pass its `outflow` and its `sink`; the sending thread drives the connection (`line`)
//! itself when that is free, so that a small message is on its way when `send` returns.

mod channel;
mod connector;
mod done;
mod line;
mod outflow;
mod request;
mod sink;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<connector::Connector>()?;
    module.add_class::<connector::Channel>()?;
    module.add_class::<connector::Stream>()
}
