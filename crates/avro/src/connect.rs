//! Schemas of Kafka Connect, which is what Debezium runs in.
//!
//! Connect has few types and gives them meaning by a name: an `int32` called `io.debezium.time.Date` is a
//! day. Its Avro converter writes that name beside Avro's own type (`connect.name`), its JSON converter
//! puts a schema of Connect's own into every value. Both come here: the second is written as the first
//! would be, and the names become Avro's logical types, so that nothing behind knows who wrote a value.

use std::borrow::Cow;

use model::text::BytesForm;
use serde_json::{Map, Value, json};

use crate::schema::Error;

const NAME: &str = "connect.name";
const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// An instant as text of ISO 8601.
const ZONED_TIMESTAMP: &str = "io.debezium.time.ZonedTimestamp";
/// A `numeric` without a scale: each value carries its own.
const VARIABLE_DECIMAL: &str = "io.debezium.data.VariableScaleDecimal";
/// The most digits that a table stores; what Connect says of a decimal without a precision.
const DIGITS: u64 = 38;

/// What a schema is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// To decode: every type is as long on the wire as the writer made it.
    Wire,
    /// To tell what a table stores: an instant in a text is an instant.
    Stored,
    /// To read values that are text: as [`Form::Wire`], and defaults stand for what is missing.
    Text,
}

/// An Avro schema with Connect's names as logical types. One without such names comes back as it is, and
/// so does what is no JSON: who parses it says so.
pub fn in_form(schema: &str, form: Form) -> Cow<'_, str> {
    // The namespace may stand by itself.
    let (_, variable_decimal) = VARIABLE_DECIMAL.rsplit_once('.').unwrap_or_default();
    let is_named = schema.contains(NAME) || schema.contains(variable_decimal);
    if !is_named && !schema.contains("precision") {
        return Cow::Borrowed(schema);
    }
    let Ok(mut parsed) = serde_json::from_str::<Value>(schema) else { return Cow::Borrowed(schema) };
    if !clamp(&mut parsed) && !is_named {
        return Cow::Borrowed(schema);
    }
    if is_named {
        rewrite(&mut parsed, form);
    }
    Cow::Owned(parsed.to_string())
}

/// A precision is a bound of its values, and Connect gives 64 to every decimal whose own it does not know:
/// more than a table has is read as what a table has, and a value that has more digits is refused alone.
/// Says whether any precision was changed.
fn clamp(schema: &mut Value) -> bool {
    match schema {
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| clamp(item) | changed),
        Value::Object(object) => {
            let number = |key: &str| object.get(key).and_then(Value::as_u64);
            let is_decimal = object.get("logicalType").and_then(Value::as_str) == Some("decimal");
            let too_wide = is_decimal
                && number("precision").is_some_and(|precision| precision > DIGITS)
                && number("scale").unwrap_or(0) <= DIGITS;
            if too_wide {
                object.insert("precision".to_owned(), DIGITS.into());
            }
            object.iter_mut().fold(too_wide, |changed, (_, inner)| clamp(inner) | changed)
        }
        _ => false,
    }
}

fn rewrite(schema: &mut Value, form: Form) {
    let object = match schema {
        Value::Array(branches) => return branches.iter_mut().for_each(|branch| rewrite(branch, form)),
        Value::String(name) if form == Form::Stored && name == VARIABLE_DECIMAL => {
            return *schema = json!("string");
        }
        Value::Object(object) => object,
        _ => return,
    };
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let meaning = meaning(object);
    match (form, meaning.as_str(), kind.as_str()) {
        (Form::Stored, ZONED_TIMESTAMP, "string") => {
            return *schema = json!({ "type": "long", "logicalType": "timestamp-micros" });
        }
        (Form::Stored, VARIABLE_DECIMAL, "record") => return *schema = json!("string"),
        _ => {}
    }
    if !object.contains_key("logicalType")
        && let Some(logical) = logical_type(&meaning, &kind)
    {
        object.insert("logicalType".to_owned(), logical.into());
    }
    for key in ["items", "values", "type"] {
        // The name of its own kind is no type within.
        if let Some(inner) = object.get_mut(key).filter(|inner| key != "type" || !inner.is_string()) {
            rewrite(inner, form);
        }
    }
    let fields = object.get_mut("fields").and_then(Value::as_array_mut);
    for field in fields.into_iter().flatten().filter_map(Value::as_object_mut) {
        // A default is of the type that was written, which may not be the one that stands here after.
        if form != Form::Text {
            field.remove("default");
        }
        if let Some(inner) = field.get_mut("type") {
            rewrite(inner, form);
        }
    }
}

/// Connect's name of a type; a record without one is called by its own.
fn meaning(object: &Map<String, Value>) -> String {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    match (text(NAME), text("namespace"), text("name")) {
        (Some(name), _, _) => name.to_owned(),
        (None, Some(space), Some(name)) => format!("{space}.{name}"),
        (None, None, name) => name.unwrap_or_default().to_owned(),
        (None, Some(_), None) => String::new(),
    }
}

