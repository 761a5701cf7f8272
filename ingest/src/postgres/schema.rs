//! Avro schemas of a table's topic: made from the table, or those at hand with what they lack.
//!
//! Every change here is one that a reader of older records can follow: a column more, with null as its
//! default; a wider number; null where it was not allowed. A column that is gone from the table stays in
//! the schema and is null from then on.

use serde_json::{Value as Json, json};

use super::kind::Kind;

/// A column as the schema needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// May be null, now.
    pub nullable: bool,
}

/// The schema of a topic's keys.
pub fn key(server: &str, table: &str, columns: &[&Column]) -> Json {
    let fields: Vec<Json> =
        columns.iter().map(|column| json!({ "name": column.name, "type": column.kind.avro() })).collect();
    json!({ "type": "record", "name": "Key", "namespace": namespace(server, table), "fields": fields })
}

/// The schema of a topic's values, Debezium's envelope. Columns outside of the key have null, so that
/// a delete need not make up what the log does not hold.
pub fn value(server: &str, table: &str, columns: &[Column], key: &[String]) -> Json {
    let fields: Vec<Json> = columns
        .iter()
        .map(|column| match key.contains(&column.name) {
            true => json!({ "name": column.name, "type": column.kind.avro() }),
            false => nullable(column),
        })
        .collect();
    let plain = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let optional = |name: &str, kind: Json| json!({ "name": name, "type": ["null", kind], "default": null });
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

/// Brings the schema of a value up to what the table is now. Says whether it changed; an error, where it
/// has no record of rows at all.
pub fn follow(value: &mut Json, columns: &[Column]) -> Result<bool, String> {
    let fields = row_fields(value).ok_or("its `before` and `after` hold no record")?;
    let mut changed = false;
    for column in columns {
        let found = fields.iter_mut().find(|field| field["name"] == column.name.as_str());
        let Some(field) = found else {
            fields.push(nullable(column));
            changed = true;
            continue;
        };
        changed |= widen(&mut field["type"], &column.kind);
        if column.nullable && !has_null(&field["type"]) {
            let kind = field["type"].take();
            *field = json!({ "name": column.name, "type": ["null", kind], "default": null });
            changed = true;
        }
    }
    Ok(changed)
}

/// Widens the columns of a key's schema to what the table's are now. Says whether it changed.
pub fn follow_key(key: &mut Json, columns: &[Column]) -> bool {
    let mut changed = false;
    for field in key["fields"].as_array_mut().into_iter().flatten() {
        if let Some(column) = columns.iter().find(|column| field["name"] == column.name.as_str()) {
            changed |= widen(&mut field["type"], &column.kind);
        }
    }
    changed
}

fn namespace(server: &str, table: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
    format!("{server}.{table}").chars().map(legal).collect()
}

fn nullable(column: &Column) -> Json {
    json!({ "name": column.name, "type": ["null", column.kind.avro()], "default": null })
}

fn has_null(kind: &Json) -> bool {
    *kind == "null" || kind.as_array().is_some_and(|branches| branches.iter().any(|b| b == "null"))
}

/// The fields of the one record that `before` and `after` are.
fn row_fields(value: &mut Json) -> Option<&mut Vec<Json>> {
    let fields = value["fields"].as_array_mut()?;
    let images = fields.iter_mut().filter(|field| field["name"] == "before" || field["name"] == "after");
    let record = images.flat_map(|field| match &mut field["type"] {
        Json::Array(branches) => branches.iter_mut().collect::<Vec<_>>(),
        one => vec![one],
    });
    let mut records = record.filter(|branch| branch["type"] == "record");
    records.next()?["fields"].as_array_mut()
}

/// Makes a number wide enough for a column that has grown.
fn widen(field: &mut Json, kind: &Kind) -> bool {
    let kinds: Vec<&mut Json> = match field {
        Json::Array(branches) => branches.iter_mut().collect(),
        one => vec![one],
    };
    let mut changed = false;
    for one in kinds {
        let wider = match (kind, one.as_str()) {
            (Kind::Long, Some("int")) => Some("long"),
            (Kind::Float, Some("int" | "long")) => Some("float"),
            (Kind::Double, Some("int" | "long" | "float")) => Some("double"),
            _ => None,
        };
        if let Some(wider) = wider {
            *one = json!(wider);
            changed = true;
        }
        if let (Kind::Decimal { precision, scale }, true) = (kind, one["logicalType"] == "decimal") {
            let of = |name: &str| one[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            let (old_precision, old_scale) = (of("precision"), of("scale"));
            let behind = old_scale.max(*scale);
            let before = old_precision.saturating_sub(old_scale).max(precision.saturating_sub(*scale));
            let digits = before.saturating_add(behind);
            if (digits, behind) != (old_precision, old_scale) && digits <= 38 {
                one["precision"] = json!(digits);
                one["scale"] = json!(behind);
                changed = true;
            }
        }
    }
    changed
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
