//! The keys of `lakepulse.yaml`, `topics.yaml`, `sources/*.yaml`, a model's header and
//! `<table>.test.yaml`.

use super::{KeySpec, Shape, Type, key, required};

const VERSION: KeySpec = key("version", Type::Whole(1, 1), "Version of the file's format: 1.");
const PARTITIONS: KeySpec = key("partitions", Type::Whole(1, 10_000), "Number of partitions. Default: 6.");
const REPLICATION: KeySpec = key("replication", Type::Whole(1, 32), "Number of copies. Default: 1.");
const CONFIG: KeySpec =
    key("config", Type::Map(&Type::Text), "Settings by Kafka's own names, such as `min.insync.replicas`.");
const DESCRIPTION: KeySpec = key("description", Type::Text, "What it is about.");
const OWNER: KeySpec = key("owner", Type::Text, "Whom to ask.");
const TAGS: KeySpec = key("tags", Type::List(&Type::Text), "Labels to select by.");
const NAMES: Type = Type::List(&Type::Text);

/// `lakepulse.yaml`.
pub static PROJECT: Shape = Shape {
    title: "lakepulse.yaml",
    keys: &[
        VERSION,
        key(
            "name",
            Type::Text,
            "Prefixes groups, transactional ids and internal topics. Default: the folder.",
        ),
        key(
            "clock",
            Type::Choice(&["wall", "events"]),
            "What `now()` in a gold model follows. Default: wall.",
        ),
        key("commit", Type::Object(&COMMIT), "When a stage commits: whichever is reached first."),
        key("stages", Type::Object(&STAGES), "How the stages run. Nothing in it changes a result."),
        key(
            "lag_budget",
            Type::Duration,
            "How long stages may stand still without losing records: `doctor` holds retention against it. \
             Default: 1d.",
        ),
        key("targets", Type::Map(&Type::Object(&TARGET)), "Services by the name that `--target` takes."),
    ],
};
static COMMIT: Shape = Shape {
    title: "commit limits",
    keys: &[
        key("interval", Type::Duration, "Age of the oldest row that waits. Default: 1s."),
        key("max_rows", Type::Whole(1, 1_000_000_000), "Rows that wait. Default: 1000000."),
        key("max_bytes", Type::Size, "Bytes that wait. Default: 128MiB."),
    ],
};
/// `stages` of `lakepulse.yaml`.
pub static STAGES: Shape = Shape {
    title: "stages",
    keys: &[
        key("ingest", Type::Object(&INGEST), "Reading files."),
        key("bronze", Type::Object(&BRONZE), "Reading topics; when it commits is `commit`."),
        key("silver", Type::Object(&SILVER), "Folding events."),
        key("gold", Type::Object(&GOLD), "Refreshing tables and publishing them."),
    ],
};
static INGEST: Shape = Shape {
    title: "ingest",
    keys: &[
        key("batch_lines", MANY, "Lines of one transaction at most. Default: 5000."),
        key(
            "batch_bytes",
            Type::Size,
            "Bytes of one transaction at most; one line may exceed it. Default: 4MiB.",
        ),
        key("max_line_bytes", Type::Size, "A longer line is a bad one. Default: 8MiB."),
    ],
};
static BRONZE: Shape = Shape {
    title: "bronze",
    keys: &[
        key(
            "missing_schema_after",
            Type::Duration,
            "How long the registry must say that it has no such schema before records are rows with an error. \
             Default: 30s.",
        ),
        key(
            "memory_bytes",
            Type::Size,
            "Undecoded bytes that all tables hold before the broker has to wait. Default: 64MiB.",
        ),
        key("queue_bytes", Type::Size, "Bytes of one fetch queue of the client. Default: 32MiB."),
        key("batch_records", MANY, "Records that the client hands over at once. Default: 20000."),
        COMPACT_EVERY,
        MAINTAIN,
    ],
};
static SILVER: Shape = Shape {
    title: "silver",
    keys: &[
        key(
            "max_rows",
            MANY,
            "Rows of one commit, about; a version of bronze is never cut. Default: 100000.",
        ),
        key(
            "at_once",
            Type::Whole(1, 1_024),
            "Batches in hand at once, of all tables: what bounds memory. Default: the number of cores.",
        ),
        POLL,
        MEASURE,
        COMPACT_EVERY,
        MAINTAIN,
    ],
};
static GOLD: Shape = Shape {
    title: "gold",
    keys: &[
        POLL,
        key("refresh", Type::Duration, "Refresh a table at most this often while inputs move. Default: 1s."),
        key(
            "pins",
            Type::Duration,
            "Commit pins under which no row changed at most this often. Default: 30s.",
        ),
        MEASURE,
        COMPACT_EVERY,
        MAINTAIN,
        key(
            "max_changed_rows",
            MANY,
            "More changed rows are not narrowed: all is computed. Default: 2000000.",
        ),
        key("max_transaction", MANY, "Records of one Kafka transaction. Default: 100000."),
    ],
};
const MANY: Type = Type::Whole(1, 1_000_000_000);
const POLL: KeySpec = key("poll", Type::Duration, "Look for new versions at least this often. Default: 1s.");
const MEASURE: KeySpec = key("measure", Type::Duration, "Take measures at most this often. Default: 10s.");
const COMPACT_EVERY: KeySpec = key(
    "compact_every",
    Type::Whole(1, 1_000_000),
    "Compact a table once in this many of its commits. Default: 32, bronze 64.",
);
const MAINTAIN: KeySpec = key(
    "maintain",
    Type::Duration,
    "Delete files and log entries that nothing needs this often. Default: 6h.",
);
static TARGET: Shape = Shape {
    title: "target",
    keys: &[
        key("kafka", Type::Object(&KAFKA), "The Kafka cluster. Default: the embedded broker."),
        key("registry", Type::Object(&REGISTRY), "The schema registry. Default: the embedded one."),
        key("lake", Type::Object(&LAKE), "The lake's store. Default: files below `.lakepulse/lake`."),
        key("topics", Type::Object(&TARGET_TOPICS), "What topics get here unless they say otherwise."),
    ],
};
static TARGET_TOPICS: Shape = Shape { title: "topics of a target", keys: &[PARTITIONS, REPLICATION, CONFIG] };
static KAFKA: Shape = Shape {
    title: "Kafka cluster",
    keys: &[
        required("bootstrap", Type::Setting, "Addresses of brokers, with commas between."),
        key("security", Type::Object(&SECURITY), "Encryption and authentication."),
        key("config", Type::Map(&Type::Secret), "Client settings by librdkafka's own names."),
    ],
};
static SECURITY: Shape = Shape {
    title: "Kafka security",
    keys: &[
        key(
            "protocol",
            Type::Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
            "How to connect. Default: plaintext.",
        ),
        key(
            "mechanism",
            Type::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
            "How to authenticate.",
        ),
        key("username", Type::Setting, "Name for SASL."),
        key("password", Type::Secret, "Password for SASL."),
        CA,
        CERTIFICATE,
        KEY,
        key("key_password", Type::Secret, "Password of the private key."),
    ],
};
const CA: KeySpec = key("ca", Type::Path, "File of certificates to trust. Default: those of the system.");
const CERTIFICATE: KeySpec = key("certificate", Type::Path, "File of the client's certificate.");
const KEY: KeySpec = key("key", Type::Path, "File of the client's private key.");
static REGISTRY: Shape = Shape {
    title: "schema registry",
    keys: &[
        required("url", Type::Setting, "Its address."),
        key("user", Type::Setting, "Name for basic authentication."),
        key("password", Type::Secret, "Password for basic authentication."),
        CA,
        CERTIFICATE,
        KEY,
    ],
};
static LAKE: Shape = Shape {
    title: "lake",
    keys: &[
        required("url", Type::Setting, "`s3://bucket/prefix` or `file:///path`."),
        key("endpoint", Type::Setting, "Address of the store where it is not AWS."),
        key("region", Type::Setting, "Region of the bucket. Default: AWS_REGION, else us-east-1."),
        key(
            "access_key",
            Type::Secret,
            "Id of the access key. Default: the environment, web identity, container or instance role.",
        ),
        key("secret_key", Type::Secret, "The secret of the access key."),
        CA,
        key("options", Type::Map(&Type::Secret), "Further options by object_store's names."),
    ],
};

