//! From a parsed schema to the nodes of a shape.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UuidSchema};

use super::default;
use super::shape::{Digits, Field, Node, RecordShape, Unit, UuidForm};
use crate::BadSchema;
use crate::schema::name_types;

/// Deeper schemas are refused: whoever walks one recurses once a level.
const DEEPEST: usize = 64;

pub(super) struct Compiler {
    named: HashMap<String, Schema>,
    /// Records being compiled: naming one of them again is recursion.
    open: Vec<String>,
    /// Whether what has no form in text is an error, and not a [`Node::Foreign`].
    is_strict: bool,
}
impl Compiler {
    pub fn strict() -> Self {
        Self { named: HashMap::new(), open: Vec::new(), is_strict: true }
    }
    pub fn lenient() -> Self {
        Self { is_strict: false, ..Self::strict() }
    }
    /// The node of a schema's root.
    pub fn root(mut self, schema: &str) -> Result<Node, BadSchema> {
        let schema = Schema::parse_str(schema).map_err(|error| BadSchema::Avro(error.to_string()))?;
        name_types(&schema, &mut self.named);
        self.compile(&schema, "value", 0)
    }

    fn compile(&mut self, schema: &Schema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let is_strict = self.is_strict;
        let foreign = |what| match is_strict {
            true => Err(BadSchema::NoForm { path: path.to_owned(), what }),
            false => Ok(Node::Foreign(what)),
        };
        if depth > DEEPEST {
            return foreign("nested too deep");
        }
        let below = depth.saturating_add(1);
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::String => Node::Text,
            Schema::Uuid(form) => Node::Uuid(match form {
                UuidSchema::String => UuidForm::Text,
                UuidSchema::Bytes => UuidForm::Bytes,
                UuidSchema::Fixed(_) => UuidForm::Fixed,
            }),
            Schema::Bytes => Node::Bytes,
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::Time(Unit::Millis),
            Schema::TimeMicros => Node::Time(Unit::Micros),
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Node::Instant(Unit::Millis),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Node::Instant(Unit::Micros),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Node::Instant(Unit::Nanos),
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                let (precision, scale) = (u32::try_from(decimal.precision), u32::try_from(decimal.scale));
                let (Ok(precision), Ok(scale)) = (precision, scale) else {
                    return foreign("of an absurd scale");
                };
                Node::Decimal(Digits { precision, scale, size })
            }
            Schema::Enum(symbols) => Node::Symbols(symbols.symbols.clone()),
            Schema::Fixed(fixed) => Node::Fixed(fixed.size),
            Schema::Array(array) => {
                Node::List(self.compile(&array.items, &format!("{path}[]"), below)?.into())
            }
            Schema::Map(map) => Node::Map(self.compile(&map.types, &format!("{path}{{}}"), below)?.into()),
            Schema::Record(record) => self.record(record, path, below)?,
            Schema::Union(union) => match union.variants() {
                [Schema::Null, some] => self.optional(0, some, path, below)?,
                [some, Schema::Null] => self.optional(1, some, path, below)?,
                variants => {
                    let branches = variants.iter().map(|branch| self.compile(branch, path, below));
                    Node::Union(branches.collect::<Result<_, _>>()?)
                }
            },
            Schema::Ref { name } => {
                let name = name.fullname(None);
                let named = self.named.get(&name).cloned();
                let named = named.ok_or_else(|| BadSchema::Avro(format!("type `{name}` is not defined")))?;
                self.compile(&named, path, below)?
            }
            Schema::BigDecimal => return foreign("a decimal that carries its scale in its bytes"),
            Schema::Duration(_) => return foreign("a duration of months, days and milliseconds"),
        })
    }

    fn record(&mut self, record: &RecordSchema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let name = record.name.fullname(None);
        if self.open.contains(&name) {
            let what = "a record that holds itself";
            return match self.is_strict {
                true => Err(BadSchema::NoForm { path: path.to_owned(), what }),
                false => Ok(Node::Foreign(what)),
            };
        }
        self.open.push(name);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let path = format!("{path}.{}", field.name);
            let node = self.compile(&field.schema, &path, depth)?;
            let absent = match &field.default {
                None => default::null(&node),
                Some(json) => match default::datum(&node, json) {
                    None if self.is_strict => return Err(BadSchema::Default { path }),
                    datum => datum,
                },
            };
            fields.push(Field { name: field.name.clone(), node, absent });
        }
        self.open.pop();
        let at = (0..).zip(&fields).map(|(at, field)| (field.name.clone(), at)).collect();
        Ok(Node::Record(RecordShape { fields, at }))
    }

    fn optional(&mut self, null: i64, some: &Schema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let inner = Box::new(self.compile(some, path, depth)?);
        Ok(Node::Optional { null, some: i64::from(null == 0), inner })
    }
}
