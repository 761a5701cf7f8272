//! Recordings of a real connector, and schemas for those that carry none.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

use crate::harness::{Project, until};

/// Nothing here takes this long unless it hangs.
pub const SOON: Duration = Duration::from_secs(60);

/// The topics of these tables, with what is in a folder of recordings.
pub fn recordings(prefix: &str, folder: &str, tables: &[&str]) -> Vec<(String, Vec<Value>)> {
    let of =
        |table: &&str| (format!("{prefix}.public.{table}"), recorded(&format!("{folder}/public.{table}")));
    tables.iter().map(of).collect()
}

/// The lines of a recording.
fn recorded(file: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let path = root.join("silver/tests-data/debezium").join(file).with_added_extension("jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Puts recordings on topics of their own names, byte for byte, which exist afterwards.
pub fn replay(project: &Project, topics: &[(String, Vec<Value>)]) {
    // Any stage hosts the broker of an embedded project.
    let host = project.start(&["gold"]);
    let addresses = project.dir.path().join(".lakepulse/broker.json");
    let mut bootstrap = String::new();
    until("the broker answers", SOON, || {
        let Ok(text) = std::fs::read_to_string(&addresses) else { return false };
        let addresses: Value = serde_json::from_str(&text).unwrap_or_default();
        bootstrap = addresses["bootstrap"].as_str().unwrap_or_default().to_owned();
        TcpStream::connect(&bootstrap).is_ok()
    });
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bootstrap).set("enable.idempotence", "true");
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let partition = |message: &Value| message["partition"].as_i64().expect("a number") as i32;
    let new = topics.iter().map(|(topic, messages)| {
        let partitions = 1 + messages.iter().map(partition).max().unwrap_or_default();
        NewTopic::new(topic, partitions, TopicReplication::Fixed(1))
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // One that the project declares was made by `apply`.
    runtime.block_on(admin.create_topics(&new, &AdminOptions::new())).expect("the broker answers");
    let producer: BaseProducer = config.create().expect("a producer");
    for (topic, messages) in topics {
        for message in messages {
            let pairs = message["headers"].as_array().cloned().unwrap_or_default();
            let headers = pairs.chunks(2).fold(OwnedHeaders::new(), |headers, pair| {
                headers.insert(Header { key: pair[0].as_str().expect("a name"), value: pair[1].as_str() })
            });
            let mut record: BaseRecord<'_, str, str> =
                BaseRecord::to(topic).partition(partition(message)).headers(headers);
            record.key = message["key"].as_str();
            record.payload = message["payload"].as_str();
            producer.send(record).map_err(|(error, _)| error).expect("taken");
        }
    }
    producer.flush(SOON).expect("delivered");
    host.kill();
}

/// The envelope of a table's rows as an Avro schema.
pub fn envelope(fields: &[Value]) -> String {
    let nullable = |name: &str, kind: Value| json!({ "name": name, "type": ["null", kind] });
    let row = json!({ "type": "record", "name": "Value", "fields": fields });
    let source = json!({ "type": "record", "name": "Source", "fields": [
        { "name": "version", "type": "string" }, { "name": "connector", "type": "string" },
        { "name": "name", "type": "string" }, { "name": "ts_ms", "type": "long" },
        nullable("snapshot", json!("string")), { "name": "db", "type": "string" },
        nullable("sequence", json!("string")), nullable("ts_us", json!("long")), nullable("ts_ns", json!("long")),
        { "name": "schema", "type": "string" }, { "name": "table", "type": "string" },
        nullable("txId", json!("long")), nullable("lsn", json!("long")), nullable("xmin", json!("long")),
    ] });
    let block = json!({ "type": "record", "name": "block", "fields": [
        { "name": "id", "type": "string" }, { "name": "total_order", "type": "long" },
        { "name": "data_collection_order", "type": "long" },
    ] });
    json!({ "type": "record", "name": "Envelope", "namespace": "dbz", "fields": [
        nullable("before", row), nullable("after", json!("Value")), { "name": "source", "type": source },
        nullable("transaction", block), { "name": "op", "type": "string" }, nullable("ts_ms", json!("long")),
        nullable("ts_us", json!("long")), nullable("ts_ns", json!("long")),
    ] })
    .to_string()
}

pub fn field(name: &str, kind: &str) -> Value {
    let kind = match kind {
        "money" => json!({ "type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2 }),
        "date" => json!({ "type": "int", "logicalType": "date" }),
        "timestamp" => json!({ "type": "long", "logicalType": "timestamp-micros" }),
        "texts" => json!({ "type": "array", "items": ["null", "string"] }),
        "numeric" => {
            json!({ "type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
            "fields": [{ "name": "scale", "type": "int" }, { "name": "value", "type": "bytes" }] })
        }
        plain => json!(plain),
    };
    json!({ "name": name, "type": ["null", kind] })
}
