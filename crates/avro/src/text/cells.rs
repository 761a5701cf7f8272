//! The cells of one CSV record as a datum.

use super::refused::{Refused, Unfit, begin};
use super::scalar::{Given, wanted, write};
use super::shape::{Node, Shape};
use crate::wire::{bytes, long};

impl Shape {
    /// Appends a record of the cells that `cell` has, by the names of the schema's fields. Cells that the
    /// schema does not name are the caller's to refuse.
    pub fn cells<'a>(
        &self,
        cell: impl Fn(&str) -> Option<&'a str>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let Node::Record(record) = &self.root else {
            return Err(Refused::Unlike { column: String::new(), wanted: "one value", found: String::new() });
        };
        let start = out.len();
        for field in &record.fields {
            let written = match (cell(&field.name), &field.absent) {
                (Some(text), _) => self
                    .one(&field.node, text, out)
                    .map_err(|fault| self.refused(field.name.clone(), &field.node, text, fault)),
                (None, Some(absent)) => {
                    out.extend_from_slice(absent);
                    Ok(())
                }
                (None, None) => Err(Refused::Missing { column: field.name.clone() }),
            };
            if let Err(refused) = written {
                out.truncate(start);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Appends one value that stands alone, as a key may.
    pub fn cell(&self, text: &str, out: &mut Vec<u8>) -> Result<(), Refused> {
        let start = out.len();
        self.one(&self.root, text, out).map_err(|fault| {
            out.truncate(start);
            self.refused(String::new(), &self.root, text, fault)
        })
    }

    /// Appends bytes that stand alone, whatever the contract says of bytes in texts.
    pub fn bytes(&self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let node = match &self.root {
            Node::Optional { some, inner, .. } => {
                long(*some, out);
                inner
            }
            node => node,
        };
        match node {
            Node::Bytes => bytes(raw, out),
            Node::Fixed(size) if *size == raw.len() => out.extend_from_slice(raw),
            node => {
                let wanted = wanted(node, self.encodings);
                return Err(Refused::Unlike { column: String::new(), wanted, found: String::new() });
            }
        }
        Ok(())
    }

    fn refused(&self, column: String, node: &Node, text: &str, fault: Unfit) -> Refused {
        let found = begin(text);
        match fault {
            Unfit::Unlike => Refused::Unlike { column, wanted: wanted(node, self.encodings), found },
            Unfit::Misfit(reason) => Refused::Misfit { column, reason, found },
        }
    }

    fn one(&self, node: &Node, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match node {
            Node::Null if text.is_empty() => Ok(()),
            Node::Optional { null, inner, .. } if text.is_empty() && !matches!(**inner, Node::Text) => {
                long(*null, out);
                Ok(())
            }
            Node::Optional { some, inner, .. } => {
                long(*some, out);
                self.one(inner, text, out)
            }
            Node::Union(branches) => self.branch(branches, text, out),
            node => write(node, self.encodings, Given::Cell(text), out),
        }
    }

    /// The first branch that takes the text; null for empty text only where no branch takes text.
    fn branch(&self, branches: &[Node], text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let is_text = |branch: &Node| matches!(branch, Node::Text);
        let may_be_null = text.is_empty() && !branches.iter().any(is_text);
        let start = out.len();
        let mut refused = Unfit::Unlike;
        for (at, branch) in (0..).zip(branches) {
            if matches!(branch, Node::Null) && !may_be_null {
                continue;
            }
            long(at, out);
            match self.one(branch, text, out) {
                Ok(()) => return Ok(()),
                Err(fault) => refused = fault,
            }
            out.truncate(start);
        }
        Err(refused)
    }
}
