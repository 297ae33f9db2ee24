//! Free memory goes back to the system: the C library keeps what a burst of answers needed.

use pyo3::prelude::*;

/// Blocks for as long as it takes to walk the heaps; false when the C library cannot do it.
#[pyfunction]
pub fn release_memory(py: Python<'_>) -> bool {
    py.detach(release)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn release() -> bool {
    // SAFETY: malloc_trim takes the allocator's own locks and touches free memory only.
    unsafe { libc::malloc_trim(0) != 0 }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn release() -> bool {
    false
}
