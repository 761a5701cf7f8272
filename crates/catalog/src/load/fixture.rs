//! Small projects for tests, valid by default.

use std::collections::BTreeMap;

use tempfile::TempDir;

/// Files of a project by path.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<String, String>);
impl Files {
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.0.insert(name.to_owned(), text.to_owned());
        self
    }
    pub fn append(mut self, name: &str, text: &str) -> Self {
        self.0.entry(name.to_owned()).or_default().push_str(text);
        self
    }
    /// Replaces `was` in a file, which must contain it.
    pub fn replace(&self, name: &str, was: &str, is: &str) -> Self {
        assert!(self.0[name].contains(was), "`{was}` is not in {name}");
        self.clone().with(name, &self.0[name].replacen(was, is, 1))
    }
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
    pub fn text(&self, name: &str) -> &str {
        &self.0[name]
    }
    pub fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in &self.0 {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        dir
    }
}

pub const ORDERS: &str = r#"{"type": "record", "name": "Order",
 "doc": "one order",
 "fields": [
  {"name": "order_id", "type": "int"},
  {"name": "customer_id", "type": "int"},
  {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
  {"name": "ordered_on", "type": {"type": "int", "logicalType": "date"}}
 ]}
"#;
const CUSTOMERS: &str = r#"{"type": "record", "name": "Customer", "fields": [
  {"name": "customer_id", "type": "long"},
  {"name": "region", "type": ["null", "string"], "default": null}
 ]}
"#;

/// A shop: two topics, two silver tables, a view, a published gold table with a test, a source.
pub fn valid() -> Files {
    Files::default()
        .with("lakepulse.yaml", "version: 1\nname: shop\ncommit: { max_bytes: 64MiB }\n")
        .with(
            "topics.yaml",
            "version: 1\ndefaults: { compatibility: full }\ntopics:\n  shop.cdc.orders:\n    envelope: none\n    \
             retention: 3d\n    partitions: 2\n    table: bronze.orders\n    schema: schemas/orders.avsc\n    \
             key: [order_id]\n    partition_by: [order_id]\n    event_time: ordered_on\n  \
             shop.cdc.customers:\n    table: bronze.customers\n    schema: schemas/customers.avsc\n    \
             key: [customer_id]\n",
        )
        .with("schemas/orders.avsc", ORDERS)
        .with("schemas/customers.avsc", CUSTOMERS)
        .with(
            "models/silver/orders.sql",
            "/* lakepulse\nkind: scd1\nkeys: [order_id]\nexpect:\n  positive: { valid: total >= 0, else: quarantine }\n\
             */\nSELECT order_id, customer_id, total,\n  ordered_on\nFROM changes(bronze.orders)\n",
        )
        .with(
            "models/silver/customers.sql",
            "/* lakepulse\nkind: scd2\nkeys: [customer_id]\ntrack_history: [region]\n*/\n\
             SELECT customer_id, upper(region) AS region FROM changes(bronze.customers)\n",
        )
        .with(
            "models/gold/big.sql",
            "/* lakepulse\nkind: view\n*/\nSELECT * FROM silver.orders WHERE total > 1 AND ordered_on <= current_date\n",
        )
        .with(
            "models/gold/sales.sql",
            "/* lakepulse\nkind: table\nkeys: [customer_id, region]\npublish: shop.sales\nexpect:\n  \
             sold: { measure: sum(total), at_least: 0 }\n*/\n\nSELECT o.customer_id, c.region,\n  \
             sum(o.total) AS total\nFROM gold.big o\nJOIN silver.customers c ON c.customer_id = o.customer_id\n\
             GROUP BY 1, 2\n",
        )
        .with(
            "models/gold/sales.test.yaml",
            "cases:\n  sums:\n    given:\n      gold.big: [{ order_id: 1, customer_id: 2, total: 5 }]\n    expect:\n      \
             - { customer_id: 2, total: 6 }\n",
        )
        .with(
            "sources/sim.yaml",
            "version: 1\nconnector: wwi-sim\nsettings: { seed: 3, disorder: 1% }\nstreams:\n  orders: shop.cdc.orders\n",
        )
}

/// One topic in Debezium's envelope and one silver table.
pub fn debezium() -> Files {
    let envelope = r#"{"type": "record", "name": "Envelope", "fields": [
  {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
    {"name": "id", "type": "long"},
    {"name": "price", "type": ["null", "double"], "default": null}
  ]}], "default": null},
  {"name": "after", "type": ["null", "Value"], "default": null},
  {"name": "source", "type": {"type": "record", "name": "Source", "fields": [
    {"name": "ts_ms", "type": "long"}, {"name": "lsn", "type": ["null", "long"], "default": null}
  ]}},
  {"name": "op", "type": "string"}
 ]}
"#;
    Files::default()
        .with("lakepulse.yaml", "name: items\n")
        .with(
            "topics.yaml",
            "topics:\n  lakepulse.cdc.items:\n    schema: schemas/items.avsc\n    envelope: debezium\n    key: [id]\n",
        )
        .with("schemas/items.avsc", envelope)
        .with(
            "models/silver/items.sql",
            "/* lakepulse\nkind: scd1\nkeys: [item_id]\n*/\nSELECT id AS item_id, price FROM changes(bronze.cdc_items)\n",
        )
}
