//! One small project that the targets share: a topic of each format, with columns of every type.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::SchemaRef;
use catalog::{Project, Topic};

/// Avro of a record with a field of every type that a table can hold.
pub const EVERY_TYPE: &str = r#"{"type":"record","name":"Row","namespace":"fuzz","fields":[
 {"name":"id","type":"long"},
 {"name":"flag","type":["null","boolean"],"default":null},
 {"name":"small","type":["null","int"],"default":null},
 {"name":"single","type":["null","float"],"default":null},
 {"name":"double","type":["null","double"],"default":null},
 {"name":"text","type":["null","string"],"default":null},
 {"name":"raw","type":["null","bytes"],"default":null},
 {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":4}],"default":null},
 {"name":"price","type":["null",{"type":"fixed","name":"Price","size":8,"logicalType":"decimal","precision":18,"scale":2}],"default":null},
 {"name":"day","type":["null",{"type":"int","logicalType":"date"}],"default":null},
 {"name":"time","type":["null",{"type":"long","logicalType":"time-micros"}],"default":null},
 {"name":"ms","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
 {"name":"us","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
 {"name":"here","type":["null",{"type":"long","logicalType":"local-timestamp-micros"}],"default":null},
 {"name":"uuid","type":["null",{"type":"string","logicalType":"uuid"}],"default":null},
 {"name":"colour","type":["null",{"type":"enum","name":"Colour","symbols":["RED","BLUE"]}],"default":null},
 {"name":"list","type":["null",{"type":"array","items":["null","string"]}],"default":null},
 {"name":"map","type":["null",{"type":"map","values":"long"}],"default":null},
 {"name":"inner","type":["null",{"type":"record","name":"Inner","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}],"default":null},
 {"name":"wide","type":["null",{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}],"default":null}
]}"#;

/// Avro of Debezium's envelope around a small row.
pub const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","namespace":"fuzz.shop","fields":[
 {"name":"before","type":["null",{"type":"record","name":"Value","fields":[
   {"name":"id","type":"long"},{"name":"name","type":["null","string"],"default":null},
   {"name":"notes","type":["null","string"],"default":null},
   {"name":"tags","type":["null",{"type":"array","items":["null","string"]}],"default":null},
   {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}]}],"default":null},
 {"name":"after","type":["null","Value"],"default":null},
 {"name":"source","type":["null",{"type":"record","name":"Source","fields":[
   {"name":"ts_ms","type":["null","long"],"default":null},{"name":"snapshot","type":["null","string"],"default":null},
   {"name":"lsn","type":["null","long"],"default":null},{"name":"txId","type":["null","long"],"default":null},
   {"name":"sequence","type":["null","string"],"default":null}]}],"default":null},
 {"name":"op","type":["null","string"],"default":null},{"name":"ts_ms","type":["null","long"],"default":null},
 {"name":"transaction","type":["null",{"type":"record","name":"block","fields":[
   {"name":"id","type":"string"},{"name":"total_order","type":"long"},{"name":"data_collection_order","type":"long"}]}],"default":null}]}"#;

const FILES: &[(&str, &str)] = &[
    ("lakepulse.yaml", "version: 1\nname: fuzz\n"),
    (
        "topics.yaml",
        "version: 1
topics:
  fuzz.avro: { schema: schemas/row.avsc, key: [id], partitions: 1 }
  fuzz.json: { value: json, schema: schemas/row.avsc, key: [id], partitions: 1 }
  fuzz.keyless: { schema: schemas/row.avsc, partitions: 1 }
  fuzz.shop: { value: json, envelope: debezium, epoch: 1, schema: schemas/envelope.avsc, key: [id], partitions: 1 }
",
    ),
    (
        "models/silver/shop.sql",
        "/* lakepulse
kind: scd2
keys: [id]
expect:
  ok: { valid: \"name <> 'bad'\", else: quarantine }
*/
SELECT id, upper(name) AS name, notes, tags, at, _ts AS happened FROM changes(bronze.shop) WHERE notes <> 'hidden'",
    ),
];

/// The project, loaded once.
pub static PROJECT: LazyLock<Arc<Project>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
        std::fs::write(path, text).expect("written");
    };
    FILES.iter().for_each(|(path, text)| write(path, text));
    write("schemas/row.avsc", EVERY_TYPE);
    write("schemas/envelope.avsc", ENVELOPE);
    let loaded = block_on(catalog::load(Path::new(dir.path()), "embedded"));
    Arc::new(loaded.unwrap_or_else(|faults| panic!("the project has faults: {faults:?}")))
});

/// A topic of the project.
pub fn topic(name: &str) -> &'static Topic {
    let found = PROJECT.catalog.topics.values().find(|topic| topic.name.as_str() == name);
    found.expect("the project declares it")
}

/// How the texts of a topic's JSON hold decimals and bytes.
pub fn encodings(topic: &Topic) -> avro::text::Encodings {
    avro::text::Encodings { decimals: topic.decimals, bytes: topic.bytes }
}

/// The columns of a topic's bronze table.
pub fn columns(topic: &Topic) -> SchemaRef {
    catalog::columns::bronze_schema_of(topic).expect("it can be a table").expect("it is declared")
}

/// Runs to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime of one thread").block_on(future)
}
