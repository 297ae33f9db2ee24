//! The compiled part of the AmateRS server: consensus, transport and checksums for Python.
//!
//! Three independent modules behind one extension module; the Python package re-exports them as
//! `amaters_native.consensus`, `.transport` and `.checksum`, where the promises are written down.

mod checksum;
mod consensus;
mod transport;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    checksum::register(module)?;
    consensus::register(module)?;
    transport::register(module)
}
