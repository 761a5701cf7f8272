//! See `fuzz::json_value`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::tolerate_caught_panics(), |data: &[u8]| fuzz::json_value::run(data));
