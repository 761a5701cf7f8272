//! A schema brought up to the columns that a database's table has now.
//!
//! Every change here is one that a reader of older records can follow: a column more, with null as its
//! default; a wider number; null where it was not allowed. A column that is gone stays in the schema.

use serde_json::{Value, json};

/// A column as the schema needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The Avro type of its values.
    pub kind: Value,
    /// May be null, now.
    pub nullable: bool,
}

/// A field that may be null, and is null where a record lacks it.
pub fn nullable_field(name: &str, kind: Value) -> Value {
    json!({ "name": name, "type": ["null", kind], "default": null })
}

/// Brings the record that `before` and `after` of an envelope are up to these columns. Says whether it changed.
/// `None`: the envelope has no such record.
pub fn grow_rows(envelope: &mut Value, columns: &[Column]) -> Option<bool> {
    let fields = row_fields(envelope)?;
    let mut changed = false;
    for column in columns {
        let found = fields.iter_mut().find(|field| field["name"] == column.name.as_str());
        let Some(field) = found else {
            fields.push(nullable_field(&column.name, column.kind.clone()));
            changed = true;
            continue;
        };
        changed |= widen(&mut field["type"], &column.kind);
        if column.nullable && !has_null(&field["type"]) {
            let kind = field["type"].take();
            *field = nullable_field(&column.name, kind);
            changed = true;
        }
    }
    Some(changed)
}

/// Widens the columns of a key's record to what these are. Says whether it changed.
pub fn grow_key(key: &mut Value, columns: &[Column]) -> bool {
    let mut changed = false;
    for field in key["fields"].as_array_mut().into_iter().flatten() {
        if let Some(column) = columns.iter().find(|column| field["name"] == column.name.as_str()) {
            changed |= widen(&mut field["type"], &column.kind);
        }
    }
    changed
}

fn has_null(kind: &Value) -> bool {
    *kind == "null" || kind.as_array().is_some_and(|branches| branches.iter().any(|b| b == "null"))
}

/// The fields of the one record that `before` and `after` are.
fn row_fields(value: &mut Value) -> Option<&mut Vec<Value>> {
    let fields = value["fields"].as_array_mut()?;
    let images = fields.iter_mut().filter(|field| field["name"] == "before" || field["name"] == "after");
    let record = images.flat_map(|field| match &mut field["type"] {
        Value::Array(branches) => branches.iter_mut().collect::<Vec<_>>(),
        one => vec![one],
    });
    let mut records = record.filter(|branch| branch["type"] == "record");
    records.next()?["fields"].as_array_mut()
}

/// Makes a number wide enough for a column that has grown.
fn widen(field: &mut Value, wanted: &Value) -> bool {
    let kinds: Vec<&mut Value> = match field {
        Value::Array(branches) => branches.iter_mut().collect(),
        one => vec![one],
    };
    let mut changed = false;
    for one in kinds {
        let is_wider = matches!(
            (wanted.as_str(), one.as_str()),
            (Some("long"), Some("int"))
                | (Some("float"), Some("int" | "long"))
                | (Some("double"), Some("int" | "long" | "float"))
        );
        if is_wider {
            *one = wanted.clone();
            changed = true;
        }
        if wanted["logicalType"] == "decimal" && one["logicalType"] == "decimal" {
            let of = |kind: &Value, name: &str| {
                kind[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
            };
            let (precision, scale) = (of(wanted, "precision"), of(wanted, "scale"));
            let (old_precision, old_scale) = (of(one, "precision"), of(one, "scale"));
            let behind = old_scale.max(scale);
            let before = old_precision.saturating_sub(old_scale).max(precision.saturating_sub(scale));
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

    fn column(name: &str, kind: Value, nullable: bool) -> Column {
        Column { name: name.to_owned(), kind, nullable }
    }
    fn envelope(fields: Value) -> Value {
        let row = json!({ "type": "record", "name": "Value", "fields": fields });
        json!({ "type": "record", "name": "E", "fields": [
            { "name": "before", "type": ["null", row] }, { "name": "after", "type": ["null", "Value"] },
        ] })
    }

    #[test]
    fn a_grown_schema_reads_what_was_written_before_and_grows_no_more() {
        let decimal = |precision: u32, scale: u32| json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale });
        let mut schema = envelope(json!([
            { "name": "id", "type": "int" }, nullable_field("total", decimal(18, 2)),
        ]));
        let old = Schema::parse(&schema).expect("a schema");
        let columns = [
            column("id", json!("long"), true),
            column("total", decimal(20, 2), true),
            column("note", json!("string"), false),
        ];
        assert_eq!(grow_rows(&mut schema, &columns), Some(true));
        SchemaCompatibility::can_read(&old, &Schema::parse(&schema).expect("a schema")).expect("it reads");
        assert_eq!(grow_rows(&mut schema, &columns), Some(false));
        assert_eq!(grow_rows(&mut json!({ "type": "record", "name": "E", "fields": [] }), &columns), None);
    }

    #[test]
    fn a_number_never_narrows() {
        let mut key =
            json!({ "type": "record", "name": "K", "fields": [{ "name": "id", "type": "double" }] });
        for kind in ["int", "long", "float"] {
            assert!(!grow_key(&mut key, &[column("id", json!(kind), false)]), "{kind}");
        }
    }
}