/// `topics.yaml`.
pub static TOPICS: Shape = Shape {
    title: "topics.yaml",
    keys: &[
        VERSION,
        key("defaults", Type::Object(&TOPIC_DEFAULTS), "What every topic gets unless it says otherwise."),
        key(
            "topics",
            Type::Map(&Type::Object(&TOPIC)),
            "Contracts by topic name; `*` in a name stands for any letters.",
        ),
    ],
};
const ENVELOPE: KeySpec = key(
    "envelope",
    Type::Choice(&["none", "debezium", "debezium_flat"]),
    "What a value wraps around the row. Default: none.",
);
const VALUE: KeySpec =
    key("value", Type::Choice(&["avro", "json", "bytes"]), "How a value is encoded. Default: avro.");
const DECIMALS: KeySpec = key(
    "decimals",
    Type::Choice(&["text", "base64"]),
    "What a text of JSON is where a decimal should stand: its digits, or base64 of its unscaled number. \
     Numbers are taken either way. Default: base64 in an envelope of Debezium, else text.",
);
const BYTES: KeySpec = key(
    "bytes",
    Type::Choice(&["base64", "hex", "text"]),
    "How JSON and files hold bytes; as `text`, they are the text's own in UTF-8. Default: base64 in an \
     envelope of Debezium, else text.",
);
const KEY_FORMAT: KeySpec = key(
    "key_format",
    Type::Choice(&["avro", "json", "text", "long", "int", "uuid", "bytes"]),
    "How a key is encoded; all but avro and json hold one column. Default: avro where the registry's frame \
     says so, else json.",
);
const RETENTION: KeySpec =
    key("retention", Type::Retention, "How long Kafka keeps a record, or `forever`. Default: 7d.");
