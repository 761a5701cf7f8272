//! Parses the messages of PostgreSQL's `pgoutput` plugin, protocol version 1.
//!
//! The replication client parses the begin and end of a transaction; this module parses the messages in
//! between.

use bytes::Bytes;

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the replication stream holds a message that is no pgoutput: {0}")]
pub struct BadMessage(String);

/// A parsed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The columns of a table's rows from here on.
    Relation(Relation),
    /// A new row.
    Insert { relation: u32, new: Tuple },
    /// A changed row, with as much of the old row as the replica identity contains.
    Update { relation: u32, old: Option<Old>, new: Tuple },
    /// A deleted row.
    Delete { relation: u32, old: Old },
    /// All rows of these tables were deleted.
    Truncate { relations: Vec<u32> },
    /// A message that does not concern rows.
    Other,
}

/// Columns of a row, in the relation's order.
pub type Tuple = Vec<Cell>;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Null.
    Null,
    /// TOASTed and not changed, so the log does not contain it.
    Unchanged,
    /// PostgreSQL's own text.
    Text(Bytes),
}
impl Cell {
    /// The text, which PostgreSQL sends in UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Null | Self::Unchanged => None,
        }
    }
}

/// The old values of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// Only its replica identity; the other columns are null here.
    Key(Tuple),
    /// All columns.
    Full(Tuple),
}

/// A table as of some position in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub id: u32,
    pub schema: String,
    pub table: String,
    pub columns: Vec<Column>,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Part of the replica identity.
    pub is_identity: bool,
    pub type_oid: u32,
    /// Type modifier, such as precision and scale of `numeric`; -1: none.
    pub modifier: i32,
}

