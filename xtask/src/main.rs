//! Checks of the workspace that no lint holds.
//!
//! `cargo xtask arrows`: every edge between our crates is one the layout allows.

mod arrows;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let result = match verb.as_deref() {
        Some("arrows") => arrows::check(),
        _ => {
            eprintln!("usage: cargo xtask arrows");
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
