//! Checks marked nodes against their shape: unknown keys, missing keys, values of another type.

use std::path::Path;

use indexmap::IndexMap;
use marked_yaml::types::{MarkedMappingNode, MarkedScalarNode};
use marked_yaml::{Marker, Node, Span};

use super::object::{Entry, Object, Value};
use super::scalar::{expected, is_secret, parse};
use super::{Shape, Type, yaml};
use crate::fault::{Faults, did_you_mean};
use crate::setting::{Nature, Setting};

/// Reads the mapping in `text`, which begins on `first_line` of `file`. `dir` is the project's folder.
pub(crate) fn read(
    text: &str,
    shape: &'static Shape,
    file: &Path,
    first_line: usize,
    dir: &Path,
    faults: &mut Faults,
) -> Option<Object> {
    let node = yaml::parse(text, file, first_line, faults)?;
    let mut checker = Checker { file, shift: first_line.saturating_sub(1), dir, faults };
    Some(checker.object(&node, shape, 1))
}

/// Reads a mapping that was kept as [`Type::Any`], with a shape that another key chose.
pub(crate) fn reread(
    text: &str,
    under: &str,
    shape: &'static Shape,
    file: &Path,
    dir: &Path,
    faults: &mut Faults,
) -> Option<Object> {
    // The text was parsed before, so its YAML faults are already reported.
    let node = yaml::parse(text, file, 1, &mut Faults::default())?;
    let mut checker = Checker { file, shift: 0, dir, faults };
    match node.get_node(under) {
        Some(Node::Mapping(mapping)) => {
            let line = line(mapping.span());
            Some(checker.object(mapping, shape, line))
        }
        Some(Node::Scalar(scalar)) if is_null(scalar) => None,
        Some(node) => {
            let line = line(node.span());
            checker.fault(
                line,
                format!("`{under}` is {}, not a mapping", word(node)),
                "write `key: value` lines",
            );
            None
        }
        None => None,
    }
}

/// Lines of nodes count from the text's first line; `shift` converts them to lines of the file.
struct Checker<'a> {
    file: &'a Path,
    shift: usize,
    dir: &'a Path,
    faults: &'a mut Faults,
}

fn line(span: &Span) -> usize {
    span.start().map_or(1, Marker::line)
}

fn is_null(scalar: &MarkedScalarNode) -> bool {
    scalar.may_coerce() && matches!(scalar.as_str(), "" | "~" | "null" | "Null" | "NULL")
}

