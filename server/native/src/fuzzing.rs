//! What hostile bytes may do to the native code: nothing. Each function takes any input and panics
//! when a promise is broken. `fuzz/` runs them under libFuzzer; the test below gives them seeded
//! random input on the stable toolchain, `AMATERS_FUZZ_INPUTS` for each (default 20,000).

pub use crate::consensus::fuzzing::raft_messages;
pub use crate::queries::fuzzing::requests;
pub use crate::transport::fuzzing::{frames, headers};

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use fastrand::Rng;

    use super::*;

    const INPUTS: u64 = 20_000;
    const LONGEST: usize = 512;

    /// Random bytes with runs of equal and of small ones, as lengths and counts are.
    fn input(rng: &mut Rng) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST);
        let length = rng.usize(0..=LONGEST);
        while bytes.len() < length {
            let run = rng.usize(1..=8);
            match rng.u8(0..4) {
                0 => bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(run)),
                1 => bytes.extend(std::iter::repeat_with(|| rng.u8(0..8)).take(run)),
                2 => bytes.extend(std::iter::repeat_n(rng.u8(..), run)),
                _ => bytes.extend_from_slice(&rng.u32(0..600).to_le_bytes()),
            }
        }
        bytes
    }

    fn run(target: fn(&[u8])) {
        let setting = |name: &str| std::env::var(name).ok()?.parse().ok();
        let inputs = setting("AMATERS_FUZZ_INPUTS").unwrap_or(INPUTS);
        let seed = setting("AMATERS_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
        for number in 0..inputs {
            let input = input(&mut Rng::with_seed(seed.wrapping_add(number)));
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                let replay = seed.wrapping_add(number);
                panic!("replay with AMATERS_FUZZ_SEED={replay} AMATERS_FUZZ_INPUTS=1: {input:?}");
            }
        }
    }

    #[test]
    fn no_raft_message_breaks_a_member() {
        run(raft_messages);
    }

    #[test]
    fn the_fast_reader_never_disagrees_with_protobuf() {
        run(requests);
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        run(frames);
    }

    #[test]
    fn any_header_can_be_read() {
        run(headers);
    }
}
