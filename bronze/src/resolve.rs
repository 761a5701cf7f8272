//! How records of a writer's schema become values of the declared one: Avro's resolution, where a contract
//! declares a schema and the records come by another.
//!
//! - **Names.** A field of the writer that the declared schema knows by an alias is called as declared. Names
//!   are not on the wire, so the writer's schema is rewritten and nothing else.
//! - **Absences.** A declared field that the writer lacks has its default.
//! - **Symbols.** A symbol that the declared enum lacks is the enum's default, where it has one. Without one
//!   it stays what it is: the table keeps symbols as text.
//!
//! The order of fields is the table's business, which takes them by name, and so are types that grew
//! ([`crate::conform`]). Fields that the declared schema lacks keep their names and widen the table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use catalog::avro::{Form, in_form};
use datum::{Encodings, Shape};
use serde_json::{Value, json};

use crate::decode::Decoder;

/// Deeper than any schema that the decoder takes.
const DEEPEST: usize = 64;

/// What to put into columns that a writer's schema gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Fill {
    /// Nothing.
    #[default]
    Nothing,
    /// Into a struct.
    Record {
        /// What to put into the fields that are there.
        fields: HashMap<String, Fill>,
        /// Fields that are not there, each with the one value it has.
        absent: Vec<(String, ArrayRef)>,
    },
    /// Into the items of a list or the values of a map.
    Items(Box<Fill>),
    /// For symbols but these, this one.
    Symbols {
        /// Symbols of the declared enum.
        known: HashSet<String>,
        /// Its default.
        default: String,
    },
}
impl Fill {
    /// What to put into a field.
    pub fn field(&self, name: &str) -> &Self {
        match self {
            Self::Record { fields, .. } => fields.get(name).unwrap_or(&Self::Nothing),
            _ => &Self::Nothing,
        }
    }
    /// The one value of a field that is not there.
    pub fn absent(&self, name: &str) -> Option<&ArrayRef> {
        match self {
            Self::Record { absent, .. } => absent.iter().find(|(field, _)| field == name).map(|(_, one)| one),
            _ => None,
        }
    }
}

/// The writer's schema with fields called as declared, and what to put into its columns. Both are JSON in
/// the form of [`Form::Wire`]; what is none comes back as it is.
pub fn resolve(writer: &str, declared: &str) -> (Arc<str>, Fill) {
    let unchanged = || (Arc::from(writer), Fill::Nothing);
    let declared = in_form(declared, Form::Text);
    let (Ok(mut root), Ok(declared)) = (serde_json::from_str(writer), serde_json::from_str(&declared)) else {
        return unchanged();
    };
    let mut resolver = Resolver {
        writer: definitions(&root),
        declared: definitions(&declared),
        renames: HashMap::new(),
        open: Vec::new(),
    };
    let fill = resolver.compare(&root, &declared, None, None, 0);
    if resolver.renames.is_empty() {
        return (Arc::from(writer), fill);
    }
    rename(&mut root, None, &resolver.renames);
    (root.to_string().into(), fill)
}

/// The defaults of a schema's fields, each at its dotted path: of the record itself and of records in it, not of
/// those in lists and maps. The values are as the decoder has them.
pub fn defaults(schema: &str) -> Vec<(String, ArrayRef)> {
    let Ok(root) = serde_json::from_str(&in_form(schema, Form::Text)) else { return Vec::new() };
    let mut resolver = Resolver {
        writer: HashMap::new(),
        declared: definitions(&root),
        renames: HashMap::new(),
        open: Vec::new(),
    };
    let mut found = Vec::new();
    resolver.defaults(&root, None, "", &mut found);
    found
}

