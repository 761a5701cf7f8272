//! See `fuzz::wire_frame`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::tolerate_caught_panics(), |data: &[u8]| fuzz::wire_frame::run(data));