fn logical_type(meaning: &str, kind: &str) -> Option<&'static str> {
    let (space, name) = meaning.rsplit_once('.')?;
    Some(match (space, name, kind) {
        ("io.debezium.time" | "org.apache.kafka.connect.data", "Date", "int") => "date",
        ("io.debezium.time" | "org.apache.kafka.connect.data", "Timestamp", "long") => "timestamp-millis",
        ("io.debezium.time", "MicroTimestamp", "long") => "timestamp-micros",
        ("io.debezium.time", "NanoTimestamp", "long") => "timestamp-nanos",
        ("io.debezium.time" | "org.apache.kafka.connect.data", "Time", "int") => "time-millis",
        ("io.debezium.time", "MicroTime", "long") => "time-micros",
        _ => return None,
    })
}

/// The schema part of a value of Connect's JSON converter as the Avro schema that its Avro converter would
/// register for the same type, but for the names of records, which are made up.
pub fn from_connect(part: &str) -> Result<String, Error> {
    let part: Value = serde_json::from_str(part).map_err(|e| not_connect("value", &e.to_string()))?;
    let schema = Converter { records: 0 }.bare(&part, "value")?;
    Ok(schema.to_string())
}

fn not_connect(path: &str, what: &str) -> Error {
    Error::NotConnect { path: path.to_owned(), what: what.to_owned() }
}

struct Converter {
    records: u32,
}
impl Converter {
    fn convert(&mut self, part: &Value, path: &str) -> Result<Value, Error> {
        let bare = self.bare(part, path)?;
        let optional = part.get("optional").and_then(Value::as_bool).unwrap_or(false);
        Ok(if optional { json!(["null", bare]) } else { bare })
    }

    /// The type without `null`.
    fn bare(&mut self, part: &Value, path: &str) -> Result<Value, Error> {
        let kind = part.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| not_connect(path, "a schema without a type"))?;
        let name = part.get("name").and_then(Value::as_str);
        let inner = |key: &str| part.get(key).ok_or_else(|| not_connect(path, &format!("no `{key}`")));
        let mut schema = match kind {
            "boolean" | "string" | "double" | "float" => json!({ "type": kind }),
            "float32" => json!({ "type": "float" }),
            "float64" => json!({ "type": "double" }),
            "int8" | "int16" | "int32" => json!({ "type": "int" }),
            "int64" => json!({ "type": "long" }),
            "bytes" if name == Some(DECIMAL) => decimal(part, path)?,
            "bytes" => json!({ "type": "bytes" }),
            "array" => {
                let items = self.convert(inner("items")?, &format!("{path}[]"))?;
                json!({ "type": "array", "items": items })
            }
            "map" => {
                if inner("keys")?.get("type").and_then(Value::as_str) != Some("string") {
                    return Err(not_connect(path, "a map whose keys are no text"));
                }
                let values = self.convert(inner("values")?, &format!("{path}{{}}"))?;
                json!({ "type": "map", "values": values })
            }
            "struct" => self.record(inner("fields")?, path)?,
            other => return Err(not_connect(path, &format!("type `{other}`"))),
        };
        if let (Some(name), Some(object)) = (name, schema.as_object_mut()) {
            object.insert(NAME.to_owned(), name.into());
        }
        Ok(schema)
    }

    fn record(&mut self, fields: &Value, path: &str) -> Result<Value, Error> {
        let fields = fields.as_array().ok_or_else(|| not_connect(path, "fields that are no list"))?;
        // Connect may give two different structs one name, and gives some none.
        let name = format!("Struct{}", self.records);
        self.records += 1;
        let field = |field: &Value| {
            let name = field.get("field").and_then(Value::as_str);
            let name = name.ok_or_else(|| not_connect(path, "a field without a name"))?;
            let schema = self.convert(field, &format!("{path}.{name}"))?;
            let mut converted = json!({ "name": name, "type": schema });
            if let Some(default) = field.get("default").and_then(|default| default_of(field, default)) {
                // A default is of the first branch.
                converted["type"].as_array_mut().into_iter().for_each(|branches| branches.reverse());
                converted["default"] = default;
            }
            Ok(converted)
        };
        let fields = fields.iter().map(field).collect::<Result<Vec<_>, Error>>()?;
        Ok(json!({ "type": "record", "name": name, "fields": fields }))
    }
}

/// A default as Avro writes it: bytes as text of one character each, where the converter writes base64. What is
/// written as a number (`decimal.format`) or is a struct has none, and what is no value of its type is none.
fn default_of(part: &Value, default: &Value) -> Option<Value> {
    match part.get("type").and_then(Value::as_str) {
        Some("bytes") => {
            let bytes = model::text::bytes(default.as_str()?, BytesForm::Base64).ok()?;
            Some(bytes.into_iter().map(char::from).collect::<String>().into())
        }
        Some("array") => {
            let items = part.get("items")?;
            default.as_array()?.iter().map(|item| default_of(items, item)).collect()
        }
        Some("boolean") => default.as_bool().map(Value::from),
        Some("string") => default.as_str().map(Value::from),
        Some("int8" | "int16" | "int32") => {
            default.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::from)
        }
        Some("int64") => default.as_i64().map(Value::from),
        Some("float" | "float32" | "double" | "float64") => default.as_f64().map(Value::from),
        _ => None,
    }
}

fn decimal(part: &Value, path: &str) -> Result<Value, Error> {
    let parameter = |key: &str| part.get("parameters")?.get(key)?.as_str()?.parse::<u64>().ok();
    let scale = parameter("scale").ok_or_else(|| not_connect(path, "a decimal without a scale"))?;
    let precision = parameter("connect.decimal.precision").unwrap_or(DIGITS.max(scale));
    Ok(json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale }))
}
