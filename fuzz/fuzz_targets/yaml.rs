//! See `fuzz::yaml`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::tolerate_caught_panics(), |data: &[u8]| fuzz::yaml::run(data));