struct Resolver {
    writer: HashMap<String, Value>,
    declared: HashMap<String, Value>,
    /// By record and field of the writer, how the field is declared.
    renames: HashMap<(String, String), String>,
    /// Records of the writer that are being compared.
    open: Vec<String>,
}
impl Resolver {
    fn compare(
        &mut self,
        writer: &Value,
        declared: &Value,
        space: Option<&str>,
        declared_space: Option<&str>,
        depth: usize,
    ) -> Fill {
        let writer = follow(&self.writer, writer, space).clone();
        let declared = follow(&self.declared, declared, declared_space).clone();
        if depth > DEEPEST {
            return Fill::Nothing;
        }
        let kind = |schema: &Value| schema.get("type").and_then(Value::as_str).map(str::to_owned);
        let below = depth.saturating_add(1);
        match (kind(&writer).as_deref(), kind(&declared).as_deref()) {
            (Some("record"), Some("record")) => self.record(&writer, &declared, space, declared_space, below),
            (Some("array"), Some("array")) => {
                let (from, to) = (&writer["items"], &declared["items"]);
                items(self.compare(from, to, space, declared_space, below))
            }
            (Some("map"), Some("map")) => {
                let (from, to) = (&writer["values"], &declared["values"]);
                items(self.compare(from, to, space, declared_space, below))
            }
            (Some("enum"), Some("enum")) => {
                let symbols = |schema: &Value| -> HashSet<String> {
                    let symbols = schema["symbols"].as_array().into_iter().flatten();
                    symbols.filter_map(Value::as_str).map(str::to_owned).collect()
                };
                let known = symbols(&declared);
                match declared["default"].as_str() {
                    Some(default) if !symbols(&writer).is_subset(&known) => {
                        Fill::Symbols { known, default: default.to_owned() }
                    }
                    _ => Fill::Nothing,
                }
            }
            // A type may be written as an object of one type.
            (None, Some(_)) if writer.get("type").is_some() => {
                self.compare(&writer["type"], &declared, space, declared_space, below)
            }
            (Some(_), None) if declared.get("type").is_some() => {
                self.compare(&writer, &declared["type"], space, declared_space, below)
            }
            _ => Fill::Nothing,
        }
    }

    fn record(
        &mut self,
        writer: &Value,
        declared: &Value,
        space: Option<&str>,
        declared_space: Option<&str>,
        depth: usize,
    ) -> Fill {
        let (name, space) = full_name(writer, space);
        let (_, declared_space) = full_name(declared, declared_space);
        if self.open.contains(&name) {
            return Fill::Nothing;
        }
        self.open.push(name.clone());
        let named = |fields: &Value| -> Vec<(String, Value)> {
            let fields = fields["fields"].as_array().into_iter().flatten();
            fields.filter_map(|field| Some((field["name"].as_str()?.to_owned(), field.clone()))).collect()
        };
        let (own, wanted) = (named(writer), named(declared));
        let is_wanted = |name: &str| wanted.iter().any(|(wanted, _)| wanted == name);
        let (mut fields, mut absent) = (HashMap::new(), Vec::new());
        for (wanted, field) in &wanted {
            let called = |name: &str| own.iter().find(|(own, _)| own == name);
            let aliases = field["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let known = called(wanted).or_else(|| aliases.filter(|alias| !is_wanted(alias)).find_map(called));
            match known {
                Some((own, of)) => {
                    if own != wanted {
                        self.renames.insert((name.clone(), own.clone()), wanted.clone());
                    }
                    let (space, wanted_space) = (space.as_deref(), declared_space.as_deref());
                    let fill = self.compare(&of["type"], &field["type"], space, wanted_space, depth);
                    if fill != Fill::Nothing {
                        fields.insert(wanted.clone(), fill);
                    }
                }
                None => {
                    let default = field.get("default").filter(|default| !default.is_null());
                    let one = default
                        .and_then(|default| self.one(&field["type"], default, declared_space.as_deref()));
                    absent.extend(one.map(|one| (wanted.clone(), one)));
                }
            }
        }
        self.open.pop();
        if fields.is_empty() && absent.is_empty() { Fill::Nothing } else { Fill::Record { fields, absent } }
    }

    fn defaults(
        &mut self,
        kind: &Value,
        space: Option<&str>,
        path: &str,
        found: &mut Vec<(String, ArrayRef)>,
    ) {
        let record = follow(&self.declared, kind, space).clone();
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
            let one = default.and_then(|default| self.one(&field["type"], default, space.as_deref()));
            found.extend(one.map(|one| (path.clone(), one)));
            self.defaults(&field["type"], space.as_deref(), &path, found);
        }
        self.open.pop();
    }

    /// A column of one row that holds a default.
    fn one(&self, kind: &Value, default: &Value, space: Option<&str>) -> Option<ArrayRef> {
        let kind = self.whole(kind, space, &mut HashSet::new(), 0);
        let field = json!({ "name": "x", "type": kind, "default": default });
        let mut record = json!({ "type": "record", "name": "lakepulse_default", "fields": [field] });
        if let Some(space) = space {
            record["namespace"] = space.into();
        }
        let record = record.to_string();
        let mut framed = Vec::new();
        stream::frame(0, &[], &mut framed);
        Shape::try_new(&record, false, Encodings::TEXT).ok()?.json(b"{}", &mut framed).ok()?;
        let mut decoder = Decoder::try_new(0, record.into()).ok()?;
        let kind = decoder.schema().field_with_name("x").ok()?.data_type().clone();
        decoder.raw(&framed, &kind)
    }

