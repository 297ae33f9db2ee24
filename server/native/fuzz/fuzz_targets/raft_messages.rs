#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| amaters_native::fuzzing::raft_messages(input));
