//! Binary `lakepulse`: arguments, settings, wiring, exit codes. One file a verb.

mod args;
mod drain;
mod failure;
mod interrupt;
mod launch;
mod preview;
mod print;
mod reach;
mod select;
mod sources;
mod verb;
mod verify;
mod view;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use model::Exit;
use tracing_subscriber::EnvFilter;

use crate::args::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps memory that was freed for ten seconds before it goes back to the system. A commit frees what the
/// next one needs a second later; given back at once, clearing its pages again was a fifth of bronze's CPU
/// time. `MIMALLOC_PURGE_DELAY` overrides it.
#[allow(unsafe_code, reason = "the allocator's options have no safe call")]
fn keep_freed_memory() {
    /// `mi_option_purge_delay`, which the bindings do not name; milliseconds.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number; called before there is another thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 10_000) }
}

#[allow(clippy::print_stderr, reason = "this is where the process says how it ended")]
fn main() -> ExitCode {
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return ExitCode::from(if asked { Exit::Done } else { Exit::Usage } as u8);
        }
    };
    let filter =
        EnvFilter::try_from_env("LAKEPULSE_LOG").unwrap_or_else(|_| EnvFilter::new("warn,kafka=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(Exit::Failed as u8);
        }
    };
    let ended = runtime.block_on(verb::run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            if let Some(error) = failure.error {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
