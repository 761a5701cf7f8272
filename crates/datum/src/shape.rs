//! An Avro schema as the writers of datums walk it: fields by name, names followed, defaults written.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UuidSchema};
use model::text::{BytesForm, DecimalForm};

use crate::default;

/// Deeper schemas are refused: whoever walks one recurses once a level.
const DEEPEST: usize = 64;

/// A schema whose values have no form in text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    /// Not an Avro schema.
    #[error("the schema is not Avro: {0}")]
    Avro(String),
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

/// How the contract says that JSON texts hold what JSON has no type for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encodings {
    /// Decimals that are texts.
    pub decimals: DecimalForm,
    /// Bytes.
    pub bytes: BytesForm,
}
impl Encodings {
    /// As Kafka Connect's JSON converter writes values.
    pub const CONNECT: Self = Self { decimals: DecimalForm::Base64, bytes: BytesForm::Base64 };
    /// As everyone else does, unless a contract says otherwise.
    pub const TEXT: Self = Self { decimals: DecimalForm::Text, bytes: BytesForm::Text };
}

/// What a text must look like, and what it is written as.
#[derive(Debug)]
pub struct Shape {
    pub(crate) root: Node,
    pub(crate) encodings: Encodings,
}

impl Shape {
    /// The shape of values of `schema`; of its only field, for `bare` ones.
    pub fn try_new(schema: &str, bare: bool, encodings: Encodings) -> Result<Self, BadSchema> {
        let schema = Schema::parse_str(schema).map_err(|error| BadSchema::Avro(error.to_string()))?;
        Self::of(&schema, bare, encodings)
    }
    /// As [`Shape::try_new`], of a parsed schema.
    pub fn of(schema: &Schema, bare: bool, encodings: Encodings) -> Result<Self, BadSchema> {
        let mut compiler = Compiler::default();
        compiler.name(schema);
        let root = match compiler.compile(schema, "value", 0)? {
            Node::Record(mut record) if bare && record.fields.len() == 1 => record.fields.swap_remove(0).node,
            root => root,
        };
        Ok(Self { root, encodings })
    }
    /// The datum of a default of the schema, as its JSON has it. `None`: it is no value of the type.
    pub fn default(&self, json: &serde_json::Value) -> Option<Vec<u8>> {
        default::datum(&self.root, json)
    }
    /// Names of its fields; none where it is no record.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let fields = match &self.root {
            Node::Record(record) => record.fields.as_slice(),
            _ => &[],
        };
        fields.iter().map(|field| field.name.as_str())
    }
}

/// One type.
#[derive(Debug)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    /// That many bytes.
    Fixed(usize),
    Uuid(UuidForm),
    Symbols(Vec<String>),
    /// Days since 1970.
    Date,
    /// Microseconds in a unit, since midnight.
    Time(Unit),
    /// Since 1970.
    Instant(Unit),
    Decimal(Digits),
    List(Box<Node>),
    Map(Box<Node>),
    Record(Record),
    /// What may be null: branch of the null, branch of the rest.
    Optional {
        null: i64,
        some: i64,
        inner: Box<Node>,
    },
    /// The first branch that takes the value, nulls aside.
    Union(Vec<Node>),
}

/// The unit of a time that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// How a UUID is a datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UuidForm {
    Text,
    Bytes,
    Fixed,
}

/// The digits of a decimal, and the bytes of a `fixed` one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digits {
    pub precision: u32,
    pub scale: u32,
    pub size: Option<usize>,
}

/// Fields in the order of the schema.
#[derive(Debug)]
pub(crate) struct Record {
    pub fields: Vec<Field>,
    at: HashMap<String, u32>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub name: String,
    pub node: Node,
    /// What is written where the field is missing: its default, else null where that is allowed.
    pub absent: Option<Vec<u8>>,
}

impl Record {
    /// The place of a field. `next` is where it is if the writer kept the schema's order.
    pub fn place(&self, name: &str, next: usize) -> Option<u32> {
        match self.fields.get(next) {
            Some(field) if field.name == name => u32::try_from(next).ok(),
            _ => self.at.get(name).copied(),
        }
    }
}

#[derive(Default)]
struct Compiler {
    named: HashMap<String, Schema>,
    /// Records being compiled: naming one of them again is recursion.
    open: Vec<String>,
}
impl Compiler {
    /// Keeps each type that has a name.
    fn name(&mut self, schema: &Schema) {
        match schema {
            Schema::Record(record) => {
                self.named.insert(record.name.fullname(None), schema.clone());
                record.fields.iter().for_each(|field| self.name(&field.schema));
            }
            Schema::Enum(inner) => drop(self.named.insert(inner.name.fullname(None), schema.clone())),
            Schema::Fixed(inner) => drop(self.named.insert(inner.name.fullname(None), schema.clone())),
            Schema::Decimal(decimal) => {
                if let InnerDecimalSchema::Fixed(fixed) = &decimal.inner {
                    self.named.insert(fixed.name.fullname(None), schema.clone());
                }
            }
            Schema::Array(array) => self.name(&array.items),
            Schema::Map(map) => self.name(&map.types),
            Schema::Union(union) => union.variants().iter().for_each(|variant| self.name(variant)),
            _ => {}
        }
    }

    fn compile(&mut self, schema: &Schema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let refuse = |what| BadSchema::NoForm { path: path.to_owned(), what };
        if depth > DEEPEST {
            return Err(refuse("nested too deep"));
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
                let number = |digits: usize| u32::try_from(digits).map_err(|_| refuse("of an absurd scale"));
                Node::Decimal(Digits {
                    precision: number(decimal.precision)?,
                    scale: number(decimal.scale)?,
                    size,
                })
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
            Schema::BigDecimal => return Err(refuse("a decimal that carries its scale in its bytes")),
            Schema::Duration(_) => return Err(refuse("a duration of months, days and milliseconds")),
        })
    }

    fn record(&mut self, record: &RecordSchema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let name = record.name.fullname(None);
        if self.open.contains(&name) {
            return Err(BadSchema::NoForm { path: path.to_owned(), what: "a record that holds itself" });
        }
        self.open.push(name);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let path = format!("{path}.{}", field.name);
            let node = self.compile(&field.schema, &path, depth)?;
            let absent = match &field.default {
                None => default::null(&node),
                Some(json) => Some(default::datum(&node, json).ok_or(BadSchema::Default { path })?),
            };
            fields.push(Field { name: field.name.clone(), node, absent });
        }
        self.open.pop();
        let at = (0..).zip(&fields).map(|(at, field)| (field.name.clone(), at)).collect();
        Ok(Node::Record(Record { fields, at }))
    }

    fn optional(&mut self, null: i64, some: &Schema, path: &str, depth: usize) -> Result<Node, BadSchema> {
        let inner = Box::new(self.compile(some, path, depth)?);
        Ok(Node::Optional { null, some: i64::from(null == 0), inner })
    }
}
