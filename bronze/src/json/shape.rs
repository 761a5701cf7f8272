//! An Avro schema as the writer of JSON values walks it: fields by name, names followed.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, UuidSchema};
use catalog::avro::{Form, in_form};

use crate::check::BadSchema;

/// The unit of an instant that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// What a JSON value must look like, and what it is written as.
#[derive(Debug)]
pub enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    /// Base64 of the bytes.
    Bytes,
    /// Base64 of that many bytes.
    Fixed(usize),
    Symbols(Vec<String>),
    /// Days since 1970, or a date of ISO 8601.
    Date,
    /// A number since 1970, or a time of ISO 8601.
    Instant(Unit),
    /// Base64 of the unscaled number, or the number itself. Of `size` bytes where that is fixed.
    Decimal {
        scale: u32,
        size: Option<usize>,
    },
    List(Box<Shape>),
    Map(Box<Shape>),
    Record(Record),
    /// What may be null: branch of the null, branch of the rest.
    Optional {
        null: i64,
        some: i64,
        inner: Box<Shape>,
    },
}

/// Fields in the order of the schema.
#[derive(Debug)]
pub struct Record {
    pub fields: Vec<(String, Shape)>,
    at: HashMap<String, u32>,
}
impl Record {
    /// The place of a field. `next` is where it is if the writer kept the schema's order.
    pub fn place(&self, name: &str, next: usize) -> Option<u32> {
        match self.fields.get(next) {
            Some((field, _)) if field == name => Some(next as u32),
            _ => self.at.get(name).copied(),
        }
    }
}

impl Shape {
    /// The shape of values of `schema`; of its only field, for `bare` ones. The schema was checked to
    /// hold no record that is part of itself.
    pub fn of(schema: &str, bare: bool) -> Result<Self, BadSchema> {
        let schema = Schema::parse_str(&in_form(schema, Form::Wire));
        let schema = schema.map_err(|error| BadSchema::Avro(error.to_string()))?;
        let shape = Compiler::default().compile(&schema, "value")?;
        match shape {
            Self::Record(mut record) if bare && record.fields.len() == 1 => {
                Ok(record.fields.swap_remove(0).1)
            }
            shape => Ok(shape),
        }
    }
}

#[derive(Default)]
struct Compiler {
    named: HashMap<String, Schema>,
}
impl Compiler {
    fn compile(&mut self, schema: &Schema, path: &str) -> Result<Shape, BadSchema> {
        let refuse = |what: &str| BadSchema::Shape(format!("`{path}` is {what}, which JSON has no form for"));
        Ok(match schema {
            Schema::Null => Shape::Null,
            Schema::Boolean => Shape::Boolean,
            Schema::Int | Schema::TimeMillis => Shape::Int,
            Schema::Long | Schema::TimeMicros => Shape::Long,
            Schema::Float => Shape::Float,
            Schema::Double => Shape::Double,
            Schema::String | Schema::Uuid(UuidSchema::String) => Shape::Text,
            Schema::Bytes => Shape::Bytes,
            Schema::Date => Shape::Date,
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Shape::Instant(Unit::Millis),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Shape::Instant(Unit::Micros),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Shape::Instant(Unit::Nanos),
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                let scale = u32::try_from(decimal.scale).map_err(|_| refuse("of an absurd scale"))?;
                Shape::Decimal { scale, size }
            }
            Schema::Enum(symbols) => {
                self.named.insert(symbols.name.fullname(None), schema.clone());
                Shape::Symbols(symbols.symbols.clone())
            }
            Schema::Fixed(fixed) => {
                self.named.insert(fixed.name.fullname(None), schema.clone());
                Shape::Fixed(fixed.size)
            }
            Schema::Array(array) => Shape::List(self.compile(&array.items, &format!("{path}[]"))?.into()),
            Schema::Map(map) => Shape::Map(self.compile(&map.types, &format!("{path}{{}}"))?.into()),
            Schema::Record(record) => {
                self.named.insert(record.name.fullname(None), schema.clone());
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    let shape = self.compile(&field.schema, &format!("{path}.{}", field.name))?;
                    fields.push((field.name.clone(), shape));
                }
                let at = (0..).zip(&fields).map(|(at, (name, _))| (name.clone(), at)).collect();
                Shape::Record(Record { fields, at })
            }
            Schema::Union(union) => match union.variants() {
                [Schema::Null, some] => self.optional(0, some, path)?,
                [some, Schema::Null] => self.optional(1, some, path)?,
                _ => return Err(refuse("a union of several types")),
            },
            Schema::Ref { name } => {
                let name = name.fullname(None);
                let named = self.named.get(&name).cloned();
                let named = named.ok_or_else(|| BadSchema::Avro(format!("type `{name}` is not defined")))?;
                self.compile(&named, path)?
            }
            Schema::Uuid(_) | Schema::BigDecimal | Schema::Duration(_) => return Err(refuse("of a type")),
        })
    }

    fn optional(&mut self, null: i64, some: &Schema, path: &str) -> Result<Shape, BadSchema> {
        let inner = Box::new(self.compile(some, path)?);
        Ok(Shape::Optional { null, some: 1 - null, inner })
    }
}
