//! From a schema's JSON to the nodes of a program. Children stand before their parents.

use std::collections::HashMap;

use serde_json::Value;

use super::program::{At, Node};
use crate::names::{full_name, qualified};
use crate::schema::BadSchema;

/// Deeper schemas are refused: the walk and the decoder recurse once a level.
const DEEPEST: usize = 48;

pub(super) struct Compiler {
    pub nodes: Vec<Node>,
    pub children: Vec<At>,
    named: HashMap<String, At>,
    /// Full names of the records being compiled: naming one of them again is recursion.
    open: Vec<String>,
}
impl Compiler {
    /// The nodes of a schema, and which of them is its root.
    pub fn run(schema: &str) -> Result<(At, Self), BadSchema> {
        let json: Value = serde_json::from_str(schema).map_err(|e| BadSchema::Json(e.to_string()))?;
        let mut compiler =
            Self { nodes: Vec::new(), children: Vec::new(), named: HashMap::new(), open: Vec::new() };
        let root = compiler.compile(&json, None, 0)?;
        Ok((root, compiler))
    }

    fn add(&mut self, node: Node) -> At {
        self.nodes.push(node);
        self.nodes.len().saturating_sub(1) as At
    }

    fn compile(&mut self, schema: &Value, space: Option<&str>, depth: usize) -> Result<At, BadSchema> {
        if depth > DEEPEST {
            return Err(BadSchema::Shape(format!("it is nested deeper than {DEEPEST} levels")));
        }
        match schema {
            Value::String(name) => self.by_name(name, space),
            Value::Array(branches) => {
                let branches = branches
                    .iter()
                    .map(|branch| self.compile(branch, space, depth.saturating_add(1)))
                    .collect::<Result<Vec<_>, _>>()?;
                let (first, len) = self.keep(branches);
                Ok(self.add(Node::Union { first, len }))
            }
            Value::Object(_) => self.object(schema, space, depth),
            other => Err(BadSchema::Avro(format!("`{other}` is no type"))),
        }
    }

    fn by_name(&mut self, name: &str, space: Option<&str>) -> Result<At, BadSchema> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Fixed(4),
            "double" => Node::Fixed(8),
            "bytes" => Node::Bytes,
            "string" => Node::Text,
            _ => {
                let full = qualified(name, space);
                if self.open.contains(&full) {
                    return Err(BadSchema::Shape(format!("record `{full}` holds itself")));
                }
                let found = self.named.get(&full).or_else(|| self.named.get(name));
                return found
                    .copied()
                    .ok_or_else(|| BadSchema::Avro(format!("type `{full}` is not defined")));
            }
        };
        Ok(self.add(node))
    }

    fn object(&mut self, schema: &Value, space: Option<&str>, depth: usize) -> Result<At, BadSchema> {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let child = |key: &str| {
            schema.get(key).ok_or_else(|| BadSchema::Avro(format!("`{key}` is missing in `{schema}`")))
        };
        let Some(kind) = text("type") else {
            return self.compile(child("type")?, space, depth.saturating_add(1));
        };
        let logical = text("logicalType");
        match kind {
            "record" | "error" | "enum" | "fixed" => {
                if text("name").is_none() {
                    return Err(BadSchema::Avro(format!("a {kind} has no name")));
                }
                let (full, space) = full_name(schema, space);
                let at = match kind {
                    "enum" => {
                        let symbols = child("symbols")?.as_array().map_or(0, Vec::len);
                        self.add(Node::Enum(i32::try_from(symbols).unwrap_or(i32::MAX)))
                    }
                    "fixed" => {
                        let size = child("size")?.as_u64().and_then(|n| usize::try_from(n).ok());
                        let size = size.ok_or_else(|| BadSchema::Avro(format!("`{full}` has no size")))?;
                        let decimal = logical == Some("decimal");
                        self.add(if decimal { Node::FixedDecimal(size) } else { Node::Fixed(size) })
                    }
                    _ => self.record(schema, &full, space.as_deref(), depth)?,
                };
                self.named.insert(full, at);
                Ok(at)
            }
            "array" => {
                let item = self.compile(child("items")?, space, depth.saturating_add(1))?;
                Ok(self.add(Node::Array(item)))
            }
            "map" => {
                let value = self.compile(child("values")?, space, depth.saturating_add(1))?;
                Ok(self.add(Node::Map(value)))
            }
            _ => match (kind, logical) {
                ("bytes", Some("decimal")) => Ok(self.add(Node::Decimal)),
                ("string", Some("uuid")) => Ok(self.add(Node::Uuid)),
                _ => self.by_name(kind, space),
            },
        }
    }

    fn record(
        &mut self,
        schema: &Value,
        full: &str,
        space: Option<&str>,
        depth: usize,
    ) -> Result<At, BadSchema> {
        let fields = schema.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| BadSchema::Avro(format!("record `{full}` has no fields")))?;
        self.open.push(full.to_owned());
        let mut nodes = Vec::with_capacity(fields.len());
        for field in fields {
            let kind = field.get("type");
            let kind = kind.ok_or_else(|| BadSchema::Avro(format!("a field of `{full}` has no type")))?;
            nodes.push(self.compile(kind, space, depth.saturating_add(1))?);
        }
        self.open.pop();
        let (first, len) = self.keep(nodes);
        Ok(self.add(Node::Record { first, len }))
    }

    fn keep(&mut self, children: Vec<At>) -> (At, At) {
        let first = self.children.len() as At;
        let len = children.len() as At;
        self.children.extend(children);
        (first, len)
    }
}
