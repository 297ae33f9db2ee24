//! 64-bit FNV checksums over Python buffers.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// Below this the work is shorter than handing the interpreter lock over and back.
const RELEASE_FROM: usize = 32 * 1024;

/// FNV-1a: xor, then multiply.
pub fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

/// FNV-1: multiply, then xor.
pub fn fnv1(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, byte| {
        hash.wrapping_mul(PRIME) ^ u64::from(*byte)
    })
}

fn over(data: &Bound<'_, PyAny>, state: u64, hash: fn(u64, &[u8]) -> u64) -> PyResult<u64> {
    let py = data.py();
    if let Ok(bytes) = data.cast::<PyBytes>() {
        // The object is immutable and borrowed by the caller for the whole call.
        let slice = bytes.as_bytes();
        if slice.len() < RELEASE_FROM {
            return Ok(hash(state, slice));
        }
        return Ok(py.detach(|| hash(state, slice)));
    }
    // A mutable buffer could change under a released lock: `memoryview(...)` of it is copied by
    // Python in one go, which is still cheaper than hashing it byte by byte from here.
    let view = py.get_type::<pyo3::types::PyMemoryView>().call1((data,))?;
    if !view.getattr("contiguous")?.extract::<bool>()? {
        return Err(PyValueError::new_err(
            "the buffer is not contiguous: pass bytes(...) of it",
        ));
    }
    let copy = view.call_method0("tobytes")?;
    over(&copy, state, hash)
}

#[pyfunction]
#[pyo3(signature = (data, state=OFFSET_BASIS))]
pub fn fnv1a64(data: &Bound<'_, PyAny>, state: u64) -> PyResult<u64> {
    over(data, state, fnv1a)
}

#[pyfunction]
#[pyo3(signature = (data, state=OFFSET_BASIS))]
pub fn fnv1_64(data: &Bound<'_, PyAny>, state: u64) -> PyResult<u64> {
    over(data, state, fnv1)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("FNV_OFFSET_BASIS", OFFSET_BASIS)?;
    module.add_function(wrap_pyfunction!(fnv1a64, module)?)?;
    module.add_function(wrap_pyfunction!(fnv1_64, module)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        for (input, one, one_a) in [
            ("", OFFSET_BASIS, OFFSET_BASIS),
            ("a", 0xaf63_bd4c_8601_b7be, 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x340d_8765_a4dd_a9c2, 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1(OFFSET_BASIS, input.as_bytes()), one);
            assert_eq!(fnv1a(OFFSET_BASIS, input.as_bytes()), one_a);
        }
    }

    #[test]
    fn pieces_give_the_whole() {
        let whole = fnv1a(OFFSET_BASIS, b"hello world");
        assert_eq!(fnv1a(fnv1a(OFFSET_BASIS, b"hello "), b"world"), whole);
    }
}
