//! Checks of the workspace that no lint holds, and no ordinary test.
//!
//! `cargo xtask arrows`: every edge between our crates is one the layout allows.
//! `cargo xtask containers`: `compose/` as containers that run, fail and are proven. Needs a docker engine.
//! `cargo xtask fuzz TARGET`: a fuzz target with libFuzzer.
//! `cargo xtask interop`: other engines read every table of a finished run. Its downloads are large.

mod arrows;
mod cargo;
mod containers;
mod fuzz;
mod interop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("arrows") => arrows::check(),
        Some("containers") => containers::run(&args[1..]),
        Some("fuzz") => fuzz::run(&args[1..]),
        Some("interop") => interop::run(),
        _ => {
            eprintln!("usage: cargo xtask arrows|containers|fuzz TARGET|interop");
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
