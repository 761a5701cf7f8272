//! See `fuzz::envelope`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::tolerate_caught_panics(), |data: &[u8]| fuzz::envelope::run(data));
