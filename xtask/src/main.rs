//! Checks of the workspace that lints and ordinary tests cannot make.
//!
//! `cargo xtask arrows`: every dependency between our crates is one that the layout allows.
//! `cargo xtask words`: a word of the glossary has one meaning, and at most one type.
//! `cargo xtask fuzz TARGET`: a fuzz target with libFuzzer.
//! `cargo xtask interop`: other engines read every table of a finished run. Its downloads are large.

mod arrows;
mod cargo;
mod fuzz;
mod interop;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("arrows") => arrows::check(),
        Some("words") => words::check(),
        Some("fuzz") => fuzz::run(&args[1..]),
        Some("interop") => interop::run(),
        _ => {
            eprintln!("usage: cargo xtask arrows|words|fuzz TARGET|interop");
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
