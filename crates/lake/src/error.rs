//! What can go wrong between us and a lake, and what a loop does about it.

use model::Reaction;

/// Boxed cause of a fault in a library.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A fault of the lake. Losing a race is no fault: see [`crate::Landing::Moved`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used.
    #[error("lake `{url}` cannot be used: {fault}")]
    BadSettings {
        /// Where the lake is said to be.
        url: String,
        /// What is wrong, and what to write instead.
        fault: String,
    },
    /// The store did not answer, or answered with a fault of its own.
    #[error("cannot reach `{path}` in the lake")]
    Unreachable {
        /// The object asked for.
        path: String,
        /// What the client said.
        source: object_store::Error,
    },
    /// The store has no room. What was to be written is kept and written again.
    #[error("no space left in the lake for `{path}`: free some or make the store larger, it is tried again")]
    Full {
        /// The object to be written.
        path: String,
        /// What the client said.
        source: object_store::Error,
    },
    /// A file the log names is not there.
    #[error("file `{path}` is named by the log but missing from the store; restore it or rebuild the table")]
    FileMissing {
        /// The file.
        path: String,
        /// What the client said.
        source: object_store::Error,
    },
    /// The store lets two writers create the same object.
    #[error(
        "store `{url}` ignores conditional writes ({winners} of {racers} racing creates won): commits would overwrite each other; use a store that honours `If-None-Match`"
    )]
    ConditionIgnored {
        /// Where the lake is.
        url: String,
        /// How many creates claimed success.
        winners: usize,
        /// How many raced.
        racers: usize,
    },
    /// A version asked for has not been written.
    #[error("table `{table}` has no version {version}, its newest is {newest}")]
    NoVersion {
        /// The table.
        table: String,
        /// Asked for.
        version: u64,
        /// Newest.
        newest: u64,
    },
    /// A version's log entry was cleaned up before a reader came by.
    #[error("version {version} of table `{table}` is gone from its log; start again from the current table")]
    LogGone {
        /// The table.
        table: String,
        /// The version whose entry is missing.
        version: u64,
    },
    /// The log holds something that cannot be understood.
    #[error("the log of table `{table}` cannot be read")]
    BadLog {
        /// The table.
        table: String,
        /// What the reader said.
        source: Cause,
    },
    /// The table uses what this program cannot honour.
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
        /// What the table has.
        have: String,
        /// What the writer wants.
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
        /// What the codec said.
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
        /// What the kernel said.
        source: arrow::error::ArrowError,
    },
    /// A value that a partition column would give back as another.
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
    /// A commit would set a position below the one the table holds.
    #[error("commit would move position `{app}` of table `{table}` from {from} back to {to}")]
    PositionFalls {
        /// The table.
        table: String,
        /// The input.
        app: String,
        /// The table's.
        from: i64,
        /// The commit's.
        to: i64,
    },
    /// Another project made this table.
    #[error("table `{table}` belongs to project `{owner}`, not `{project}`; point one of them elsewhere")]
    ForeignTable {
        /// The table.
        table: String,
        /// Whose it is.
        owner: String,
        /// Who asked.
        project: String,
    },
    /// A follower that is in no table of the lake did not say how far it is.
    #[error("cannot tell which versions of table `{table}` are still needed")]
    FollowerUnknown {
        /// The table.
        table: String,
        /// What was said instead.
        source: Cause,
    },
    /// Too many tries in a row failed; whether the last landed is unknown. Committing the same
    /// again finds out.
    #[error("commit `{op}` on table `{table}` is undecided after {attempts} attempts")]
    Undecided {
        /// The table.
        table: String,
        /// The operation's ULID.
        op: String,
        /// How often it was tried.
        attempts: u32,
        /// The last fault.
        source: object_store::Error,
    },
    /// Other writers took every version that was tried.
    #[error("table `{table}` is too busy: {attempts} commits in a row were overtaken")]
    Busy {
        /// The table.
        table: String,
        /// How often it was tried.
        attempts: u32,
    },
}

impl Error {
    /// What a loop does next.
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

/// Outcome of anything that touches a lake.
pub type Result<T, E = Error> = std::result::Result<T, E>;
