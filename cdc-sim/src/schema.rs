//! Avro schemas of the topics, from the same columns as the encoding of the records.
//!
//! Names are Debezium's: `<server>.<schema>.<table>.Envelope`, `.Value` and `.Key`, so that a real Debezium
//! can replace the simulator. The files in `schemas/cdc/` contain the text of [`value`] for [`Shape::FIRST`]
//! and of [`key`], byte for byte; a test compares them.

use std::fmt::Write as _;

use crate::field::Kind;
use crate::row::{Column, ColumnChange};
use crate::settings::SchemaChange;
use crate::tables::SourceTable;

/// Name of the simulated server: Debezium's `topic.prefix`.
pub const SERVER: &str = "wwi";
/// Name of the simulated database.
pub const DATABASE: &str = "wide_world_importers";
/// Version in every record's `source`.
pub const SOURCE_VERSION: &str = "1.0";
/// Connector in every record's `source`.
pub const CONNECTOR: &str = "wwi-sim";

/// The schema changes that are in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The new column exists.
    pub column: bool,
    /// The widened column is wide.
    pub widen: bool,
}
impl Shape {
    /// Before any change.
    pub const FIRST: Self = Self { column: false, widen: false };
    /// After a change.
    pub fn after(change: SchemaChange) -> Self {
        Self { column: change.column, widen: change.widen }
    }
    /// The shape of a transaction that begins at `sequence`.
    pub fn at(change: Option<SchemaChange>, sequence: u64) -> Self {
        change.filter(|change| sequence >= change.at).map_or(Self::FIRST, Self::after)
    }
    /// Whether a table's schema differs from its first one.
    pub fn changes(self, table: SourceTable) -> bool {
        table.columns().iter().any(|column| match column.change {
            ColumnChange::Stays => false,
            ColumnChange::Added => self.column,
            ColumnChange::Widened => self.widen,
        })
    }
}

/// Schema of a topic's values.
pub fn value(table: SourceTable, shape: Shape) -> String {
    let mut fields = String::new();
    for column in table.columns() {
        if shape.column || column.change != ColumnChange::Added {
            let comma = if fields.is_empty() { "" } else { "," };
            // Writing to a string never fails.
            let _ = write!(fields, "{comma}\n            {}", field(column, shape));
        }
    }
    format!(
        r#"{{
  "type": "record",
  "name": "Envelope",
  "namespace": "{namespace}",
  "fields": [
    {{
      "name": "before",
      "type": [
        "null",
        {{
          "type": "record",
          "name": "Value",
          "fields": [{fields}
          ]
        }}
      ],
      "default": null
    }},
    {{"name": "after", "type": ["null", "Value"], "default": null}},
{ENVELOPE_TAIL}"#,
        namespace = namespace(table),
    )
}

/// The part after `before` and `after`, which is the same for every table.
const ENVELOPE_TAIL: &str = r#"    {
      "name": "source",
      "type": {
        "type": "record",
        "name": "Source",
        "namespace": "io.lakepulse.connector.wwi",
        "fields": [
          {"name": "version", "type": "string"},
          {"name": "connector", "type": "string"},
          {"name": "name", "type": "string"},
          {"name": "ts_ms", "type": "long"},
          {"name": "snapshot", "type": ["null", "string"], "default": null},
          {"name": "db", "type": "string"},
          {"name": "schema", "type": "string"},
          {"name": "table", "type": "string"},
          {"name": "txId", "type": ["null", "long"], "default": null},
          {"name": "lsn", "type": ["null", "long"], "default": null}
        ]
      }
    },
    {"name": "op", "type": "string"},
    {"name": "ts_ms", "type": ["null", "long"], "default": null},
    {
      "name": "transaction",
      "type": [
        "null",
        {
          "type": "record",
          "name": "block",
          "namespace": "event",
          "fields": [
            {"name": "id", "type": "string"},
            {"name": "total_order", "type": "long"},
            {"name": "data_collection_order", "type": "long"}
          ]
        }
      ],
      "default": null
    }
  ]
}
"#;

/// Schema of a topic's keys.
pub fn key(table: SourceTable) -> String {
    format!(
        r#"{{
  "type": "record",
  "name": "Key",
  "namespace": "{}",
  "fields": [
    {{"name": "{}", "type": "int"}}
  ]
}}
"#,
        namespace(table),
        table.key(),
    )
}

fn namespace(table: SourceTable) -> String {
    format!("{SERVER}.{}.{}", table.schema(), table.name())
}

fn field(column: &Column, shape: Shape) -> String {
    let plain = match column.kind {
        Kind::Int if column.change == ColumnChange::Widened && shape.widen => r#""long""#.to_owned(),
        Kind::Int => r#""int""#.to_owned(),
        Kind::Long => r#""long""#.to_owned(),
        Kind::Decimal(scale) => {
            format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": {scale}}}"#)
        }
        Kind::Date => r#"{"type": "int", "logicalType": "date"}"#.to_owned(),
        Kind::Instant => r#"{"type": "long", "logicalType": "timestamp-micros"}"#.to_owned(),
        Kind::Bool => r#""boolean""#.to_owned(),
        Kind::Text => r#""string""#.to_owned(),
    };
    let name = column.name;
    if column.nullable {
        return format!(r#"{{"name": "{name}", "type": ["null", {plain}], "default": null}}"#);
    }
    format!(r#"{{"name": "{name}", "type": {plain}}}"#)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use apache_avro::schema_compatibility::SchemaCompatibility;

    use super::*;

    /// Run with `UPDATE_SCHEMAS=1` after a change of a column, and review the diff.
    #[test]
    fn the_schema_files_are_what_the_encoder_writes() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/cdc");
        for table in SourceTable::ALL {
            let name = table.name();
            let files = [
                (format!("{name}.avsc"), value(table, Shape::FIRST)),
                (format!("{name}.key.avsc"), key(table)),
            ];
            for (file, text) in files {
                let path = folder.join(file);
                if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                    std::fs::write(&path, &text).expect("the schemas folder is there");
                }
                let found = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(found, text, "{} is out of date", path.display());
            }
        }
    }

    #[test]
    fn a_changed_schema_reads_what_the_first_one_wrote() {
        let changed = Shape { column: true, widen: true };
        for table in SourceTable::ALL {
            let parse = |shape| apache_avro::Schema::parse_str(&value(table, shape)).expect("valid schema");
            SchemaCompatibility::can_read(&parse(Shape::FIRST), &parse(changed))
                .expect("backward compatible");
            assert_eq!(
                changed.changes(table),
                matches!(table, SourceTable::Customers | SourceTable::StockItemHoldings),
                "{}",
                table.name()
            );
        }
    }
}
