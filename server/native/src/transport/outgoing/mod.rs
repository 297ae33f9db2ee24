//! Calls to other servers, completed in batches.
//!
//! Path of a call: `connector` (Python asks) → `channel` (one task per connection: dials, speaks
//! HTTP/2, pings) → `request` (one task per call) → `completions` (queue, eventfd) → Python. A stream's
//! messages pass its `outflow`, those of an answer wait in an `inbox`. The sending thread drives the
//! `connection` itself when that is free, so that a small message is on its way when `send` returns.

mod channel;
mod completions;
mod connection;
mod connector;
mod outflow;
mod request;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<connector::Connector>()?;
    module.add_class::<connector::Channel>()?;
    module.add_class::<connector::Download>()?;
    module.add_class::<connector::Stream>()
}
