//! Names of the columns that we add to a topic's. They are stored, so they must never change.
//!
//! `verify` folds silver again with names of its own: it must not share a mistake with the stages.

/// Decoded key.
pub const KEYS: &str = "_keys";
/// Key bytes.
pub const KEY: &str = "_key";
/// Id of the topic.
pub const TOPIC_ID: &str = "_topic_id";
/// Partition.
pub const PARTITION: &str = "_partition";
/// Offset.
pub const OFFSET: &str = "_offset";
/// Kafka's timestamp.
pub const TIMESTAMP: &str = "_timestamp";
/// Headers.
pub const HEADERS: &str = "_headers";
/// Registry id of the value's schema.
pub const SCHEMA_ID: &str = "_schema_id";
/// Incarnation of the source database.
pub const EPOCH: &str = "_epoch";
/// ULID of the redrive that appended the row.
pub const REDRIVE: &str = "_redrive";
/// When bronze read the record.
pub const INGESTED_AT: &str = "_ingested_at";
/// Why the value could not be decoded.
pub const ERROR: &str = "_error";
/// Bytes of that value, or of one with fields that no column takes.
pub const RAW: &str = "_raw";
/// Day of `_ingested_at`: the partition column.
pub const INGESTED_DATE: &str = "_ingested_date";

/// All that bronze adds.
pub const OF_BRONZE: [&str; 14] = [
    KEYS,
    KEY,
    TOPIC_ID,
    PARTITION,
    OFFSET,
    TIMESTAMP,
    HEADERS,
    SCHEMA_ID,
    EPOCH,
    REDRIVE,
    INGESTED_AT,
    ERROR,
    RAW,
    INGESTED_DATE,
];

/// What happened to the row, in `changes(…)`.
pub const OP: &str = "_op";
/// Commit position of the event in the source's log.
pub const LSN: &str = "_lsn";
/// Place of the event in its transaction.
pub const TX_ORDER: &str = "_tx_order";
/// Time of the event.
pub const TS: &str = "_ts";
/// Names of the columns that the source left out because they did not change.
pub const UNCHANGED: &str = "_unchanged";
/// Whether a silver row has values of earlier events.
pub const CARRIED: &str = "_carried";
/// Why a row is in quarantine.
pub const REASON: &str = "_reason";