impl Checker<'_> {
    fn fault(&mut self, line: usize, message: impl Into<String>, help: impl Into<String>) {
        self.faults.add_at(self.file, line + self.shift, message, help);
    }

    fn object(&mut self, mapping: &MarkedMappingNode, shape: &'static Shape, at: usize) -> Object {
        let (mut entries, mut faulty) = (IndexMap::new(), Vec::new());
        for (name, node) in mapping.iter() {
            let at = line(name.span());
            match shape.key(name.as_str()) {
                Some(key) => match self.value(node, &key.kind, key.name, at) {
                    Some(value) => {
                        entries.insert(key.name.to_owned(), Entry { line: at + self.shift, value });
                    }
                    None => faulty.push(key.name.to_owned()),
                },
                None => {
                    let help = did_you_mean(name.as_str(), shape.keys.iter().map(|key| key.name));
                    self.fault(at, format!("unknown key `{}` in {}", name.as_str(), shape.title), help);
                }
            }
        }
        for key in shape.keys.iter().filter(|key| key.required && mapping.get_node(key.name).is_none()) {
            self.fault(
                at,
                format!("missing key `{}` in {}", key.name, shape.title),
                format!("add it: {}", key.doc),
            );
        }
        Object { shape: Some(shape), line: at + self.shift, entries, faulty }
    }

    fn value(&mut self, node: &Node, kind: &'static Type, name: &str, at: usize) -> Option<Value> {
        match (kind, node) {
            (Type::Any, node) => Some(Value::Any(json(node))),
            (Type::Object(shape), Node::Mapping(mapping)) => {
                Some(Value::Object(self.object(mapping, shape, at)))
            }
            (Type::Map(inner), Node::Mapping(mapping)) => {
                let (mut entries, mut faulty) = (IndexMap::new(), Vec::new());
                for (key, node) in mapping.iter() {
                    let at = line(key.span());
                    match self.value(node, inner, key.as_str(), at) {
                        Some(value) => {
                            entries.insert(key.as_str().to_owned(), Entry { line: at + self.shift, value });
                        }
                        None => faulty.push(key.as_str().to_owned()),
                    }
                }
                Some(Value::Object(Object { shape: None, line: at + self.shift, entries, faulty }))
            }
            (Type::List(inner), Node::Sequence(items)) => {
                let mut list = Vec::new();
                for item in items.iter() {
                    let at = line(item.span());
                    if let Some(value) = self.value(item, inner, name, at) {
                        list.push(Entry { line: at + self.shift, value });
                    }
                }
                Some(Value::List(list))
            }
            // An empty block: for example `topics:` with all entries commented out.
            (Type::Object(shape), Node::Scalar(scalar)) if is_null(scalar) => {
                let empty = MarkedMappingNode::new_empty(*scalar.span());
                Some(Value::Object(self.object(&empty, shape, at)))
            }
            (Type::Map(_), Node::Scalar(scalar)) if is_null(scalar) => {
                let (entries, faulty) = (IndexMap::new(), Vec::new());
                Some(Value::Object(Object { shape: None, line: at + self.shift, entries, faulty }))
            }
            (Type::List(_), Node::Scalar(scalar)) if is_null(scalar) => Some(Value::List(Vec::new())),
            (Type::List(inner), node) => {
                let value = self.value(node, inner, name, at)?;
                Some(Value::List(vec![Entry { line: at + self.shift, value }]))
            }
            (Type::Object(_) | Type::Map(_), node) => {
                self.fault(
                    at,
                    format!("`{name}` is {}, not a mapping", word(node)),
                    "write `key: value` lines below it",
                );
                None
            }
            (kind, Node::Scalar(scalar)) => self.scalar(scalar, kind, name, at),
            (kind, node) => {
                self.fault(
                    at,
                    format!("`{name}` is {}, not {}", word(node), expected(kind)),
                    "write one value",
                );
                None
            }
        }
    }

    fn scalar(&mut self, scalar: &MarkedScalarNode, kind: &Type, name: &str, at: usize) -> Option<Value> {
        if is_null(scalar) {
            self.fault(
                at,
                format!("`{name}` has no value"),
                format!("give it {}, or drop the key", expected(kind)),
            );
            return None;
        }
        let text = match kind {
            // A tab or a space is a character, too.
            Type::Character => scalar.as_str(),
            _ => scalar.as_str().trim(),
        };
        let read = match kind {
            Type::Setting | Type::Secret | Type::Path => self.setting(text, kind, name).map(Value::Setting),
            _ => parse(text, kind).ok_or_else(|| {
                let help = match kind {
                    Type::Choice(words) => did_you_mean(text, words.iter().copied()),
                    _ => format!("write {}", expected(kind)),
                };
                (format!("`{name}` is `{text}`, not {}", expected(kind)), help)
            }),
        };
        read.map_err(|(message, help)| self.fault(at, message, help)).ok()
    }

    /// Parses a setting. The error has the fault and the help.
    fn setting(&self, text: &str, kind: &Type, name: &str) -> Result<Setting, (String, String)> {
        let nature = match kind {
            Type::Secret if is_secret(name) => Nature::Secret,
            Type::Path => Nature::Below(self.dir.to_owned()),
            _ => Nature::Public,
        };
        let secret = nature == Nature::Secret;
        let setting = Setting::parse(text, self.dir, nature).map_err(|error| {
            let help = "references are `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}`";
            (format!("`{name}`: {error}"), help.to_owned())
        })?;
        if secret && setting.is_written_out() {
            let help =
                "whoever reads the file has it: write `${env:NAME}`, or `${file:PATH}` for a file of its own";
            return Err((format!("`{name}` is a secret that stands in the file"), help.to_owned()));
        }
        Ok(setting)
    }
}

fn word(node: &Node) -> &'static str {
    match node {
        Node::Scalar(scalar) if is_null(scalar) => "empty",
        Node::Scalar(_) => "a single value",
        Node::Mapping(_) => "a mapping",
        Node::Sequence(_) => "a list",
    }
}

/// YAML text as JSON.
#[cfg(test)]
pub(crate) fn as_json(text: &str) -> Option<serde_json::Value> {
    marked_yaml::parse_yaml(0, text).ok().map(|node| json(&node))
}

/// A node as JSON. Plain scalars are converted by their form, quoted ones are strings.
fn json(node: &Node) -> serde_json::Value {
    match node {
        Node::Mapping(mapping) => {
            mapping.iter().map(|(key, node)| (key.as_str().to_owned(), json(node))).collect()
        }
        Node::Sequence(items) => items.iter().map(json).collect(),
        Node::Scalar(scalar) if is_null(scalar) => serde_json::Value::Null,
        Node::Scalar(scalar) if scalar.may_coerce() => match scalar.as_str() {
            "true" | "True" | "TRUE" => true.into(),
            "false" | "False" | "FALSE" => false.into(),
            text => match text.parse::<serde_json::Number>() {
                Ok(number) => number.into(),
                Err(_) => text.into(),
            },
        },
        Node::Scalar(scalar) => scalar.as_str().into(),
    }
}
