//! How records of a writer's schema become values of the declared one: Avro's resolution, where a contract
//! declares a schema and the records come by another.
//!
//! - **Names.** A field of the writer that the declared schema knows by an alias is called as declared. Names
//!   are not on the wire, so the writer's schema is rewritten and nothing else.
//! - **Absences.** A declared field that the writer lacks has its default.
//! - **Symbols.** A symbol that the declared enum lacks is the enum's default, where it has one. Without one
//!   it stays what it is: the table keeps symbols as text.
//!
//! The order of fields is the table's business, which takes them by name, and so are types that grew. Fields that
//! the declared schema lacks keep their names and widen the table.

mod fill;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::ArrayRef;
use serde_json::Value;

use crate::connect::{Form, in_form};
use crate::defaults;
use crate::names::{definitions, follow, full_name};

pub use fill::repeat;

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
    /// A column with defaults in it.
    pub fn put_into(&self, column: &ArrayRef) -> ArrayRef {
        fill::fill(column, self)
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
pub(crate) fn resolve(writer: &str, declared: &str) -> (Arc<str>, Fill) {
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
                    let (known, space) = (&self.declared, declared_space.as_deref());
                    let one =
                        default.and_then(|default| defaults::one(known, &field["type"], default, space));
                    absent.extend(one.map(|one| (wanted.clone(), one)));
                }
            }
        }
        self.open.pop();
        if fields.is_empty() && absent.is_empty() { Fill::Nothing } else { Fill::Record { fields, absent } }
    }
}

fn items(fill: Fill) -> Fill {
    if fill == Fill::Nothing { fill } else { Fill::Items(Box::new(fill)) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_that_has_no_default_stays_what_it_is() {
        let one = |symbols: &str| {
            format!(
                r#"{{"type":"record","name":"R","fields":[{{"name":"s","type":{{"type":"enum","name":"E","symbols":{symbols}}}}}]}}"#
            )
        };
        let (writer, declared) = (one(r#"["a","b"]"#), one(r#"["a"]"#));
        let (_, fill) = resolve(&writer, &declared);
        assert_eq!(fill, Fill::Nothing);
    }

    #[test]
    fn what_is_no_schema_is_left_as_it_is() {
        assert_eq!(&*resolve("nonsense", "{}").0, "nonsense");
        assert_eq!(&*resolve(r#""string""#, "nonsense").0, r#""string""#);
    }
}
