//! Binary `lakepulse`: arguments, settings, wiring, exit codes. One file per verb.

#[macro_use]
mod out;

mod args;
mod failure;
mod interrupt;
mod launch;
mod logs;
mod preview;
mod print;
mod sound;
mod verb;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Parser as _;
use clap::error::ErrorKind;
use model::Exit;

use crate::args::Cli;
use crate::failure::Failure;

/// Limits the C library to one memory pool per core plus one, instead of eight per core.
///
/// One thread allocates rows and another frees them, at every commit. A pool keeps what is freed, so many
/// pools hold many times the memory in use: silver peaked at 960 MiB with sixteen pools and at 530 with two;
/// mimalloc, with one pool per thread, at 1,400. `MALLOC_ARENA_MAX` overrides the limit.
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

/// How long to wait until the last messages are written.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    share_memory();
    logs::without_backtraces();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return ExitCode::from(if asked { Exit::Done } else { Exit::Usage } as u8);
        }
    };
    logs::init(cli.common.log_format);
    // The panic hook has logged the panic by now.
    let exit = std::panic::catch_unwind(|| run(cli)).unwrap_or(Exit::Failed);
    out::settle(LAST_WORDS);
    ExitCode::from(exit as u8)
}

/// Runs the verb and prints why it failed.
fn run(cli: Cli) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let ended = runtime.block_on(verb::run(cli));
    runtime.shutdown_timeout(Duration::from_secs(2));
    let failure = match ended {
        Ok(Exit::Done) => match out::failure() {
            None => return Exit::Done,
            Some(error) => Failure::new(Exit::Failed, anyhow!("cannot write standard output: {error}")),
        },
        Ok(exit) => return exit,
        Err(failure) => failure,
    };
    if let Some(error) = failure.error {
        eprintln!("{}", failure::last_words(&error));
    }
    failure.exit
}
