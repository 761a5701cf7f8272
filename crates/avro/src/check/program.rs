//! The program: a schema flattened into nodes, and the walk over them.

use super::compile::Compiler;
use super::{Mismatch, Rest, fits_i128, is_uuid};
use crate::schema::BadSchema;

/// Items that take no bytes (`array<null>`) may not be more than this in one payload: nothing else
/// bounds how many six bytes claim to hold.
const MOST_EMPTY_ITEMS: u64 = 65_536;

/// Place of a node.
pub(super) type At = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
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
        let (root, Compiler { nodes, children, .. }) = Compiler::run(schema)?;
        if !matches!(nodes[root as usize], Node::Record { .. }) {
            return Err(BadSchema::Shape("its root is no record".to_owned()));
        }
        let mut checker = Self { least: vec![0; nodes.len()], nodes, children, root };
        checker.measure();
        Ok(checker)
    }

    /// Whether `body` (behind the frame) is exactly one datum.
    #[inline]
    pub fn check(&self, body: &[u8]) -> Result<(), Mismatch> {
        let mut rest = Rest { bytes: body, empty_items: MOST_EMPTY_ITEMS };
        self.walk(self.root, &mut rest)?;
        if rest.bytes.is_empty() { Ok(()) } else { Err(Mismatch::Trailing) }
    }

    fn walk(&self, at: At, rest: &mut Rest<'_>) -> Result<(), Mismatch> {
        match self.nodes[at as usize] {
            Node::Null => {}
            Node::Boolean => {
                if rest.byte()? > 1 {
                    return Err(Mismatch::Boolean);
                }
            }
            Node::Int => {
                rest.int()?;
            }
            Node::Long => {
                rest.varint()?;
            }
            Node::Fixed(size) => {
                rest.take(size)?;
            }
            Node::Bytes => {
                rest.bytes()?;
            }
            Node::Text => text(rest)?,
            Node::Uuid => {
                if !is_uuid(rest.bytes()?) {
                    return Err(Mismatch::Uuid);
                }
            }
            Node::Decimal => decimal(rest.bytes()?)?,
            Node::FixedDecimal(size) => decimal(rest.take(size)?)?,
            Node::Enum(symbols) => {
                if !(0..symbols).contains(&rest.int()?) {
                    return Err(Mismatch::Symbol);
                }
            }
            Node::Array(item) => self.blocks(item, rest, |_| Ok(()))?,
            Node::Map(value) => self.blocks(value, rest, text)?,
            Node::Record { first, len } => {
                for &field in self.list(first, len) {
                    self.walk(field, rest)?;
                }
            }
            Node::Union { first, len } => {
                let branch = usize::try_from(rest.long()?).map_err(|_| Mismatch::Branch)?;
                let chosen = *self.list(first, len).get(branch).ok_or(Mismatch::Branch)?;
                self.walk(chosen, rest)?;
            }
        }
        Ok(())
    }

    /// The blocks of an array or a map; `key` reads what stands before each item.
    fn blocks(
        &self,
        item: At,
        rest: &mut Rest<'_>,
        key: impl Fn(&mut Rest<'_>) -> Result<(), Mismatch> + Copy,
    ) -> Result<(), Mismatch> {
        loop {
            let count = rest.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            if count < 0 {
                // A negative count is followed by the block's size in bytes.
                let size = usize::try_from(rest.long()?).map_err(|_| Mismatch::Length)?;
                end = Some(rest.bytes.len().checked_sub(size).ok_or(Mismatch::Truncated)?);
            }
            let count = count.unsigned_abs();
            match self.least[item as usize] {
                0 => rest.empty_items = rest.empty_items.checked_sub(count).ok_or(Mismatch::Length)?,
                least if rest.bytes.len().checked_div(least).is_none_or(|most| count > most as u64) => {
                    return Err(Mismatch::Length);
                }
                _ => {}
            }
            for _ in 0..count {
                key(rest)?;
                self.walk(item, rest)?;
            }
            if end.is_some_and(|end| end != rest.bytes.len()) {
                return Err(Mismatch::Length);
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

fn text(rest: &mut Rest<'_>) -> Result<(), Mismatch> {
    std::str::from_utf8(rest.bytes()?).map(drop).map_err(|_| Mismatch::Utf8)
}

fn decimal(raw: &[u8]) -> Result<(), Mismatch> {
    if fits_i128(raw) { Ok(()) } else { Err(Mismatch::Decimal) }
}
