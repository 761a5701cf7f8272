//! Names of types in the JSON of a schema: with their namespaces, and what they stand for.

use std::collections::HashMap;

use serde_json::Value;

/// A name as seen from within a namespace.
pub(crate) fn qualified(name: &str, space: Option<&str>) -> String {
    match space {
        Some(space) if !name.contains('.') && !space.is_empty() => format!("{space}.{name}"),
        _ => name.to_owned(),
    }
}

/// Full name of a definition, and the namespace of what is inside of it.
pub(crate) fn full_name(schema: &Value, space: Option<&str>) -> (String, Option<String>) {
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let own = schema.get("namespace").and_then(Value::as_str);
    let space = name.rsplit_once('.').map(|(space, _)| space).or(own).or(space);
    (qualified(name, space), space.map(str::to_owned))
}

/// Every type that has a name.
pub(crate) fn definitions(schema: &Value) -> HashMap<String, Value> {
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

/// The type itself: without null beside it, and its definition where it is a name.
pub(crate) fn follow<'a>(
    definitions: &'a HashMap<String, Value>,
    schema: &'a Value,
    space: Option<&str>,
) -> &'a Value {
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

/// The name of a schema's record, Connect's where it has one.
pub fn record_name(schema: &str) -> Option<String> {
    let root: Value = serde_json::from_str(schema).ok()?;
    let text = |key: &str| root.get(key).and_then(Value::as_str);
    let own = || Some(format!("{}.{}", text("namespace").unwrap_or_default(), text("name")?));
    text("connect.name").map(str::to_owned).or_else(own)
}
