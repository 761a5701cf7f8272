//! Checks of the workspace that lints and ordinary tests cannot make.
//!
//! `cargo xtask arrows`: every dependency between our crates is one that the layout allows.
//! `cargo xtask containers`: `compose/` as containers that run, fail and are proven. Needs a docker engine.
//! `cargo xtask fuzz TARGET`: a fuzz target with libFuzzer.
//! `cargo xtask interop`: other engines read every table of a finished run. Its downloads are large.
//! `cargo xtask invariants`: `docs/invariants.md` and the tests that it names agree.
//! `cargo xtask words`: a word of the glossary has one meaning, and at most one type.

#![allow(clippy::disallowed_methods, reason = "containers take real time")]

mod arrows;
mod cargo;
mod containers;
mod fuzz;
mod interop;
mod invariants;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("arrows") => arrows::check(),
        Some("containers") => containers::run(&args[1..]),
        Some("fuzz") => fuzz::run(&args[1..]),
        Some("interop") => interop::run(),
        Some("invariants") => invariants::check(),
        Some("words") => words::check(),
        _ => {
            eprintln!("usage: cargo xtask arrows|containers|fuzz TARGET|interop|invariants|words");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
