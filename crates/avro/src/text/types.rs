//! One type of a shape, for values that come neither as JSON nor as cells. Whoever has such a value writes it with
//! [`crate::wire`], in the order of the schema.

use super::refused::Unfit;
use super::scalar::{self, Given};
use super::shape::{self, Encodings, Node, Unit};
use crate::wire;

/// A type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a>(&'a Node);

/// What a type is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// Nothing.
    Null,
    /// One byte.
    Boolean,
    /// A varint of 32 bits.
    Int,
    /// A varint of 64 bits.
    Long,
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// A text.
    Text,
    /// Bytes behind their length.
    Bytes,
    /// That many bytes.
    Fixed(usize),
    /// A UUID, however it is encoded.
    Uuid,
    /// One of these.
    Symbols(&'a [String]),
    /// Days since 1970.
    Date,
    /// Since midnight.
    Time(Unit),
    /// Since 1970.
    Instant(Unit),
    /// A number with a fixed point.
    Decimal {
        /// How many digits it has.
        precision: u32,
        /// How many of them stand behind the point.
        scale: u32,
    },
    /// Items of one type.
    List(Type<'a>),
    /// Values of one type, by texts.
    Map(Type<'a>),
    /// Fields: see [`Type::fields`].
    Record,
    /// One of several types: see [`Type::branches`].
    Union,
    /// What no text has a form for, in words.
    Foreign(&'static str),
}

impl<'a> Type<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        Self(node)
    }
    /// What it is.
    pub fn kind(self) -> Kind<'a> {
        match self.0 {
            Node::Null => Kind::Null,
            Node::Boolean => Kind::Boolean,
            Node::Int => Kind::Int,
            Node::Long => Kind::Long,
            Node::Float => Kind::Float,
            Node::Double => Kind::Double,
            Node::Text => Kind::Text,
            Node::Bytes => Kind::Bytes,
            Node::Fixed(size) => Kind::Fixed(*size),
            Node::Uuid(_) => Kind::Uuid,
            Node::Symbols(symbols) => Kind::Symbols(symbols),
            Node::Date => Kind::Date,
            Node::Time(unit) => Kind::Time(*unit),
            Node::Instant(unit) => Kind::Instant(*unit),
            Node::Decimal(digits) => Kind::Decimal { precision: digits.precision, scale: digits.scale },
            Node::List(item) => Kind::List(Self(item)),
            Node::Map(value) => Kind::Map(Self(value)),
            Node::Record(_) => Kind::Record,
            Node::Optional { .. } | Node::Union(_) => Kind::Union,
            Node::Foreign(what) => Kind::Foreign(what),
        }
    }
    /// The fields of a record, in their order; none of any other type.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let fields = match self.0 {
            Node::Record(record) => record.fields.as_slice(),
            _ => &[],
        };
        fields.iter().map(Field)
    }
    /// The types of a union but null, each with the number that stands before its value ([`wire::long`]); none of
    /// any other type.
    pub fn branches(self) -> impl Iterator<Item = (i64, Self)> {
        let (one, several) = match self.0 {
            Node::Optional { some, inner, .. } => (Some((*some, Self(inner))), &[][..]),
            Node::Union(branches) => (None, branches.as_slice()),
            _ => (None, &[][..]),
        };
        let several = (0..).zip(several).filter(|(_, branch)| !matches!(branch, Node::Null));
        one.into_iter().chain(several.map(|(at, branch)| (at, Self(branch))))
    }

    /// Appends null. `false`: null is no value of it, and nothing is appended.
    pub fn null(self, out: &mut Vec<u8>) -> bool {
        match self.0 {
            Node::Null => {}
            Node::Optional { null, .. } => wire::long(*null, out),
            Node::Union(branches) => {
                let null = (0..).zip(branches).find(|(_, branch)| matches!(branch, Node::Null));
                let Some((at, _)) = null else { return false };
                wire::long(at, out);
            }
            _ => return false,
        }
        true
    }
    /// Appends the value that a text is, by the rules of a cell. It must be a plain type.
    pub fn cell(self, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let start = out.len();
        scalar::write(self.0, Encodings::TEXT, Given::Cell(text), out).inspect_err(|_| out.truncate(start))
    }
    /// The record that it is, or the first one of a union: then its number is appended.
    pub fn record(self, out: &mut Vec<u8>) -> Option<Self> {
        let is_record = |of: &Self| matches!(of.0, Node::Record(_));
        if is_record(&self) {
            return Some(self);
        }
        let (at, record) = self.branches().find(|(_, of)| is_record(of))?;
        wire::long(at, out);
        Some(record)
    }
}

/// A field of a record.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a>(&'a shape::Field);
impl<'a> Field<'a> {
    /// Its name.
    pub fn name(self) -> &'a str {
        &self.0.name
    }
    /// Its type.
    pub fn kind(self) -> Type<'a> {
        Type(&self.0.node)
    }
    /// The datum that stands for it where there is no value: its default, else null where that is allowed.
    pub fn absent(self) -> Option<&'a [u8]> {
        self.0.absent.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;

    #[test]
    fn what_no_text_has_a_form_for_is_refused_when_it_is_written() {
        // A default of bytes is characters up to U+00FF; the library takes any text for one.
        let schema = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"bytes","default":"\u0100"},
            {"name":"d","type":["null",{"type":"fixed","name":"D","size":12,"logicalType":"duration"}]},
            {"name":"r","type":["null","R"]}]}"#;
        let shape = Shape::lenient(schema).expect("a schema");
        let fields: Vec<Field<'_>> = shape.root().fields().collect();
        assert_eq!(
            fields.iter().map(|field| field.absent()).collect::<Vec<_>>(),
            [None, Some(&[0][..]), Some(&[0])]
        );
        for field in &fields[1..] {
            let (at, branch) = field.kind().branches().next().expect("one that is not null");
            assert_eq!((at, branch.cell("1", &mut Vec::new())), (1, Err(Unfit::Unlike)));
            assert!(matches!(branch.kind(), Kind::Foreign(_)));
        }
    }

    #[test]
    fn a_union_numbers_its_branches_and_knows_null_and_its_record() {
        let union = r#"["int","null",{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}]"#;
        let shape = Shape::lenient(union).expect("a schema");
        let root = shape.root();
        assert_eq!(root.branches().map(|(at, _)| at).collect::<Vec<_>>(), [0, 2]);
        let mut out = Vec::new();
        assert!(root.null(&mut out));
        assert_eq!(root.record(&mut out).map(|record| record.fields().count()), Some(1));
        assert_eq!(out, [2, 4]);
        assert!(!root.branches().any(|(_, branch)| branch.null(&mut out)));
    }
}
