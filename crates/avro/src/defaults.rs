//! The defaults of a schema as columns of one row, and columns as the defaults of a schema.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Fields, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use serde_json::{Value, json};

use crate::connect::{Form, in_form};
use crate::decoder::Decoder;
use crate::frame::Frame;
use crate::names::{definitions, follow, full_name, qualified};
use crate::text::{Encodings, Shape};

/// Deeper than any schema that the decoder takes.
const DEEPEST: usize = 64;

/// The defaults of a schema's fields, each at its dotted path: of the record itself and of records in it, not of
/// those in lists and maps. The values are as the decoder has them.
pub fn defaults(schema: &str) -> Vec<(String, ArrayRef)> {
    let Ok(root) = serde_json::from_str(&in_form(schema, Form::Text)) else { return Vec::new() };
    let mut collector = Collector { definitions: definitions(&root), open: Vec::new(), found: Vec::new() };
    collector.record(&root, None, "");
    collector.found
}

struct Collector {
    definitions: HashMap<String, Value>,
    /// Records that are being looked at.
    open: Vec<String>,
    found: Vec<(String, ArrayRef)>,
}
impl Collector {
    fn record(&mut self, kind: &Value, space: Option<&str>, path: &str) {
        let record = follow(&self.definitions, kind, space).clone();
        let (name, space) = full_name(&record, space);
        let is_record = record.get("type").and_then(Value::as_str) == Some("record");
        if !is_record || self.open.contains(&name) || self.open.len() > DEEPEST {
            return;
        }
        self.open.push(name);
        for field in record["fields"].as_array().into_iter().flatten() {
            let Some(name) = field["name"].as_str() else { continue };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let default = field.get("default").filter(|default| !default.is_null());
            let default = default.filter(|default| !is_placeholder(&field["type"], default));
            let of = |default| one(&self.definitions, &field["type"], default, space.as_deref());
            self.found.extend(default.and_then(of).map(|one| (path.clone(), one)));
            self.record(&field["type"], space.as_deref(), &path);
        }
        self.open.pop();
    }
}

/// A column of one row that holds a default.
pub(crate) fn one(
    definitions: &HashMap<String, Value>,
    kind: &Value,
    default: &Value,
    space: Option<&str>,
) -> Option<ArrayRef> {
    let kind = whole(definitions, kind, space, &mut HashSet::new(), 0);
    let field = json!({ "name": "x", "type": kind, "default": default });
    let mut record = json!({ "type": "record", "name": "lakepulse_default", "fields": [field] });
    if let Some(space) = space {
        record["namespace"] = space.into();
    }
    let record = record.to_string();
    let mut framed = Vec::new();
    Frame::begin(0).encode(&mut framed);
    Shape::try_new(&record, false, Encodings::TEXT).ok()?.json(b"{}", &mut framed).ok()?;
    let mut decoder = Decoder::try_new(0, record.into()).ok()?;
    decoder.check(&framed).ok()?;
    let batch = decoder.decode(std::iter::once(framed.as_slice()))?;
    batch.column_by_name("x").cloned()
}

/// A type with the definitions it refers to inside of it, each where it is first named.
fn whole(
    definitions: &HashMap<String, Value>,
    kind: &Value,
    space: Option<&str>,
    said: &mut HashSet<String>,
    depth: usize,
) -> Value {
    if depth > DEEPEST {
        return kind.clone();
    }
    let below = depth.saturating_add(1);
    match kind {
        Value::String(name) => {
            let full = qualified(name, space);
            match definitions.get(&full) {
                Some(definition) if said.insert(full) => whole(definitions, definition, space, said, below),
                _ => kind.clone(),
            }
        }
        Value::Array(branches) => {
            branches.iter().map(|branch| whole(definitions, branch, space, said, below)).collect()
        }
        Value::Object(object) => {
            let (name, inner) = full_name(kind, space);
            if object.contains_key("name") {
                said.insert(name);
            }
            let mut own = object.clone();
            for key in ["items", "values"] {
                if let Some(of) = own.get_mut(key) {
                    *of = whole(definitions, of, inner.as_deref(), said, below);
                }
            }
            if let Some(of) = own.get_mut("type").filter(|of| !of.is_string()) {
                *of = whole(definitions, of, inner.as_deref(), said, below);
            }
            for field in own.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(of) = field.get_mut("type") {
                    *of = whole(definitions, of, inner.as_deref(), said, below);
                }
            }
            Value::Object(own)
        }
        other => other.clone(),
    }
}