const COMPATIBILITY: KeySpec = key(
    "compatibility",
    Type::Choice(&[
        "none",
        "backward",
        "backward_transitive",
        "forward",
        "forward_transitive",
        "full",
        "full_transitive",
    ]),
    "Which schemas the registry lets in. Default: backward_transitive.",
);
static TOPIC_DEFAULTS: Shape = Shape {
    title: "defaults of topics",
    keys: &[
        ENVELOPE,
        VALUE,
        DECIMALS,
        BYTES,
        KEY_FORMAT,
        RETENTION,
        COMPATIBILITY,
        PARTITIONS,
        REPLICATION,
        CONFIG,
    ],
};
static TOPIC: Shape = Shape {
    title: "topic",
    keys: &[
        DESCRIPTION,
        OWNER,
        TAGS,
        key(
            "schema",
            Type::Text,
            "Avro schema file of the value. Default: learned from the registry; of JSON in an envelope, from its schema part.",
        ),
        key("key_schema", Type::Text, "Avro schema file of the key. Default: the key columns of the value."),
        ENVELOPE,
        VALUE,
        DECIMALS,
        BYTES,
        KEY_FORMAT,
        key("key", NAMES, "Key columns, in order. Default: those of the key's schema."),
        key("partition_by", NAMES, "Columns that choose the partition. Default: the key."),
        key(
            "event_time",
            Type::Text,
            "Dotted path of the event time. Default: `source.ts_ms` in an envelope, else Kafka's timestamp.",
        ),
        key("epoch", Type::Whole(0, i64::MAX), "Incarnation of the source database, raised when it moves."),
        key(
            "replica_identity",
            Type::Choice(&["default", "full"]),
            "Whether an update carries the whole row before it. Default: default.",
        ),
        key(
            "snapshots",
            Type::Choice(&["partial", "whole"]),
            "What snapshots of a Debezium that is not ours bring: `whole` removes rows that they do not bring. Default: partial.",
        ),
        key(
            "placeholder",
            Type::Text,
            "What the connector writes for an unchanged TOASTed value: its `unavailable.value.placeholder`.",
        ),
        key(
            "table",
            Type::Table,
            "Bronze table. Default: `bronze.` and the name without its first part, dots to underscores.",
        ),
        PARTITIONS,
        REPLICATION,
        RETENTION,
        COMPATIBILITY,
        CONFIG,
    ],
};

