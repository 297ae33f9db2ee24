//! Calls to other servers, completed in batches.
//!
//! Path of a call: `connector` (Python asks) → `channel` (one task per connection: dials, speaks
//! HTTP/2, pings) → `request` (one task per call) → `done` (queue, eventfd) → Python. A stream's
//! messages wait in its `outflow`, and leave together.

mod channel;
mod connector;
mod done;
mod outflow;
mod request;

use pyo3::prelude::*;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<connector::Connector>()?;
    module.add_class::<connector::Channel>()?;
    module.add_class::<connector::Stream>()
}
