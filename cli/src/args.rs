//! The command line. A flag's name means the same for every verb.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use cdc_sim::{Pattern, SchemaChange, Settings, Share};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ops::Location;

use crate::logs::LogFormat;

/// A streaming medallion lakehouse: topics become bronze, silver and gold Delta tables, exactly once.
#[derive(Debug, Parser)]
#[command(name = "lakepulse", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Folder of the project: `lakepulse.yaml`, `topics.yaml`, `sources/`, `models/`, `schemas/`.
    #[arg(long, global = true, value_name = "DIR", default_value = ".", env = "LAKEPULSE_PROJECT")]
    pub project: PathBuf,
    /// Which target of `lakepulse.yaml` to run on.
    #[arg(long, global = true, value_name = "NAME", default_value = "embedded", env = "LAKEPULSE_TARGET")]
    pub target: String,
    /// Only these tables: a name, `+name` with what is upstream, `name+` with what is downstream.
    #[arg(long, global = true, value_name = "SELECTOR")]
    pub select: Vec<String>,
    /// Machine-readable output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Where metrics and health are served. Port 0 takes a free one.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:0",
        env = "LAKEPULSE_LISTEN"
    )]
    pub listen: SocketAddr,
    /// Format of the log on standard error. `LAKEPULSE_LOG` sets what is logged, such as `info`.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Human,
        env = "LAKEPULSE_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
}