    /// A type with the definitions it refers to inside of it, each where it is first named.
    fn whole(&self, kind: &Value, space: Option<&str>, said: &mut HashSet<String>, depth: usize) -> Value {
        if depth > DEEPEST {
            return kind.clone();
        }
        let below = depth.saturating_add(1);
        match kind {
            Value::String(name) => {
                let full = qualified(name, space);
                match self.declared.get(&full) {
                    Some(definition) if said.insert(full) => self.whole(definition, space, said, below),
                    _ => kind.clone(),
                }
            }
            Value::Array(branches) => {
                branches.iter().map(|branch| self.whole(branch, space, said, below)).collect()
            }
            Value::Object(object) => {
                let (name, inner) = full_name(kind, space);
                if object.contains_key("name") {
                    said.insert(name);
                }
                let mut whole = object.clone();
                for key in ["items", "values"] {
                    if let Some(of) = whole.get_mut(key) {
                        *of = self.whole(of, inner.as_deref(), said, below);
                    }
                }
                if let Some(of) = whole.get_mut("type").filter(|of| !of.is_string()) {
                    *of = self.whole(of, inner.as_deref(), said, below);
                }
                for field in whole.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(of) = field.get_mut("type") {
                        *of = self.whole(of, inner.as_deref(), said, below);
                    }
                }
                Value::Object(whole)
            }
            other => other.clone(),
        }
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

fn items(fill: Fill) -> Fill {
    if fill == Fill::Nothing { fill } else { Fill::Items(Box::new(fill)) }
}

/// The type itself: without null beside it, and its definition where it is a name.
fn follow<'a>(definitions: &'a HashMap<String, Value>, schema: &'a Value, space: Option<&str>) -> &'a Value {
    let schema = match schema {
        Value::Array(branches) => {
            let mut others = branches.iter().filter(|branch| branch.as_str() != Some("null"));
            match (others.next(), others.next()) {
                (Some(only), None) => only,
                _ => schema,
            }
        }
        other => other,
    };
    match schema.as_str() {
        Some(name) => definitions.get(&qualified(name, space)).unwrap_or(schema),
        None => schema,
    }
}

fn qualified(name: &str, space: Option<&str>) -> String {
    match space {
        Some(space) if !name.contains('.') && !space.is_empty() => format!("{space}.{name}"),
        _ => name.to_owned(),
    }
}

/// Full name of a definition, and the namespace of what is inside of it.
fn full_name(schema: &Value, space: Option<&str>) -> (String, Option<String>) {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let own = schema.get("namespace").and_then(Value::as_str);
    let space = name.rsplit_once('.').map(|(space, _)| space).or(own).or(space);
    (qualified(name, space), space.map(str::to_owned))
}

/// Every type that has a name.
fn definitions(schema: &Value) -> HashMap<String, Value> {
    fn walk(schema: &Value, space: Option<&str>, found: &mut HashMap<String, Value>) {
        match schema {
            Value::Array(branches) => branches.iter().for_each(|branch| walk(branch, space, found)),
            Value::Object(object) => {
                let (name, inner) = full_name(schema, space);
                let kind = object.get("type").and_then(Value::as_str);
                if matches!(kind, Some("record" | "error" | "enum" | "fixed")) {
                    found.insert(name, schema.clone());
                }
                for key in ["items", "values", "type"] {
                    object.get(key).into_iter().for_each(|of| walk(of, inner.as_deref(), found));
                }
                for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
                    field.get("type").into_iter().for_each(|of| walk(of, inner.as_deref(), found));
                }
            }
            _ => {}
        }
    }
    let mut found = HashMap::new();
    walk(schema, None, &mut found);
    found
}

fn rename(schema: &mut Value, space: Option<&str>, renames: &HashMap<(String, String), String>) {
    let (name, inner) = full_name(schema, space);
    match schema {
        Value::Array(branches) => branches.iter_mut().for_each(|branch| rename(branch, space, renames)),
        Value::Object(object) => {
            for key in ["items", "values", "type"] {
                if let Some(of) = object.get_mut(key) {
                    rename(of, inner.as_deref(), renames);
                }
            }
            for field in object.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                let own = field["name"].as_str().unwrap_or_default().to_owned();
                if let Some(declared) = renames.get(&(name.clone(), own)) {
                    field["name"] = declared.as_str().into();
                }
                if let Some(of) = field.get_mut("type") {
                    rename(of, inner.as_deref(), renames);
                }
            }
        }
        _ => {}
    }
}

/// A field that may be null.
pub(crate) fn nullable(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

#[cfg(test)]
mod tests;
