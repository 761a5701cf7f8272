//! Binary `lakepulse`: arguments, settings, wiring, exit codes. One file a verb.

mod args;
mod doctor;
mod drain;
mod failure;
mod interrupt;
mod launch;
mod learn;
mod logs;
mod mask;
mod preview;
mod print;
mod reach;
mod rules;
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

use crate::args::Cli;

/// Lets the C library keep one pool of memory a core and one more, not eight a core.
///
/// Rows are allocated on one thread and freed on another, commit after commit. What a pool has been given
/// back it keeps for itself, so many pools hold many times what is in use: silver peaked at 960 MiB with
/// sixteen of them and at 530 with two, mimalloc (a pool a thread) at 1,400. `MALLOC_ARENA_MAX` overrides it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator's options have no safe call")]
fn share_memory() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let pools = libc::c_int::try_from(cores + 1).unwrap_or(libc::c_int::MAX);
    // SAFETY: sets a number; called before there is another thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, pools) };
}
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_memory() {}

#[allow(clippy::print_stderr, reason = "this is where the process says how it ended")]
fn main() -> ExitCode {
    share_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return ExitCode::from(if asked { Exit::Done } else { Exit::Usage } as u8);
        }
    };
    logs::init(cli.common.log_format);
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
                eprintln!("error: {}", mask::masked(&format!("{error:#}")));
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
