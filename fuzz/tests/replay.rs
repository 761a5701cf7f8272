//! The targets without an engine: every input of the corpus, then mutations of it for some seconds. Deterministic:
//! a failure names the input, which is also in `target/fuzz-last-<target>` after a crash.
//!
//! `LAKEPULSE_FUZZ_SECONDS` is how long each target runs (default 4); `cargo xtask fuzz TARGET` runs one with
//! libFuzzer, which sees what an input reaches.

#![allow(clippy::disallowed_methods, reason = "it bounds how long a run takes")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fuzz::{BETWEEN, TARGETS};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use rstest::rstest;

/// Inputs grow no longer.
const MOST: usize = 16 << 10;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus")).collect()
}

/// Another input made of one of `inputs`, as fuzzers do it.
fn mutated(random: &mut Xoshiro256PlusPlus, inputs: &[Vec<u8>]) -> Vec<u8> {
    const SPECIAL: [&[u8]; 16] = [
        b"\0",
        b"\xff\xff\xff\xff",
        b"\x80",
        b"\x7f",
        b"-9223372036854775808",
        b"1e999",
        b"null",
        b"\"",
        b"{",
        b"[",
        b"'",
        b"\n",
        b"\r\n",
        b",",
        b"\xf0\x9f",
        BETWEEN,
    ];
    let mut input = inputs[random.random_range(0..inputs.len())].clone();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let to = random.random_range(at..=input.len().min(at + 64));
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random_range(0..=255),
            2 => drop(input.drain(at..to)),
            3 => {
                let piece = input[at..to].to_vec();
                drop(input.splice(at..at, piece));
            }
            4 => {
                let piece = SPECIAL[random.random_range(0..SPECIAL.len())].to_vec();
                drop(input.splice(at..to, piece));
            }
            5 => {
                let other = &inputs[random.random_range(0..inputs.len())];
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let digits = random.random_range(i64::MIN..=i64::MAX).to_string().into_bytes();
                drop(input.splice(at..to, digits));
            }
        }
    }
    input.truncate(MOST);
    input
}

#[rstest]
fn no_input_crashes_or_hangs_a_target(
    #[values(
        "wire_frame",
        "avro",
        "json_value",
        "csv_line",
        "envelope",
        "pgoutput",
        "commit_json",
        "yaml",
        "sql"
    )]
    target: &str,
) {
    let (_, run) = *TARGETS.iter().find(|(name, _)| *name == target).expect("one of the targets");
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "corpus/{target} holds real inputs");
    let seconds =
        std::env::var("LAKEPULSE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-last-{target}"));
    let tried = |input: &[u8]| {
        // What ends the process leaves the input behind.
        std::fs::write(&last, input).expect("written");
        let begun = Instant::now();
        let ran = std::panic::catch_unwind(|| run(input));
        assert!(ran.is_ok(), "{target} panics on {:?}", String::from_utf8_lossy(input));
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{target} hangs on {:?}",
            String::from_utf8_lossy(input)
        );
    };
    inputs.iter().for_each(|input| tried(input));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut runs = 0_u64;
    while Instant::now() < until {
        tried(&mutated(&mut random, &inputs));
        runs += 1;
    }
    println!("{target}: {} of the corpus and {runs} mutations of it", inputs.len());
}
