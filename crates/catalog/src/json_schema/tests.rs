use super::*;
use crate::load::fixture::valid;

/// Whether `schema` lets `value` through, for the words that the generator uses; else where not.
fn refuses(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let no = |what: &str| Some(format!("{path}: {what}"));
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Option<Vec<String>> = any.iter().map(|one| refuses(one, value, path)).collect();
        return all.map(|reasons| reasons.join(" and "));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return no("not one of the words");
    }
    let is = |kind: &Value| match kind.as_str() {
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) if kinds.iter().any(is) => {}
        kind if is(kind) => {}
        kind => return no(&format!("not {kind}")),
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        return items.iter().find_map(|item| refuses(schema, item, path));
    }
    let entries = value.as_object()?;
    for required in schema["required"].as_array().into_iter().flatten() {
        if !entries.contains_key(required.as_str().expect("a name")) {
            return no(&format!("lacks {required}"));
        }
    }
    entries.iter().find_map(|(key, value)| {
        let path = format!("{path}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) => refuses(schema, value, &path),
            (None, Some(Value::Bool(false))) => Some(format!("{path}: unknown")),
            (None, Some(schema)) => refuses(schema, value, &path),
            (None, None) => None,
        }
    })
}

fn schema(name: &str) -> Value {
    all().into_iter().find(|(found, _)| *found == name).expect("there").1
}

/// The files of the valid project as JSON, with the schema each belongs to.
fn files() -> Vec<(String, &'static str, Value)> {
    let files = valid();
    let known = |name: &String| {
        let text = files.text(name);
        let (schema, yaml) = match name.as_str() {
            "lakepulse.yaml" => ("lakepulse", text),
            "topics.yaml" => ("topics", text),
            name if name.starts_with("sources/") => ("source", text),
            name if name.ends_with(".test.yaml") => ("test", text),
            name if name.ends_with(".sql") => {
                ("model", text.split_once("lakepulse")?.1.split_once("*/").expect("a header").0)
            }
            _ => return None,
        };
        Some((name.clone(), schema, crate::shape::check::as_json(yaml).expect("YAML")))
    };
    files.names().iter().filter_map(known).collect()
}

#[test]
fn the_schemas_accept_a_valid_project() {
    let files = files();
    assert_eq!(files.len(), 8);
    for (name, kind, value) in files {
        assert_eq!(refuses(&schema(kind), &value, &name), None);
    }
}

#[test]
fn the_schemas_refuse_a_key_that_loading_does_not_know() {
    for (name, kind, mut value) in files() {
        value["colour"] = json!("blue");
        assert_eq!(refuses(&schema(kind), &value, &name), Some(format!("{name}.colour: unknown")));
    }
    let kindless = json!({ "keys": ["a"] });
    assert_eq!(refuses(&schema("model"), &kindless, "m"), Some("m: lacks \"kind\"".to_owned()));
}

#[test]
fn settings_of_a_source_depend_on_its_connector() {
    let source = schema("source");
    let named: Vec<&Value> = source["allOf"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| &c["if"]["properties"]["connector"]["const"])
        .collect();
    assert_eq!(named, ["wwi-sim", "files", "postgres"]);
    assert!(source["allOf"][0]["then"]["properties"]["settings"]["properties"]["seed"].is_object());
}

/// Every key that a file may have, with the shape it is of. Values by names of the user's own are gone into.
fn keys_of(shape: &'static crate::shape::Shape, into: &mut Vec<(&'static str, &'static str)>) {
    for key in shape.keys {
        into.push((shape.title, key.name));
        let mut kind = &key.kind;
        while let Type::Map(inner) | Type::List(inner) = kind {
            kind = inner;
        }
        if let Type::Object(inner) = kind {
            keys_of(inner, into);
        }
    }
}

/// What is set in code's letters on the pages of `docs/`.
fn documented() -> std::collections::BTreeSet<String> {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut words = std::collections::BTreeSet::new();
    for page in std::fs::read_dir(pages).expect("docs/").filter_map(Result::ok) {
        if page.path().extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = std::fs::read_to_string(page.path()).expect("a page");
        // In tables and text a key stands alone or as `key: value`; in examples at the start of a line or
        // behind a brace.
        let word = |text: &str| text.trim().trim_start_matches('{').trim().to_owned();
        let quoted =
            text.split('`').skip(1).step_by(2).flat_map(|code| code.split([':', ' ']).next().map(word));
        let lines =
            text.lines().flat_map(|line| line.split([',', '{'])).filter_map(|part| part.split_once(':'));
        words.extend(quoted.collect::<Vec<_>>());
        words.extend(lines.map(|(key, _)| word(key)));
    }
    words
}

#[test]
fn every_key_of_every_file_is_on_a_page_of_the_documentation() {
    let mut keys = Vec::new();
    for (_, shape) in ALL {
        keys_of(shape, &mut keys);
    }
    for shape in [&WWI_SIM, &FILES, &POSTGRES] {
        keys_of(shape, &mut keys);
    }
    let documented = documented();
    let missing: Vec<String> = keys
        .into_iter()
        .filter(|(_, key)| !documented.contains(*key))
        .map(|(title, key)| format!("`{key}` of {title}"))
        .collect();
    assert!(missing.is_empty(), "say what they mean in docs/models.md or docs/topics.md: {missing:?}");
}
