//! Models, topics and bronze rows, valid by default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use catalog::{Envelope, Expectation, Kind, Location, Model, Otherwise, Topic, ValueFormat};
use query::projection::Projection;
use serde_json::{Value, json};

use crate::changes::Reader;
use crate::judge::Rules;

pub fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}
pub fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// A topic of Debezium envelopes; `key` is empty if rows have none.
pub fn topic(key: &[&str]) -> Topic {
    let key: Vec<String> = key.iter().map(ToString::to_string).collect();
    Topic {
        name: "shop.things".parse().expect("a name"),
        table: "bronze.things".parse().expect("a name"),
        description: None,
        value: ValueFormat::Avro,
        envelope: Envelope::Debezium,
        decimals: model::text::DecimalForm::Text,
        bytes: model::text::BytesForm::Text,
        key_format: None,
        value_schema: None,
        declared: false,
        key_schema: None,
        partition_by: key.clone(),
        key,
        event_time: None,
        epoch: None,
        full_identity: false,
        snapshots: Default::default(),
        placeholder: None,
        partitions: 2,
        replication: 1,
        retention: None,
        compatibility: "NONE".to_owned(),
        config: BTreeMap::new(),
        location: Location::new("topics.yaml", 1),
    }
}

/// A bronze table whose `after` has these columns.
pub fn bronze_schema(row: &[Field], key: &[Field]) -> SchemaRef {
    let of = |name: &str, fields: &[Field]| {
        Field::new(name, DataType::Struct(Fields::from(fields.to_vec())), true)
    };
    let header = Fields::from(vec![text("key"), Field::new("value", DataType::Binary, true)]);
    let headers = DataType::List(Arc::new(Field::new("element", DataType::Struct(header), true)));
    let mut fields = vec![
        of("before", row),
        of("after", row),
        of("source", &[long("ts_ms"), text("snapshot"), long("lsn")]),
        of("transaction", &[text("id"), long("total_order")]),
        text("op"),
        long("ts_ms"),
    ];
    if !key.is_empty() {
        fields.push(of("_keys", key));
    }
    fields.extend([
        text("_topic_id"),
        long("_partition"),
        long("_offset"),
        Field::new("_headers", headers, true),
        long("_schema_id"),
        long("_epoch"),
        text("_redrive"),
        text("_error"),
    ]);
    Arc::new(Schema::new(fields))
}

/// Bronze rows from JSON objects with the columns of the table.
pub fn bronze(schema: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows.len().max(1))
        .build_decoder()
        .expect("a schema");
    decoder.serialize(rows).expect("rows of the schema");
    decoder.flush().expect("rows of the schema").unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema)))
}

/// A header as bronze stores it; JSON has binary as hexadecimal.
pub fn header(name: &str, value: &str) -> Value {
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    json!({ "key": name, "value": hex })
}

/// A model over `changes(bronze.things)`, with the columns of its SQL.
pub struct Modelling {
    pub kind: Kind,
    pub keys: Vec<String>,
    pub sql: String,
    pub expectations: Vec<(&'static str, &'static str, Otherwise)>,
    pub track: Vec<String>,
}
impl Modelling {
    pub fn new(kind: Kind, keys: &[&str], sql: &str) -> Self {
        let keys = keys.iter().map(ToString::to_string).collect();
        Self { kind, keys, sql: sql.to_owned(), expectations: Vec::new(), track: Vec::new() }
    }
    pub async fn model(&self, topic: &Topic, bronze: &Schema) -> Model {
        let changes = Reader::try_new(topic, bronze).expect("a bronze table");
        let parsed = query::sql::parse(&self.sql).expect("SQL");
        let planned =
            Projection::compile(&query::session(), &parsed, changes.schema()).await.expect("row-wise");
        let expectations = self.expectations.iter().map(|(name, predicate, otherwise)| Expectation {
            name: (*name).to_owned(),
            predicate: (*predicate).to_owned(),
            otherwise: *otherwise,
        });
        Model {
            name: "silver.things".parse().expect("a name"),
            kind: self.kind,
            description: None,
            keys: self.keys.clone(),
            normalised: parsed.normalised.clone(),
            sql: self.sql.clone(),
            inputs: vec![topic.table.clone()],
            source: Some(topic.table.clone()),
            expectations: expectations.collect(),
            measures: Vec::new(),
            publish: None,
            tick: Duration::from_secs(86_400),
            track_history: self.track.clone(),
            partition_by: Vec::new(),
            cluster_by: Vec::new(),
            deletion_vectors: true,
            change_feed: false,
            freshness: None,
            sequence_by: None,
            deletes_when: None,
            truncates_when: None,
            tags: Vec::new(),
            owner: None,
            columns: Default::default(),
            schema: Arc::clone(planned.schema()),
            unlearned: false,
            fingerprint: 7,
            former: None,
            location: Location::new("models/silver/things.sql", 1),
        }
    }
    pub async fn rules(&self, topic: &Topic, bronze: &Schema) -> Rules {
        Rules::compile(&self.model(topic, bronze).await, topic, bronze).await.expect("compiles")
    }
}
