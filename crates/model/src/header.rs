//! Names of the headers of records that we read or write. They are stored, so they must never change.

/// Incarnation of the database that a source of ours reads. Marks records of our own sources.
pub const EPOCH: &str = "lp.epoch";
/// The file that a record is from.
pub const FILE: &str = "lp.file";
/// The line of that file.
pub const LINE: &str = "lp.line";
/// Number of a record of the simulator.
pub const SEQ: &str = "lp.seq";
/// Why a source could not read what it published.
pub const ERROR: &str = "lp.error";
/// Id of the gold table that a record is published from.
pub const TABLE_ID: &str = "lp.table_id";
/// Version of that table.
pub const VERSION: &str = "lp.version";
/// Present on the last record of a version.
pub const LAST: &str = "lp.last";
/// Debezium: the key before the change, on the new key's record.
pub const OLD_KEY: &str = "__debezium.oldkey";
/// Debezium: the key after the change, on the old key's record.
pub const NEW_KEY: &str = "__debezium.newkey";