/// `sources/<name>.yaml`.
pub static SOURCE: Shape = Shape {
    title: "source",
    keys: &[
        VERSION,
        DESCRIPTION,
        OWNER,
        TAGS,
        required("connector", Type::Choice(CONNECTORS), "What pulls it."),
        key("settings", Type::Any, "What the connector needs to know."),
        required(
            "streams",
            Type::Map(&Type::Topic),
            "Stream to topic. What a stream is, the connector says.",
        ),
    ],
};
/// The connectors that a source may name.
pub const CONNECTORS: &[&str] = &["wwi-sim", "files", "postgres"];
/// `settings:` of a `wwi-sim` source.
pub static WWI_SIM: Shape = Shape {
    title: "settings of wwi-sim",
    keys: &[
        key("seed", Type::Whole(0, i64::MAX), "The same seed gives the same bytes. Default: 7."),
        key("events", Type::Whole(0, i64::MAX), "Stop after this many. Default: never."),
        key("rate", Type::Number, "Events a second; 0 for as fast as they are taken. Default: 500."),
        key(
            "pattern",
            Type::Choice(&["trickle", "bulk", "burst"]),
            "How events are spread over time. Default: trickle.",
        ),
        key("disorder", Type::Share, "Share of records sent late. Default: 0."),
        key("duplicates", Type::Share, "Share of records sent twice. Default: 0."),
        key("poison", Type::Share, "Share of records that cannot be decoded. Default: 0."),
        key("schema_change_at", Type::Whole(0, i64::MAX), "Change the schema at this event. Default: never."),
    ],
};
/// `settings:` of a `files` source. Its streams are patterns of file names.
pub static FILES: Shape = Shape {
    title: "settings of files",
    keys: &[
        required("dir", Type::Text, "The watched folder, below the project's unless absolute."),
        required("dead_letter", Type::Topic, "Topic for bad lines: `value: bytes`."),
        key(
            "format",
            Type::Choice(&["csv", "tsv", "jsonl", "json"]),
            "What files hold; `json` is an array of objects. Default: their ending says.",
        ),
        key("delimiter", Type::Character, "What is between two fields. Default: `,`; of `.tsv` a tab."),
        key("quote", Type::Character, "What encloses a field, or `none`. Default: `\"`."),
        key(
            "encoding",
            Type::Choice(ENCODINGS),
            "How text is encoded; `utf-16` is told by its byte order mark. Default: utf-8.",
        ),
        key("header", Type::Flag, "Whether the first line of CSV names the columns. Default: true."),
        key("columns", NAMES, "Names of the columns where there is no header, in order."),
        key(
            "compression",
            Type::Choice(&["none", "gzip"]),
            "Whether files are compressed. Default: gzip where their names end in `.gz`.",
        ),
        key(
            "identity",
            Type::Choice(&["content", "path"]),
            "What makes two files one: the same bytes, under whatever name, or the same path. Default: content.",
        ),
        key("poll", Type::Duration, "How often the folder is looked at. Default: 1s."),
        key(
            "settle",
            Type::Duration,
            "How long a file must not have changed before it is taken. Default: from one look to the next; 3s \
             where its last line has no end.",
        ),
        key("max_line_bytes", Type::Size, "A longer line, or CSV record, is a bad one. Default: 8MiB."),
    ],
};
/// The encodings of text files.
pub const ENCODINGS: &[&str] =
    &["utf-8", "latin1", "iso-8859-1", "windows-1252", "utf-16", "utf-16le", "utf-16be"];
/// `settings:` of a `postgres` source. Its streams are tables, `schema.table`.
pub static POSTGRES: Shape = Shape {
    title: "settings of postgres",
    keys: &[
        required("url", Type::Text, "`postgres://user:password@host:port/database`; give it as `${env:…}`."),
        key("slot", Type::Text, "Replication slot. Default: `lakepulse_`, project, `_`, source."),
        key("publication", Type::Text, "Publication. Default: lakepulse."),
        key("heartbeat", Type::Duration, "How often the slot moves on while no table changes. Default: 10s."),
    ],
};

