//! JSON Schemas of a project's files, for editors. They are derived from the table of keys that loading checks
//! against, so the two cannot disagree.

use serde_json::{Map, Value, json};

use crate::shape::files::{ALL, FILES, POSTGRES, WWI_SIM};
use crate::shape::{Shape, Type};

#[cfg(test)]
mod tests;

/// Name and contents of every JSON Schema: `lakepulse`, `topics`, `source`, `model` (a model's header) and
/// `test`.
pub fn all() -> Vec<(&'static str, Value)> {
    ALL.iter().map(|(name, shape)| (*name, file(name, shape))).collect()
}

fn file(name: &str, shape: &Shape) -> Value {
    let mut schema = object(shape);
    if let Value::Object(entries) = &mut schema {
        entries.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        if name == "source" {
            entries.insert(
                "allOf".to_owned(),
                json!([
                    settings("wwi-sim", &WWI_SIM),
                    settings("files", &FILES),
                    settings("postgres", &POSTGRES)
                ]),
            );
        }
    }
    schema
}

/// The shape of `settings:` for a value of `connector:`.
fn settings(connector: &str, shape: &Shape) -> Value {
    json!({
        "if": { "properties": { "connector": { "const": connector } }, "required": ["connector"] },
        "then": { "properties": { "settings": object(shape) } },
    })
}

fn object(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.keys {
        let mut value = match key.kind {
            Type::Secret => json!({ "type": "string", "pattern": r"\$\{(env|file):" }),
            ref kind => of(kind),
        };
        if let Value::Object(entries) = &mut value {
            entries.insert("description".to_owned(), json!(key.doc));
        }
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "title": shape.title,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of(kind: &Type) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        // A plain YAML scalar may look like a number and is read as text. In a map of secrets, this applies to
        // the entries whose names look like secrets.
        Type::Text | Type::Setting | Type::Path | Type::Secret => {
            json!({ "type": ["string", "number", "boolean"] })
        }
        Type::Flag => json!({ "enum": [true, false, "on", "off", "yes", "no"] }),
        Type::Whole(least, most) => {
            let mut schema = json!({ "type": "integer", "minimum": least });
            if *most != i64::MAX {
                schema["maximum"] = json!(most);
            }
            schema
        }
        Type::Number => json!({ "type": "number" }),
        Type::Share => json!({
            "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 }, text(r"^[0-9.]+ *%$")],
        }),
        Type::Duration => text(r"^([0-9]+ *[a-z]+ *)+$"),
        Type::Retention => text(r"^(forever|([0-9]+ *[a-z]+ *)+)$"),
        Type::Size => json!({
            "anyOf": [{ "type": "integer", "minimum": 1 }, text(r"^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)$")],
        }),
        Type::Character => text(r"^(.|\t|tab|none)$"),
        Type::Choice(words) => json!({ "enum": words }),
        Type::Topic => text(r"^[a-zA-Z0-9._-]{1,249}$"),
        Type::Table => text(r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$"),
        Type::List(inner) => json!({ "anyOf": [{ "type": "array", "items": of(inner) }, of(inner)] }),
        Type::Map(inner) => json!({ "type": ["object", "null"], "additionalProperties": of(inner) }),
        Type::Object(shape) => object(shape),
        Type::Any => json!({}),
    }
}