/// Parses one message.
pub fn parse(data: &Bytes) -> Result<Message, BadMessage> {
    let mut body = Body { data: data.clone(), at: 0 };
    Ok(match body.u8()? {
        b'R' => Message::Relation(body.relation()?),
        b'I' => {
            let relation = body.u32()?;
            body.mark(b"N")?;
            Message::Insert { relation, new: body.tuple()? }
        }
        b'U' => {
            let relation = body.u32()?;
            let old = match body.mark(b"KON")? {
                b'N' => None,
                mark => {
                    let old = body.old(mark)?;
                    body.mark(b"N")?;
                    Some(old)
                }
            };
            Message::Update { relation, old, new: body.tuple()? }
        }
        b'D' => {
            let relation = body.u32()?;
            let mark = body.mark(b"KO")?;
            Message::Delete { relation, old: body.old(mark)? }
        }
        b'T' => {
            let count = body.u32()?;
            body.u8()?; // CASCADE and RESTART IDENTITY: what they reach is listed.
            let relations = (0..count).map(|_| body.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        // Origin and type messages. Types are looked up in the catalogue instead.
        _ => Message::Other,
    })
}

struct Body {
    data: Bytes,
    at: usize,
}
impl Body {
    fn take(&mut self, bytes: usize) -> Result<Bytes, BadMessage> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.data.len());
        let end = end.ok_or_else(|| BadMessage(format!("it ends at byte {}", self.data.len())))?;
        let taken = self.data.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }
    fn u8(&mut self) -> Result<u8, BadMessage> {
        Ok(self.take(1)?[0])
    }
    fn u16(&mut self) -> Result<u16, BadMessage> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
    fn u32(&mut self) -> Result<u32, BadMessage> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
    fn name(&mut self) -> Result<String, BadMessage> {
        let end = self.data[self.at..].iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| BadMessage("a name has no end".to_owned()))?;
        let name = self.take(end)?;
        self.u8()?;
        String::from_utf8(name.to_vec()).map_err(|_| BadMessage("a name is no UTF-8".to_owned()))
    }
    fn mark(&mut self, known: &[u8]) -> Result<u8, BadMessage> {
        let mark = self.u8()?;
        if known.contains(&mark) {
            return Ok(mark);
        }
        Err(BadMessage(format!("a row is marked `{}`", mark.escape_ascii())))
    }
    fn old(&mut self, mark: u8) -> Result<Old, BadMessage> {
        let tuple = self.tuple()?;
        Ok(if mark == b'K' { Old::Key(tuple) } else { Old::Full(tuple) })
    }
    fn tuple(&mut self) -> Result<Tuple, BadMessage> {
        (0..self.u16()?)
            .map(|_| {
                Ok(match self.mark(b"nut")? {
                    b'n' => Cell::Null,
                    b'u' => Cell::Unchanged,
                    _ => {
                        let bytes = self.u32()? as usize;
                        let text = self.take(bytes)?;
                        if std::str::from_utf8(&text).is_err() {
                            return Err(BadMessage("a value is no UTF-8".to_owned()));
                        }
                        Cell::Text(text)
                    }
                })
            })
            .collect()
    }
    fn relation(&mut self) -> Result<Relation, BadMessage> {
        let id = self.u32()?;
        let (schema, table) = (self.name()?, self.name()?);
        self.u8()?; // Replica identity; the columns say which are part of it.
        let columns = (0..self.u16()?)
            .map(|_| {
                let is_identity = self.u8()? & 1 == 1;
                let name = self.name()?;
                let (type_oid, modifier) = (self.u32()?, self.u32()?.cast_signed());
                Ok(Column { name, is_identity, type_oid, modifier })
            })
            .collect::<Result<_, BadMessage>>()?;
        Ok(Relation { id, schema, table, columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Vec<u8> {
        let mut out = vec![b't'];
        out.extend((value.len() as u32).to_be_bytes());
        out.extend(value.as_bytes());
        out
    }
    fn message(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    #[test]
    fn a_relation_says_names_types_and_identity() {
        let parts: [&[u8]; 5] = [
            b"R\0\0\x40\x01public\0orders\0d",
            b"\0\x02",
            b"\x01id\0\0\0\0\x17\xff\xff\xff\xff",
            b"\0total\0\0\0\x06\xa4",
            b"\0\x12\0\x06",
        ];
        let Ok(Message::Relation(relation)) = parse(&message(&parts)) else { panic!("a relation") };
        assert_eq!((relation.id, &*relation.schema, &*relation.table), (0x4001, "public", "orders"));
        assert_eq!(
            relation.columns,
            [
                Column { name: "id".to_owned(), is_identity: true, type_oid: 23, modifier: -1 },
                Column {
                    name: "total".to_owned(),
                    is_identity: false,
                    type_oid: 1700,
                    modifier: (18 << 16) + 6
                },
            ]
        );
    }

    #[test]
    fn an_update_tells_the_old_row_from_the_new_and_unchanged_from_null() {
        let new = [text("7"), b"u".to_vec(), b"n".to_vec()].concat();
        let bytes = message(&[b"U\0\0\0\x09K\0\x01", &text("6"), b"N\0\x03", &new]);
        let seven = Cell::Text(Bytes::from_static(b"7"));
        assert_eq!(
            parse(&bytes),
            Ok(Message::Update {
                relation: 9,
                old: Some(Old::Key(vec![Cell::Text(Bytes::from_static(b"6"))])),
                new: vec![seven, Cell::Unchanged, Cell::Null],
            })
        );
    }

    #[test]
    fn a_truncate_lists_every_table_it_reaches() {
        let bytes = message(&[b"T\0\0\0\x02\x01\0\0\0\x05\0\0\0\x06"]);
        assert_eq!(parse(&bytes), Ok(Message::Truncate { relations: vec![5, 6] }));
    }

    #[test]
    fn every_cut_of_a_message_is_refused() {
        let whole = message(&[b"D\0\0\0\x09O\0\x02", &text("6"), &text("abc")]);
        assert!(matches!(parse(&whole), Ok(Message::Delete { relation: 9, old: Old::Full(_) })));
        for end in 0..whole.len() {
            assert!(parse(&whole.slice(..end)).is_err(), "cut at {end}");
        }
    }
}
