//! See `fuzz::commit_json`.
#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::tolerate_caught_panics(), |data: &[u8]| fuzz::commit_json::run(data));
