//! An Avro schema as the writers of datums walk it: fields by name, names followed, defaults written.

use std::collections::HashMap;

use model::text::{BytesForm, DecimalForm};

use super::compile::Compiler;
use super::types::Type;
use crate::BadSchema;

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
        let root = match Compiler::strict().root(schema)? {
            Node::Record(mut record) if bare && record.fields.len() == 1 => record.fields.swap_remove(0).node,
            root => root,
        };
        Ok(Self { root, encodings })
    }
    /// The shape of values that are written type by type ([`Shape::root`]). A type that text has no form for is
    /// refused when a value of it is written, and not before; so is a default that is no value of its field.
    pub fn lenient(schema: &str) -> Result<Self, BadSchema> {
        Ok(Self { root: Compiler::lenient().root(schema)?, encodings: Encodings::TEXT })
    }
    /// Its type.
    pub fn root(&self) -> Type<'_> {
        Type::of(&self.root)
    }
    /// Whether its values are records.
    pub fn is_record(&self) -> bool {
        matches!(self.root, Node::Record(_))
    }
    /// Names of its fields; none where it is no record.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields().iter().map(|field| field.name.as_str())
    }
    /// Names of its fields, what a cell of each is in JSON, and whether an empty cell is null.
    pub fn literals(&self) -> impl Iterator<Item = (&str, Literal, bool)> {
        self.fields().iter().map(|field| {
            let (literal, empty_is_null) = field.node.literal();
            (field.name.as_str(), literal, empty_is_null)
        })
    }
    fn fields(&self) -> &[Field] {
        match &self.root {
            Node::Record(record) => record.fields.as_slice(),
            _ => &[],
        }
    }
}

/// What JSON has for the values of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// A text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
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
    Record(RecordShape),
    /// What may be null: branch of the null, branch of the rest.
    Optional {
        null: i64,
        some: i64,
        inner: Box<Node>,
    },
    /// The first branch that takes the value, nulls aside.
    Union(Vec<Node>),
    /// A type that no text has a form for, in words.
    Foreign(&'static str),
}
impl Node {
    /// What a cell is in JSON, and whether an empty one is null.
    fn literal(&self) -> (Literal, bool) {
        match self {
            Self::Int | Self::Long | Self::Float | Self::Double | Self::Decimal(_) => {
                (Literal::Number, false)
            }
            Self::Boolean => (Literal::Boolean, false),
            Self::Optional { inner, .. } => (inner.literal().0, !matches!(**inner, Self::Text)),
            Self::Union(branches) => {
                let is_null = |branch: &Self| matches!(branch, Self::Null);
                let has_text = branches.iter().any(|branch| matches!(branch, Self::Text));
                let mut others = branches.iter().filter(|branch| !is_null(branch));
                let literal = match (others.next(), others.next()) {
                    (Some(only), None) => only.literal().0,
                    _ => Literal::Text,
                };
                (literal, branches.iter().any(is_null) && !has_text)
            }
            _ => (Literal::Text, false),
        }
    }
}

/// The unit of a time that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth of a second.
    Millis,
    /// A millionth.
    Micros,
    /// A thousand-millionth.
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
pub(crate) struct RecordShape {
    pub fields: Vec<Field>,
    pub at: HashMap<String, u32>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub name: String,
    pub node: Node,
    /// What is written where the field is missing: its default, else null where that is allowed.
    pub absent: Option<Vec<u8>>,
}

impl RecordShape {
    /// The place of a field. `next` is where it is if the writer kept the schema's order.
    pub fn place(&self, name: &str, next: usize) -> Option<u32> {
        match self.fields.get(next) {
            Some(field) if field.name == name => u32::try_from(next).ok(),
            _ => self.at.get(name).copied(),
        }
    }
}