/// Whether a default is what Debezium writes for one that it cannot compute, such as `now()`: the epoch, or the
/// nil UUID. A constant default that is the same cannot be told from it, and is none.
fn is_placeholder(kind: &Value, default: &Value) -> bool {
    let name = match kind {
        Value::Array(branches) => return branches.iter().any(|branch| is_placeholder(branch, default)),
        Value::Object(object) => object.get("connect.name").and_then(Value::as_str).unwrap_or_default(),
        _ => return false,
    };
    if name == "io.debezium.data.Uuid" {
        return default.as_str() == Some("00000000-0000-0000-0000-000000000000");
    }
    let is_time = name.starts_with("io.debezium.time.")
        || ["Date", "Time", "Timestamp"]
            .iter()
            .any(|kind| name.strip_prefix("org.apache.kafka.connect.data.") == Some(kind));
    is_time
        && (default.as_i64() == Some(0)
            || default.as_str().is_some_and(|text| text.starts_with("1970-01-01T00:00:00")))
}

/// The Avro schema of these columns, as [`crate::from_arrow`] makes it, with defaults in it: `one` gives the default
/// of the column at a dotted path, a column of one row.
pub fn declare(
    schema: &str,
    columns: &Fields,
    one: impl Fn(&str, &DataType) -> Option<ArrayRef> + Copy,
) -> String {
    let Ok(mut root) = serde_json::from_str::<Value>(schema) else { return schema.to_owned() };
    declare_in(&mut root, columns, "", one);
    root.to_string()
}

fn declare_in(
    record: &mut Value,
    columns: &Fields,
    path: &str,
    one: impl Fn(&str, &DataType) -> Option<ArrayRef> + Copy,
) {
    for field in record["fields"].as_array_mut().into_iter().flatten() {
        let Some((_, column)) = field["name"].as_str().and_then(|name| columns.find(name)) else { continue };
        let path = if path.is_empty() { column.name().clone() } else { format!("{path}.{}", column.name()) };
        let branches = field["type"].as_array_mut();
        if let (DataType::Struct(within), Some([_, inner])) =
            (column.data_type(), branches.map(Vec::as_mut_slice))
        {
            declare_in(inner, within, &path, one);
        } else if let Some(default) = one(&path, column.data_type()).and_then(|one| of_avro(&one)) {
            // A default is of the first branch.
            field["type"].as_array_mut().into_iter().for_each(|branches| branches.reverse());
            field["default"] = default;
        }
    }
}

/// A column of one row as a default of Avro.
fn of_avro(one: &ArrayRef) -> Option<Value> {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    Some(match one.data_type() {
        DataType::Boolean => one.as_boolean().value(0).into(),
        DataType::Int32 => one.as_primitive::<Int32Type>().value(0).into(),
        DataType::Int64 => one.as_primitive::<Int64Type>().value(0).into(),
        DataType::Float32 => one.as_primitive::<Float32Type>().value(0).into(),
        DataType::Float64 => one.as_primitive::<Float64Type>().value(0).into(),
        DataType::Utf8 => one.as_string::<i32>().value(0).into(),
        DataType::Binary => text(one.as_binary::<i32>().value(0)).into(),
        DataType::Decimal128(..) => text(&one.as_primitive::<Decimal128Type>().value(0).to_be_bytes()).into(),
        DataType::Date32 => one.as_primitive::<Date32Type>().value(0).into(),
        DataType::Timestamp(..) => one.as_primitive::<TimestampMicrosecondType>().value(0).into(),
        // Items may be null, and a default is of the first branch, which null is: only an empty list is one.
        DataType::List(_) if one.as_list::<i32>().value(0).is_empty() => Value::Array(Vec::new()),
        _ => return None,
    })
}