/// The header of a model.
pub static MODEL: Shape = Shape {
    title: "header of a model",
    keys: &[
        required(
            "kind",
            Type::Choice(&["scd1", "scd2", "append", "table", "view"]),
            "scd1, scd2 and append are silver; table is gold; a view is not stored.",
        ),
        key("keys", NAMES, "Key columns of the output; in silver all key columns of the source."),
        DESCRIPTION,
        OWNER,
        TAGS,
        key("expect", Type::Map(&Type::Object(&EXPECT)), "Rules by name."),
        key("freshness", Type::Duration, "Older than this is worth an alarm."),
        key("columns", Type::Map(&Type::Object(&COLUMN)), "What is said of output columns."),
        key("tick", Type::Duration, "To what `now()` is floored. Default: 1d."),
        key("publish", Type::Topic, "Topic on which a gold table is published."),
        key("partition_by", NAMES, "Partition columns of the table."),
        key("cluster_by", NAMES, "Columns to sort by when the table is compacted."),
        key(
            "deletion_vectors",
            Type::Flag,
            "Off buys readers that know none, at the price of copied files. Default: on.",
        ),
        key("change_feed", Type::Flag, "Lets other engines read the table's changes. Default: off."),
        key("track_history", NAMES, "Columns whose change opens a version of an scd2 row. Default: all."),
        key("sequence_by", Type::Text, "Column that orders a key's events, where there is no envelope."),
        key(
            "deletes_when",
            Type::Text,
            "Predicate that makes an event a delete, where there is no envelope.",
        ),
        key(
            "truncates_when",
            Type::Text,
            "Predicate that makes an event a truncate, where there is no envelope.",
        ),
    ],
};
static EXPECT: Shape = Shape {
    title: "rule",
    keys: &[
        key("valid", Type::Text, "SQL over the output columns, true where a row is valid."),
        key("measure", Type::Text, "SQL aggregate over the table after a commit."),
        key("at_least", Type::Number, "Least valid value of the measure."),
        key("at_most", Type::Number, "Greatest valid value of the measure."),
        key("not_null", NAMES, "Columns that are never null."),
        key("unique", NAMES, "Columns that together name one row."),
        key("accepted_values", Type::Object(&ACCEPTED), "The values a column may have."),
        key("relationships", Type::Object(&RELATED), "A column whose values are all in another table."),
        key(
            "else",
            Type::Choice(&["warn", "drop", "quarantine", "fail"]),
            "What happens where it does not hold. Default: warn.",
        ),
    ],
};
static ACCEPTED: Shape = Shape {
    title: "accepted values",
    keys: &[
        required("column", Type::Text, "The column."),
        required("values", Type::List(&Type::Text), "Its values; null is always accepted."),
    ],
};
static RELATED: Shape = Shape {
    title: "relationship",
    keys: &[
        required("column", Type::Text, "The column."),
        required("to", Type::Table, "The other table."),
        key("field", Type::Text, "The other table's column. Default: the same name."),
    ],
};
static COLUMN: Shape = Shape {
    title: "column",
    keys: &[DESCRIPTION, key("pii", Type::Flag, "Whether it tells who a person is. Default: false."), TAGS],
};

/// `<table>.test.yaml`.
pub static TEST: Shape = Shape {
    title: "tests of a model",
    keys: &[VERSION, required("cases", Type::Map(&Type::Object(&CASE)), "Cases by name.")],
};
static CASE: Shape = Shape {
    title: "case",
    keys: &[
        DESCRIPTION,
        key("as_of", Type::Text, "What `now()` means."),
        required("given", Type::Map(&Type::List(&Type::Any)), "Rows or change events by input table."),
        required("expect", Type::List(&Type::Any), "Rows the model must have."),
    ],
};

/// The shape of every kind of file, with the name of its JSON Schema.
pub const ALL: &[(&str, &Shape)] =
    &[("lakepulse", &PROJECT), ("topics", &TOPICS), ("source", &SOURCE), ("model", &MODEL), ("test", &TEST)];
