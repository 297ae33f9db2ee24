//! The compiled part of the AmateRS server: consensus, transport, requests and checksums for Python.
//!
//! Four independent modules behind one extension module; the Python package re-exports them as
//! `amaters_native.consensus`, `.transport`, `.queries` and `.checksum`, where the
//! promises are written down.

mod checksum;
mod consensus;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod queries;
mod transport;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    checksum::register(module)?;
    consensus::register(module)?;
    queries::register(module)?;
    transport::register(module)
}
