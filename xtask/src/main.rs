//! Checks of the workspace that no lint holds, and no ordinary test.
//!
//! `cargo xtask arrows`: every edge between our crates is one the layout allows.
//! `cargo xtask interop`: other engines read every table of a finished run. Its downloads are large.

mod arrows;
mod interop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let result = match verb.as_deref() {
        Some("arrows") => arrows::check(),
        Some("interop") => interop::run(),
        _ => {
            eprintln!("usage: cargo xtask arrows|interop");
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
