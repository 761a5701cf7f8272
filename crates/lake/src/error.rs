//! Failures of a lake, and what a loop does about each.

use model::Reaction;

/// Boxed error of a library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the lake. A lost race is not an error: see [`crate::Landing::Moved`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error("lake `{url}` cannot be used: {fault}")]
    BadSettings {
        /// The URL in the settings.
        url: String,
        /// What is wrong, and what to write instead.
        fault: String,
    },
    /// The store did not answer, or failed.
    #[error("cannot reach `{path}` in the lake")]
    Unreachable {
        /// The object asked for.
        path: String,
        /// The client's error.
        source: object_store::Error,
    },
    /// The store is full. The data is kept and written again.
    #[error("no space left in the lake for `{path}`: free some or make the store larger, it is tried again")]
    Full {
        /// The object to be written.
        path: String,
        /// The client's error.
        source: object_store::Error,
    },
    /// A file that the log refers to does not exist.
    #[error("file `{path}` is named by the log but missing from the store; restore it or rebuild the table")]
    FileMissing {
        /// The file.
        path: String,
        /// The client's error.
        source: object_store::Error,
    },
    /// The store lets two writers create the same object.
    #[error(
        "store `{url}` ignores conditional writes ({winners} of {racers} racing creates won): commits would overwrite each other; use a store that honours `If-None-Match`"
    )]
    ConditionIgnored {
        /// The URL of the lake.
        url: String,
        /// How many creates succeeded.
        winners: usize,
        /// How many raced.
        racers: usize,
    },
    /// A requested version does not exist yet.
    #[error("table `{table}` has no version {version}, its newest is {newest}")]
    NoVersion {
        /// The table.
        table: String,
        /// The requested version.
        version: u64,
        /// The newest version.
        newest: u64,
    },
    /// A version's log entry was cleaned up before a reader read it.
    #[error("version {version} of table `{table}` is gone from its log; start again from the current table")]
    LogGone {
        /// The table.
        table: String,
        /// The version whose entry is missing.
        version: u64,
    },
    /// The log cannot be parsed.
    #[error("the log of table `{table}` cannot be read")]
    BadLog {
        /// The table.
        table: String,
        /// The parser's error.
        source: BoxError,
    },
    /// The table uses a feature that this program does not support.
    #[error("table `{table}` requires `{feature}`, which is not supported")]
    Unsupported {
        /// The table.
        table: String,
        /// The feature or type.
        feature: String,
    },
    /// Rows or a schema that do not fit the table.
    #[error("column `{column}` of table `{table}` is {have} but {want} is asked for")]
    SchemaConflict {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The table's type.
        have: String,
        /// The writer's type.
        want: String,
    },
    /// A column that the table does not have.
    #[error("table `{table}` has no column `{column}`")]
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A data file that cannot be decoded or encoded.
    #[error("parquet file `{path}` is unreadable or cannot be written")]
    BadFile {
        /// The file.
        path: String,
        /// The codec's error.
        source: parquet::errors::ParquetError,
    },
    /// A deletion vector that cannot be decoded.
    #[error("deletion vector of `{path}` is unreadable: {fault}")]
    BadVector {
        /// The data file it belongs to.
        path: String,
        /// What is wrong.
        fault: String,
    },
    /// Values that do not convert.
    #[error("rows of table `{table}` do not convert")]
    BadRows {
        /// The table or file.
        table: String,
        /// Arrow's error.
        source: arrow::error::ArrowError,
    },
    /// A value that would not read back from a partition column.
    #[error(
        "table `{table}` is partitioned by `{column}`, and a row's value cannot stand there: {why}; give the rows another value, or leave the column out of `partition_by`"
    )]
    BadPartitionValue {
        /// The table.
        table: String,
        /// The partition column.
        column: String,
        /// What is wrong with the value.
        why: &'static str,
    },
    /// A commit would set a position below the one in the table.
    #[error("commit would move position `{app}` of table `{table}` from {from} back to {to}")]
    PositionFalls {
        /// The table.
        table: String,
        /// The input.
        app: String,
        /// The table's position.
        from: i64,
        /// The commit's position.
        to: i64,
    },
    /// The table belongs to another project.
    #[error("table `{table}` belongs to project `{owner}`, not `{project}`; point one of them elsewhere")]
    ForeignTable {
        /// The table.
        table: String,
        /// The project that owns it.
        owner: String,
        /// The project that asked.
        project: String,
    },
    /// The position of a follower that is not a table of the lake is unknown.
    #[error("cannot tell which versions of table `{table}` are still needed")]
    FollowerUnknown {
        /// The table.
        table: String,
        /// The cause.
        source: BoxError,
    },
    /// Too many attempts in a row failed, and whether the last one landed is unknown. Committing the same
    /// commit again finds out.
    #[error("commit `{op}` on table `{table}` is undecided after {attempts} attempts")]
    Undecided {
        /// The table.
        table: String,
        /// The operation's ULID.
        op: String,
        /// The number of attempts.
        attempts: u32,
        /// The last error.
        source: object_store::Error,
    },
    /// Other writers took every version that was tried.
    #[error("table `{table}` is too busy: {attempts} commits in a row were overtaken")]
    Busy {
        /// The table.
        table: String,
        /// The number of attempts.
        attempts: u32,
    },
}

impl Error {
    /// What a loop does after this error.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Unreachable { .. }
            | Self::Full { .. }
            | Self::FollowerUnknown { .. }
            | Self::Undecided { .. }
            | Self::Busy { .. } => Reaction::Retry,
            Self::SchemaConflict { .. } => Reaction::Reload,
            Self::BadSettings { .. }
            | Self::FileMissing { .. }
            | Self::ConditionIgnored { .. }
            | Self::NoVersion { .. }
            | Self::LogGone { .. }
            | Self::BadLog { .. }
            | Self::Unsupported { .. }
            | Self::NoColumn { .. }
            | Self::BadFile { .. }
            | Self::BadVector { .. }
            | Self::BadRows { .. }
            | Self::BadPartitionValue { .. }
            | Self::PositionFalls { .. }
            | Self::ForeignTable { .. } => Reaction::Halt,
        }
    }
}

/// The result of an operation on a lake.
pub type Result<T, E = Error> = std::result::Result<T, E>;
