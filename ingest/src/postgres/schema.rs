//! Avro schemas of a table's topic: created from the table, or existing ones extended by missing columns.
//!
//! A column that was dropped from the table stays in the schema and is null from then on.

use serde_json::{Value as Json, json};

use super::kind::Kind;

/// A column as input for a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// Whether it may be null at present.
    pub nullable: bool,
}

/// The schema of a topic's keys.
pub fn key(server: &str, table: &str, columns: &[&Column]) -> Json {
    let fields: Vec<Json> =
        columns.iter().map(|column| json!({ "name": column.name, "type": column.kind.avro() })).collect();
    json!({ "type": "record", "name": "Key", "namespace": namespace(server, table), "fields": fields })
}

/// The schema of a topic's values, Debezium's envelope. Columns outside of the key allow null, so that a
/// delete needs no fillers for values that the log does not contain.
pub fn value(server: &str, table: &str, columns: &[Column], key: &[String]) -> Json {
    let fields: Vec<Json> = columns
        .iter()
        .map(|column| match key.contains(&column.name) {
            true => json!({ "name": column.name, "type": column.kind.avro() }),
            false => avro::nullable_field(&column.name, column.kind.avro()),
        })
        .collect();
    let plain = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let optional = avro::nullable_field;
    json!({
        "type": "record", "name": "Envelope", "namespace": namespace(server, table),
        "fields": [
            optional("before", json!({ "type": "record", "name": "Value", "fields": fields })),
            optional("after", json!("Value")),
            { "name": "source", "type": {
                "type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql",
                "fields": [
                    plain("version", "string"), plain("connector", "string"), plain("name", "string"),
                    plain("ts_ms", "long"), optional("snapshot", json!("string")), plain("db", "string"),
                    plain("schema", "string"), plain("table", "string"),
                    optional("txId", json!("long")), optional("lsn", json!("long")),
                ],
            } },
            plain("op", "string"),
            optional("ts_ms", json!("long")),
            optional("transaction", json!({
                "type": "record", "name": "block", "namespace": "event",
                "fields": [
                    plain("id", "string"), plain("total_order", "long"), plain("data_collection_order", "long"),
                ],
            })),
        ],
    })
}

/// Extends the schema of a value to the table's current columns. Returns whether it changed, or an error if
/// it has no record of rows.
pub fn follow(value: &mut Json, columns: &[Column]) -> Result<bool, String> {
    let grown = avro::grow_rows(value, &avro_columns(columns));
    grown.ok_or_else(|| "its `before` and `after` hold no record".to_owned())
}

/// Widens the columns of a key's schema to the table's current types. Returns whether it changed.
pub fn follow_key(key: &mut Json, columns: &[Column]) -> bool {
    avro::grow_key(key, &avro_columns(columns))
}

fn avro_columns(columns: &[Column]) -> Vec<avro::Column> {
    let column = |column: &Column| avro::Column {
        name: column.name.clone(),
        kind: column.kind.avro(),
        nullable: column.nullable,
    };
    columns.iter().map(column).collect()
}

fn namespace(server: &str, table: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    format!("{server}.{table}").chars().map(legal).collect()
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::schema_compatibility::SchemaCompatibility;

    use super::*;

    fn column(name: &str, kind: Kind, nullable: bool) -> Column {
        Column { name: name.to_owned(), kind, nullable }
    }
    fn parse(json: &Json) -> Schema {
        Schema::parse(json).expect("an Avro schema")
    }
    fn made(columns: &[Column]) -> Json {
        value("shop", "public.orders", columns, &["id".to_owned()])
    }

    #[test]
    fn a_table_that_stays_changes_no_schema() {
        let columns = [column("id", Kind::Int, false), column("note", Kind::Text(None), true)];
        let mut schema = made(&columns);
        assert_eq!(follow(&mut schema, &columns), Ok(false));
        assert_eq!(schema, made(&columns));
    }

    #[test]
    fn a_changed_table_has_a_schema_that_reads_what_was_written_before() {
        let decimal = |precision, scale| Kind::Decimal { precision, scale };
        let before = [column("id", Kind::Int, false), column("total", decimal(18, 2), true)];
        let mut schema = made(&before);
        let old = parse(&schema);
        let after = [
            column("id", Kind::Long, false),
            column("total", decimal(20, 2), true),
            column("segment", Kind::Text(None), true),
        ];
        assert_eq!(follow(&mut schema, &after), Ok(true));
        let text = schema.to_string();
        assert!(text.contains(r#""name":"segment""#) && text.contains(r#""precision":20"#), "{text}");
        SchemaCompatibility::can_read(&old, &parse(&schema)).expect("backward compatible");
    }

    #[test]
    fn a_key_grows_with_its_column() {
        let [narrow, wide] = [Kind::Int, Kind::Long].map(|kind| column("id", kind, false));
        let mut schema = key("shop", "public.orders", &[&narrow]);
        assert!(!follow_key(&mut schema, &[narrow]));
        assert!(follow_key(&mut schema, std::slice::from_ref(&wide)));
        assert_eq!(schema, key("shop", "public.orders", &[&wide]));
    }

    #[test]
    fn a_column_that_may_be_null_now_gets_null() {
        let mut schema = made(&[column("id", Kind::Int, false)]);
        assert_eq!(follow(&mut schema, &[column("id", Kind::Int, true)]), Ok(true));
        parse(&schema);
        assert_eq!(follow(&mut schema, &[column("id", Kind::Int, true)]), Ok(false));
    }

    #[test]
    fn a_column_that_is_gone_stays_in_the_schema() {
        let both = [column("id", Kind::Int, false), column("note", Kind::Text(None), true)];
        let mut schema = made(&both);
        assert_eq!(follow(&mut schema, &both[..1]), Ok(false));
        assert!(schema.to_string().contains("note"));
    }

    #[test]
    fn the_first_definition_of_the_row_may_stand_below_after() {
        let mut schema = json!({ "type": "record", "name": "E", "fields": [
            { "name": "after", "type": { "type": "record", "name": "Value", "fields": [] } },
            { "name": "before", "type": ["null", "Value"] },
        ] });
        assert_eq!(follow(&mut schema, &[column("id", Kind::Int, true)]), Ok(true));
        assert!(follow(&mut json!({ "type": "record", "name": "E", "fields": [] }), &[]).is_err());
    }
}
