//! The program: a schema's JSON flattened into nodes, and the walk over them.

use std::collections::HashMap;

use serde_json::Value;

use super::{Cursor, Fault, fits_i128, is_uuid};
use crate::names::{full_name, qualified};

/// Deeper schemas are refused: the walk and the decoder recurse once a level.
const DEEPEST: usize = 48;
/// Items that take no bytes (`array<null>`) may not be more than this in one payload: nothing else
/// bounds how many six bytes claim to hold.
const MOST_EMPTY_ITEMS: u64 = 65_536;

/// A schema whose values cannot be read, or written from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    /// Not JSON.
    #[error("the schema is not JSON: {0}")]
    Json(String),
    /// JSON, but no Avro schema.
    #[error("the schema is not Avro: {0}")]
    Avro(String),
    /// Avro, but of a shape a table cannot hold.
    #[error("the schema cannot be a table: {0}")]
    Shape(String),
    /// Avro, but of a type that text has no form for.
    #[error("`{path}` is {what}, which text has no form for")]
    NoForm {
        /// Dotted path.
        path: String,
        /// Its type.
        what: &'static str,
    },
    /// A default that is no value of its field.
    #[error("the default of `{path}` is no value of its type")]
    Default {
        /// Dotted path.
        path: String,
    },
}

type At = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Fixed(usize),
    Bytes,
    Text,
    Uuid,
    /// Length-prefixed two's complement.
    Decimal,
    /// The same in a `fixed` of that size.
    FixedDecimal(usize),
    Enum(i32),
    Array(At),
    Map(At),
    /// `len` entries of the child list from `first` on.
    Record {
        first: At,
        len: At,
    },
    Union {
        first: At,
        len: At,
    },
}

/// A compiled schema.
#[derive(Debug, Clone)]
pub struct Checker {
    nodes: Vec<Node>,
    children: Vec<At>,
    /// Least number of bytes a datum of each node takes.
    least: Vec<usize>,
    root: At,
}
impl Checker {
    /// Compiles the JSON of an Avro schema whose root is a record.
    pub fn try_new(schema: &str) -> Result<Self, BadSchema> {
        let json: Value = serde_json::from_str(schema).map_err(|e| BadSchema::Json(e.to_string()))?;
        let mut compiler =
            Compiler { nodes: Vec::new(), children: Vec::new(), named: HashMap::new(), open: Vec::new() };
        let root = compiler.compile(&json, None, 0)?;
        if !matches!(compiler.nodes[root as usize], Node::Record { .. }) {
            return Err(BadSchema::Shape("its root is no record".to_owned()));
        }
        let Compiler { nodes, children, .. } = compiler;
        let mut checker = Self { least: vec![0; nodes.len()], nodes, children, root };
        checker.measure();
        Ok(checker)
    }

    /// Whether `body` (behind the frame) is exactly one datum.
    #[inline]
    pub fn check(&self, body: &[u8]) -> Result<(), Fault> {
        let mut cursor = Cursor { rest: body, empty_items: MOST_EMPTY_ITEMS };
        self.walk(self.root, &mut cursor)?;
        if cursor.rest.is_empty() { Ok(()) } else { Err(Fault::Trailing) }
    }

    fn walk(&self, at: At, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        match self.nodes[at as usize] {
            Node::Null => {}
            Node::Boolean => {
                if cursor.byte()? > 1 {
                    return Err(Fault::Boolean);
                }
            }
            Node::Int => {
                cursor.int()?;
            }
            Node::Long => {
                cursor.varint()?;
            }
            Node::Fixed(size) => {
                cursor.take(size)?;
            }
            Node::Bytes => {
                cursor.bytes()?;
            }
            Node::Text => text(cursor)?,
            Node::Uuid => {
                if !is_uuid(cursor.bytes()?) {
                    return Err(Fault::Uuid);
                }
            }
            Node::Decimal => decimal(cursor.bytes()?)?,
            Node::FixedDecimal(size) => decimal(cursor.take(size)?)?,
            Node::Enum(symbols) => {
                if !(0..symbols).contains(&cursor.int()?) {
                    return Err(Fault::Symbol);
                }
            }
            Node::Array(item) => self.blocks(item, cursor, |_| Ok(()))?,
            Node::Map(value) => self.blocks(value, cursor, text)?,
            Node::Record { first, len } => {
                for &field in self.list(first, len) {
                    self.walk(field, cursor)?;
                }
            }
            Node::Union { first, len } => {
                let branch = usize::try_from(cursor.long()?).map_err(|_| Fault::Branch)?;
                let chosen = *self.list(first, len).get(branch).ok_or(Fault::Branch)?;
                self.walk(chosen, cursor)?;
            }
        }
        Ok(())
    }

    /// The blocks of an array or a map; `key` reads what stands before each item.
    fn blocks(
        &self,
        item: At,
        cursor: &mut Cursor<'_>,
        key: impl Fn(&mut Cursor<'_>) -> Result<(), Fault> + Copy,
    ) -> Result<(), Fault> {
        loop {
            let count = cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            if count < 0 {
                // A negative count is followed by the block's size in bytes.
                let size = usize::try_from(cursor.long()?).map_err(|_| Fault::Length)?;
                end = Some(cursor.rest.len().checked_sub(size).ok_or(Fault::Truncated)?);
            }
            let count = count.unsigned_abs();
            match self.least[item as usize] {
                0 => cursor.empty_items = cursor.empty_items.checked_sub(count).ok_or(Fault::Length)?,
                least if cursor.rest.len().checked_div(least).is_none_or(|most| count > most as u64) => {
                    return Err(Fault::Length);
                }
                _ => {}
            }
            for _ in 0..count {
                key(cursor)?;
                self.walk(item, cursor)?;
            }
            if end.is_some_and(|end| end != cursor.rest.len()) {
                return Err(Fault::Length);
            }
        }
    }

    fn list(&self, first: At, len: At) -> &[At] {
        let first = first as usize;
        &self.children[first..first.saturating_add(len as usize)]
    }

    /// Children stand before their parents, so one pass does.
    fn measure(&mut self) {
        for at in 0..self.nodes.len() {
            let of = |child: &At| self.least[*child as usize];
            self.least[at] = match self.nodes[at] {
                Node::Null => 0,
                Node::Fixed(size) | Node::FixedDecimal(size) => size,
                Node::Uuid => 33,
                Node::Record { first, len } => {
                    self.list(first, len).iter().map(of).fold(0, usize::saturating_add)
                }
                Node::Union { first, len } => {
                    self.list(first, len).iter().map(of).min().unwrap_or(0).saturating_add(1)
                }
                _ => 1,
            };
        }
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    std::str::from_utf8(cursor.bytes()?).map(drop).map_err(|_| Fault::Utf8)
}

fn decimal(raw: &[u8]) -> Result<(), Fault> {
    if fits_i128(raw) { Ok(()) } else { Err(Fault::Decimal) }
}

struct Compiler {
    nodes: Vec<Node>,
    children: Vec<At>,
    named: HashMap<String, At>,
    /// Full names of the records being compiled: naming one of them again is recursion.
    open: Vec<String>,
}
impl Compiler {
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
