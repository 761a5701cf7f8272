//! What the process logs, and how: on standard error, for people or as one JSON object a line.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::mask;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, message and fields, for people.
    Human,
    /// One object a line: `timestamp`, `level`, `message`, `target`, and the fields beside them.
    Json,
}

/// Logs from here on. `LAKEPULSE_LOG` says what, as `info` or `debug,kafka=error`.
pub fn init(format: LogFormat) {
    let quiet = || EnvFilter::new("warn,kafka=error");
    let filter = EnvFilter::try_from_env("LAKEPULSE_LOG").unwrap_or_else(|_| quiet());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| mask::StandardError);
    match format {
        LogFormat::Human => lines.with_target(false).init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
    }
}