impl Common {
    /// The project and the target to run on.
    pub fn location(&self) -> Location {
        Location { folder: self.project.clone(), target: self.target.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a small project to begin with.
    Init,
    /// Check the project and report every fault at once.
    Validate {
        /// Write JSON Schemas of the YAML files into this folder, for editors.
        #[arg(long, value_name = "DIR")]
        schemas: Option<PathBuf>,
        /// Write Prometheus rules into this file: recording and alerting, from what topics and models say.
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
    /// Print what `apply` would do to topics, subjects, tables and models.
    Plan {
        /// Exit 4 when there is something to apply.
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Make topics, subjects, tables and models what the project says. Safe to run again.
    Apply,
    /// Run everything in one process. On services of your own the simulator runs only when one of its
    /// options is given.
    Up {
        #[command(flatten)]
        workload: Workload,
        /// Exit once everything the sources published has reached the end of its stage.
        #[arg(long)]
        until_drained: bool,
        /// Do not start the project's sources.
        #[arg(long)]
        no_sources: bool,
        /// Plain lines instead of the live view.
        #[arg(long)]
        plain: bool,
    },
    /// Publish the simulated source database's changes.
    Sim {
        #[command(flatten)]
        workload: Workload,
        /// Apply the workload to this PostgreSQL instead, as `postgres://user:password@host:port/database`;
        /// `${env:NAME}` keeps the password off the command line. Its tables are made by compose/postgres.
        #[arg(long, value_name = "URL", conflicts_with = "discard")]
        into: Option<String>,
        /// Generate as fast as possible into a sink that discards the records, and print the rate.
        #[arg(long)]
        discard: bool,
    },
    /// Publish what a source holds.
    Ingest {
        #[command(subcommand)]
        source: IngestSource,
    },
    /// Topics into bronze tables.
    Bronze(StageArgs),
    /// Bronze into silver tables.
    Silver(StageArgs),
    /// Silver into gold tables and gold topics.
    Gold(StageArgs),
    /// Ask the process that serves health at `--listen` whether it is ready. Exit 1 when it is not.
    Health,
    /// Versions, rows, positions and lag of every table.
    Status,
    /// Prove from the data alone that nothing was lost, doubled or falsified.
    ///
    /// Exit 4 when a claim does not hold. `--select` takes some tables.
    Verify {
        /// Decode every record of every topic a second time, not a sample.
        #[arg(long)]
        deep: bool,
        /// Evaluate gold tables with another engine, too.
        #[arg(long, value_enum, value_name = "ENGINE")]
        with: Option<Second>,
    },
    /// Try every service of the target for what LakePulse depends on, and say what is wrong and what to do.
    ///
    /// Makes one small topic, `_lakepulse.NAME.doctor`, and a few objects in the lake, and deletes them
    /// again. Exit 1 when a check fails.
    Doctor,
    /// Delete files and log entries that no follower and no retention rule needs, and compact bronze.
    ///
    /// This keeps everything since the oldest position of a table's followers, and everything of the last
    /// seven days. Running stages do the same every few hours, and compact their own tables.
    Maintain,
    /// Continue without the records that a topic has lost.
    ///
    /// A bronze table halts when records were deleted before they were read, or when its topic was deleted
    /// and created again. This checks both, stores in the table what is lost, and lets the table continue
    /// after it. Tables further down keep what they have of the lost records until the same keys change
    /// again.
    AcceptLoss {
        /// The topic.
        topic: String,
    },
    /// How a table is kept, and why that way.
    Explain {
        /// The table.
        table: String,
    },
    /// Print the statements with which another engine learns where the tables are.
    ///
    /// With `--json`, the tables and their locations as that engine writes them. `--select` takes some.
    Register {
        /// Whose statements.
        #[arg(long, value_enum)]
        engine: Engine,
        /// Trino's catalog.
        #[arg(long, value_name = "NAME", default_value = "lake")]
        catalog: String,
    },
    /// Run a query over the lake.
    Query {
        /// SQL. A table may be followed by `VERSION AS OF n` or `TIMESTAMP AS OF '…'`.
        sql: String,
        /// How to print the rows.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// What the simulator does.
#[derive(Debug, Clone, Args)]
pub struct Workload {
    /// The same seed gives the same bytes.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Stop after this many change events. Without it the simulator goes on.
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// Mean change events a second. Without it, what the pattern says.
    #[arg(long, value_name = "R")]
    pub rate: Option<NonZeroU32>,
    /// When events are sent, never which: `trickle`, `bulk` or `burst`.
    #[arg(long, value_name = "P")]
    pub pattern: Option<Pattern>,
    /// Share of events that arrive late in their partition, as `1%` or `0.01`.
    #[arg(long, value_name = "SHARE")]
    pub disorder: Option<Share>,
    /// Share of events that are sent a second time.
    #[arg(long, value_name = "SHARE")]
    pub duplicates: Option<Share>,
    /// Undecodable records to add, as a share of events.
    #[arg(long, value_name = "SHARE")]
    pub poison: Option<Share>,
    /// Change schemas at event N: `column@N` a new nullable column, `widen@N` a wider type, `N` both.
    #[arg(long, value_name = "CHANGE")]
    pub schema_change: Option<SchemaChange>,
    /// Write what the tables must contain in the end to this file.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
}

impl Workload {
    /// The declared settings, overridden by the command line.
    pub fn over(&self, declared: Settings) -> Settings {
        // A number of events on the command line means as fast as possible, unless the command line also has
        // a rate or a pattern.
        let counted = self.events.is_some();
        Settings {
            seed: self.seed.unwrap_or(declared.seed),
            events: self.events.or(declared.events),
            rate: self.rate.or(declared.rate.filter(|_| !counted)),
            pattern: self.pattern.or(declared.pattern.filter(|_| !counted)),
            disorder: self.disorder.unwrap_or(declared.disorder),
            duplicates: self.duplicates.unwrap_or(declared.duplicates),
            poison: self.poison.unwrap_or(declared.poison),
            schema_change: self.schema_change.or(declared.schema_change),
            ..declared
        }
    }
    /// Whether the command line has any of the simulator's options.
    pub fn is_asked_for(&self) -> bool {
        let Self { seed, events, rate, pattern, disorder, duplicates, poison, schema_change, summary } = self;
        seed.is_some()
            || events.is_some()
            || rate.is_some()
            || pattern.is_some()
            || disorder.is_some()
            || duplicates.is_some()
            || poison.is_some()
            || schema_change.is_some()
            || summary.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub enum IngestSource {
    /// CSV and JSON Lines files dropped into a folder, each once.
    Files {
        /// The folder to watch.
        dir: PathBuf,
        /// The declared topic the rows go to.
        #[arg(long, value_name = "T")]
        topic: String,
        /// The declared topic for lines that are no rows of that topic.
        #[arg(long, value_name = "T")]
        dead_letters: Option<String>,
        /// Exit once every file that is there has been published.
        #[arg(long)]
        until_drained: bool,
    },
    /// A PostgreSQL database: the rows of its tables once, then every change.
    Postgres {
        /// Which source of `sources/`, where several have `connector: postgres`.
        source: Option<String>,
        /// Read this table again, as `schema.table`. Rows that were deleted meanwhile are deleted from
        /// silver, too.
        #[arg(long, value_name = "TABLE")]
        snapshot: Vec<String>,
        /// Continue although the database is another one or its slot is lost: start a new epoch and read
        /// every table again.
        #[arg(long)]
        new_epoch: bool,
        /// Exit once everything is published that was committed when this began.
        #[arg(long)]
        until_drained: bool,
    },
}

/// What a stage verb takes.
#[derive(Debug, Clone, Args)]
pub struct StageArgs {
    /// Exit once everything that is in the input now has reached the end of this stage.
    #[arg(long)]
    pub until_drained: bool,
}

/// Another engine that reads the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// External tables of its session's catalog.
    Spark,
    /// Tables of a catalog of its Delta Lake connector.
    Trino,
    /// Views over its Delta extension.
    Duckdb,
}

/// Another engine that evaluates gold tables for `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Second {
    /// The program `duckdb`, or its module for `python3`.
    Duckdb,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_command_line_says_of_the_simulator_wins_over_its_file() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            workload: Workload,
        }
        let rate = NonZeroU32::new;
        let declared =
            Settings { seed: 7, rate: rate(500), pattern: Some(Pattern::Trickle), ..Settings::default() };
        let over = |line: &str| {
            let line = Line::parse_from(std::iter::once("sim").chain(line.split_whitespace()));
            line.workload.over(declared.clone())
        };
        assert_eq!(over(""), declared);
        // As fast as possible, unless the command line has a rate.
        let counted = over("--events 9");
        assert_eq!((counted.events, counted.rate, counted.pattern), (Some(9), None, None));
        let paced = over("--events 9 --rate 5 --seed 8");
        assert_eq!((paced.seed, paced.rate, paced.pattern), (8, rate(5), None));
    }
}
