//! The log on standard error, for people or as one JSON object per line.

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::out;

/// Format of a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, message and fields, for people.
    Human,
    /// One object per line: `timestamp`, `level`, `message`, `target`, and the fields beside them.
    Json,
}

/// With any value but `0`, panics and errors of libraries are logged with their place in the source.
const BACKTRACE: &str = "LAKEPULSE_BACKTRACE";

/// Keeps backtraces out of error messages unless they are wanted. If `RUST_BACKTRACE` is set, libraries write
/// them into their errors' texts, which end up in logs and in `status`.
#[allow(unsafe_code, reason = "the environment has no safe setter")]
pub fn without_backtraces() {
    if !asked(BACKTRACE) && std::env::var_os("RUST_LIB_BACKTRACE").is_none() {
        // SAFETY: called before there is another thread.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
}

fn asked(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Starts logging. `LAKEPULSE_LOG` sets what is logged, such as `info` or `debug,kafka=error`.
pub fn init(format: LogFormat) {
    let quiet = || EnvFilter::new("warn,kafka=error");
    let filter = EnvFilter::try_from_env("LAKEPULSE_LOG").unwrap_or_else(|_| quiet());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // The subscriber prints its own errors with a macro that panics if nobody reads.
        .log_internal_errors(false)
        .with_writer(|| StandardError);
    match format {
        LogFormat::Human => lines.with_target(false).init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
    }
    std::panic::set_hook(Box::new(panicked));
}

/// Logs a panic, which is a bug of ours: one line with advice, and its place in the source if wanted.
fn panicked(info: &PanicHookInfo<'_>) {
    let at = info.location().map_or_else(String::new, ToString::to_string);
    let reason = info.payload_as_str().unwrap_or("no reason given").replace('\n', " ");
    tracing::error!(
        at,
        reason,
        "a task broke off, which is a fault of lakepulse: nothing committed is lost, start again; LAKEPULSE_BACKTRACE=1 says more, please report it"
    );
    if asked(BACKTRACE) || asked("RUST_BACKTRACE") {
        eprintln!("{}", Backtrace::force_capture());
    }
    // The process may end before the line is written.
    out::settle(Duration::from_millis(500));
}

/// Standard error for the log. Each write is one whole event and never fails.
struct StandardError;
impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        out::log(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
