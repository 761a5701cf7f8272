//! `cargo xtask containers [--binary PATH] [--events N] [--keep]`: `compose/` as containers that run.
//!
//! Images first: those that cannot be pulled get stand-ins (`compose/images`), ours are built from source or around the
//! binary at PATH. Then the whole stack with the simulated retailer: healthy, confined, seen by Prometheus. While changes
//! flow, two of three bronze containers are killed and every stage is restarted, one after another. In the end N more
//! changes are sent, everything has to reach the gold topics, `verify` has to prove it, and the tables have to hold what
//! the simulator says. Containers and volumes are the run's own and go with it, however it ends, unless `--keep` is said.

mod confined;
mod engine;
mod images;
mod project;
mod report;
mod run;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use engine::Engine;
use project::Project;
use report::Report;

/// What the command line asks for.
struct Options {
    /// A binary that is built already, for Debian bookworm or older.
    binary: Option<PathBuf>,
    /// Changes sent at the end, as fast as they go.
    events: u64,
    /// Whether the stack is left running.
    keep: bool,
}
impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { binary: None, events: 20_000, keep: false };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{flag}` takes a value"));
            match flag.as_str() {
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--events" => options.events = value()?.parse().context("`--events` takes a number")?,
                "--keep" => options.keep = true,
                other => bail!("`{other}` is none of --binary PATH, --events N, --keep"),
            }
        }
        Ok(options)
    }
}

/// Does all of it. Fails at the first thing that does not hold.
pub fn run(args: &[String]) -> Result<String> {
    let options = Options::parse(args)?;
    let engine = Engine::find()?;
    let root = PathBuf::from(MetadataCommand::new().no_deps().exec()?.workspace_root);
    let mut report = Report::begin(engine.to_string());

    report.step("images");
    images::make(&engine, &root, options.binary.as_deref(), &mut report)?;
    let project = Project::begin(&engine, &root, options.keep)?;
    let held = run::all(&project, options.events, &mut report);
    if held.is_err() {
        project.show_what_failed();
    }
    report.step("down");
    let mut ended = project.end();
    if options.binary.is_some() && !options.keep {
        ended = ended.and(images::forget(&engine));
    }
    held.and(ended)?;
    Ok(report.end())
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parsed(args: &[&str]) -> anyhow::Result<Options> {
        Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_binary_events_and_keeping_can_be_asked_for_and_nothing_else() {
        let options = parsed(&["--binary", "/x", "--events", "5", "--keep"]).expect("all of them");
        assert!(
            options.binary.is_some_and(|path| path.ends_with("x")) && options.events == 5 && options.keep
        );
        assert!(
            parsed(&["--binary"]).is_err() && parsed(&["--events", "x"]).is_err() && parsed(&["x"]).is_err()
        );
    }
}
