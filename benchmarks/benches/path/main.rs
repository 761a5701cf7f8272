//! The path from topics to gold, timed in one run: `cargo bench --profile dist -p benchmarks --bench path`.
//!
//! | module | subject |
//! | --- | --- |
//! | `stages` | raw consume, bronze, silver, gold, one after the other, each drained |
//! | `freshness` | from a record's Kafka timestamp to the gold record it changed, at a steady rate |
//! | `upsert` | replacing 1,000 keys in 1 M and in 4 M rows, in this process |
//! | `project` | a copy of the reference project, and the release binary run on it |
//! | `broker` | the embedded broker as a process of its own, or the target's |
//! | `raw` | reading topics to their ends, records counted and dropped |
//! | `process` | what a process costs: wall, CPU, peak memory |
//! | `report` | aligned tables |
//!
//! The release binary is run as child processes, so CPU and memory are those of a stage and nothing
//! else; broker and raw consumer are this program again, in a role that the environment names. All
//! of them share one machine, so wall times depend on its cores, CPU times hardly. Wall is from the
//! start of a process to its end: loading the project, joining a group, opening tables and the last look
//! of `--until-drained` are in it. Slow numbers fail nothing; wrong row counts and errors do.
//!
//! `LAKEPULSE_BENCH_EVENTS` is the number of change events (default 1,000,000). `LAKEPULSE_BENCH_TARGET`
//! is the target of `lakepulse.yaml` to run on (default `embedded`; for `compose`, see compose/native), of
//! which `upsert` knows nothing: it is on local files and left out unless asked for. Arguments name parts
//! to run alone: `stages`, `freshness`, `upsert`.

#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]

mod broker;
mod freshness;
mod process;
mod project;
mod raw;
mod report;
mod stages;
mod upsert;

use anyhow::{Context as _, Result, ensure};

/// Says which part of the benchmark a child process is.
const ROLE: &str = "LAKEPULSE_BENCH_ROLE";
/// How many change events the stages are timed with.
const EVENTS: &str = "LAKEPULSE_BENCH_EVENTS";
const PARTS: [&str; 3] = ["stages", "freshness", "upsert"];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match std::env::var(ROLE).ok().as_deref() {
        Some(broker::HOST) => runtime.block_on(broker::host(&args)),
        Some(raw::ROLE) => runtime.block_on(raw::run(&args)),
        Some(other) => anyhow::bail!("`{ROLE}` is `{other}`, which is no role; unset it"),
        None if args.iter().any(|arg| arg == "--bench") => runtime.block_on(bench(&args)),
        // `cargo test --all-targets` starts benchmarks, too.
        None => {
            println!("not started by `cargo bench`: nothing to do");
            Ok(())
        }
    }
}

async fn bench(args: &[String]) -> Result<()> {
    let asked: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(unknown) = asked.iter().find(|part| !PARTS.contains(part)) {
        anyhow::bail!("no part `{unknown}`; there are {}", PARTS.join(", "));
    }
    let everywhere = |part| part != "upsert" || project::embedded();
    let wanted = |part| asked.contains(&part) || (asked.is_empty() && everywhere(part));
    let events = match std::env::var(EVENTS) {
        Ok(text) => text.parse().with_context(|| format!("`{EVENTS}` is `{text}`, not a number"))?,
        Err(_) => 1_000_000,
    };
    ensure!(events > 0, "`{EVENTS}` is 0: there is nothing to time");
    let binary = project::binary()?;
    report::print_environment(&binary);
    if wanted("stages") {
        stages::measure(&binary, events).await?.print();
    }
    if wanted("freshness") {
        freshness::measure(&binary).await?.print();
    }
    if wanted("upsert") {
        let costs = [upsert::measure(1_000_000).await?, upsert::measure(4_000_000).await?];
        upsert::print(&costs);
    }
    Ok(())
}
