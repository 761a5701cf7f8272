//! Notes about keys that the table does not show: `<table>__deleted`.
//!
//! Each row is a note. `gone`: the newest event of a key left it without a row; otherwise a late event would
//! restore the key. `skipped`: a row was quarantined or dropped, so the table's row does not supply unchanged
//! values. `truncated`: a truncate. `moved`: a row took unchanged values from its old key, so a late event of
//! that key concerns this one. `read` and `whole`: the first row of a snapshot on a partition, and its last
//! row ([`crate::snapshots`]).
//!
//! Notes are written before the table and only add facts, so writing them twice changes nothing.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{
    ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use model::{Micros, Sequence, column};

use crate::event::{KeyId, Truncate};
use crate::fold::{Absence, Gone};
use crate::keys::Keys;
use crate::snapshots::Snapshots;
use crate::table::{
    read_flags, read_seqs, read_texts, read_times, seq_columns, seq_fields, time_column, time_type,
};

/// The kind of a note.
pub const KIND: &str = "_kind";
/// Kinds that concern more than the keys of one batch.
pub const HELD: [&str; 4] = ["truncated", "moved", "read", "whole"];

/// One note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The key has no row since this event.
    Gone(KeyId, Gone),
    /// This event of the key had no effect on the table.
    Skipped(KeyId, Sequence),
    /// All keys lost their rows.
    Truncated(Truncate),
    /// A row of `new` took values from `old` at this event.
    Moved {
        /// The old key.
        old: KeyId,
        /// The new key.
        new: KeyId,
        /// The event.
        seq: Sequence,
    },
    /// The first row of a snapshot on its partition.
    Read(Sequence),
    /// The last row of a snapshot, and its time.
    Whole(Sequence, Option<Micros>),
}
impl Note {
    /// The value of [`KIND`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gone(..) => "gone",
            Self::Skipped(..) => "skipped",
            Self::Truncated(_) => "truncated",
            Self::Moved { .. } => "moved",
            Self::Read(_) => "read",
            Self::Whole(..) => "whole",
        }
    }
    /// The key that it concerns.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Gone(key, _) | Self::Skipped(key, _) | Self::Moved { old: key, .. } => Some(*key),
            Self::Truncated(_) | Self::Read(_) | Self::Whole(..) => None,
        }
    }
    fn seq(&self) -> &Sequence {
        match self {
            Self::Gone(_, gone) => &gone.seq,
            Self::Truncated(truncate) => &truncate.seq,
            Self::Skipped(_, seq) | Self::Moved { seq, .. } | Self::Read(seq) | Self::Whole(seq, _) => seq,
        }
    }
}

/// A key change that carried values, with its keys as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The old key.
    pub old: Arc<[u8]>,
    /// The new key.
    pub new: Arc<[u8]>,
    /// The event.
    pub seq: Sequence,
}

/// Key changes, by either key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    from: AHashMap<Arc<[u8]>, Vec<Link>>,
    /// Old keys, by the new one.
    to: AHashMap<Arc<[u8]>, Vec<Arc<[u8]>>>,
}
impl Links {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }
    /// Adds a change, unless it is known.
    pub fn add(&mut self, link: Link) {
        if self.contains(&link) {
            return;
        }
        self.to.entry(Arc::clone(&link.new)).or_default().push(Arc::clone(&link.old));
        self.from.entry(Arc::clone(&link.old)).or_default().push(link);
    }
    /// True if the change is known.
    pub fn contains(&self, link: &Link) -> bool {
        self.from(&link.old).any(|known| known == link)
    }
    /// Changes of an old key.
    pub fn from(&self, old: &[u8]) -> impl Iterator<Item = &Link> {
        self.from.get(old).into_iter().flatten()
    }
    /// The keys that it was changed into, and those that were changed into it.
    pub fn beside(&self, key: &[u8]) -> impl Iterator<Item = &Arc<[u8]>> {
        let new = self.from.get(key).into_iter().flatten().map(|link| &link.new);
        new.chain(self.to.get(key).into_iter().flatten())
    }
}

/// The notes that concern more than the keys of one batch. Kept while the process owns the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every truncate, oldest first.
    pub truncates: Vec<Truncate>,
    /// Every key change that carried values.
    pub links: Links,
    /// Whole snapshots that are ordered by offset.
    pub snapshots: Snapshots,
}
impl Memory {
    /// Adds notes, except those of single keys.
    pub fn learn(&mut self, notes: &[Note], keys: &Keys) {
        for note in notes {
            match note {
                Note::Truncated(truncate) if !self.truncates.contains(truncate) => {
                    self.truncates.push(truncate.clone());
                }
                Note::Moved { old, new, seq } => {
                    let (old, new) = (Arc::clone(keys.bytes(*old)), Arc::clone(keys.bytes(*new)));
                    let link = Link { old, new, seq: seq.clone() };
                    self.links.add(link);
                }
                Note::Read(seq) => self.snapshots.read(seq),
                Note::Whole(seq, at) => self.snapshots.end(seq, *at),
                Note::Truncated(_) | Note::Gone(..) | Note::Skipped(..) => {}
            }
        }
        self.truncates.sort();
    }
}

/// Columns of the table of notes.
pub fn schema(keys: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> =
        keys.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let other = DataType::Struct(fields.clone().into());
    fields.extend([
        Field::new(KIND, DataType::Utf8, true),
        Field::new("_why", DataType::Utf8, true),
        Field::new("_other", other, true),
        Field::new(column::TS, time_type(), true),
    ]);
    fields.extend(seq_fields());
    fields.push(Field::new(column::CARRIED, DataType::Boolean, true));
    Arc::new(Schema::new(fields))
}

/// Converts notes to rows.
pub fn rows(notes: &[Note], keys: &Keys) -> Result<RecordBatch, ArrowError> {
    let schema = schema(keys.schema());
    let mut columns = optional(notes.iter().map(Note::key), keys)?;
    let other = optional(
        notes.iter().map(|n| if let Note::Moved { new, .. } = n { Some(*new) } else { None }),
        keys,
    )?;
    let has_other: Vec<bool> = notes.iter().map(|n| matches!(n, Note::Moved { .. })).collect();
    let width = columns.len();
    let DataType::Struct(fields) = schema.field(width + 2).data_type() else {
        unreachable!("`_other` stands behind the keys, `_kind` and `_why`");
    };
    let other = StructArray::try_new(fields.clone(), other, Some(NullBuffer::from(has_other)))?;
    let why = |note: &Note| match note {
        Note::Gone(_, gone) => Some(if gone.why == Absence::Deleted { "deleted" } else { "filtered" }),
        _ => None,
    };
    let at = |note: &Note| match note {
        Note::Gone(_, gone) => gone.at,
        Note::Truncated(truncate) => truncate.at,
        Note::Whole(_, at) => *at,
        _ => None,
    };
    let carried = |note: &Note| Some(matches!(note, Note::Gone(_, gone) if gone.carried));
    columns.push(Arc::new(notes.iter().map(|n| Some(n.kind())).collect::<StringArray>()));
    columns.push(Arc::new(notes.iter().map(why).collect::<StringArray>()));
    columns.push(Arc::new(other));
    columns.push(time_column(notes.iter().map(at)));
    columns.extend(seq_columns(notes.iter().map(Note::seq)));
    columns.push(Arc::new(notes.iter().map(carried).collect::<BooleanArray>()));
    RecordBatch::try_new(schema, columns)
}

/// Converts rows to notes.
pub fn read(rows: &RecordBatch, keys: &mut Keys) -> Result<Vec<Note>, ArrowError> {
    let own = keys.numbers(rows)?;
    let nothing = || new_null_array(&DataType::Struct(keys.schema().fields().clone()), rows.num_rows());
    let other: ArrayRef = rows.column_by_name("_other").cloned().unwrap_or_else(nothing);
    let other = RecordBatch::try_new(Arc::clone(keys.schema()), other.as_struct().columns().to_vec())?;
    let other = keys.numbers(&other)?;
    let (kinds, whys) = (read_texts(rows, KIND), read_texts(rows, "_why"));
    let (times, seqs, carried) =
        (read_times(rows, column::TS), read_seqs(rows)?, read_flags(rows, column::CARRIED));
    let mut notes = Vec::with_capacity(rows.num_rows());
    for (row, seq) in seqs.into_iter().enumerate() {
        let unknown = |what: &str, found: &Option<Arc<str>>| {
            let message = format!("a note {what} {found:?} was written by another version");
            ArrowError::SchemaError(message)
        };
        notes.push(match kinds[row].as_deref() {
            Some("gone") => {
                let why = match whys[row].as_deref() {
                    Some("deleted") => Absence::Deleted,
                    Some("filtered") => Absence::Filtered,
                    _ => return Err(unknown("of a key that is gone as", &whys[row])),
                };
                Note::Gone(own[row], Gone { seq, at: times[row], why, carried: carried[row] })
            }
            Some("skipped") => Note::Skipped(own[row], seq),
            Some("truncated") => Note::Truncated(Truncate::new(seq, times[row])),
            Some("read") => Note::Read(seq),
            Some("whole") => Note::Whole(seq, times[row]),
            Some("moved") => Note::Moved { old: own[row], new: other[row], seq },
            _ => return Err(unknown("of kind", &kinds[row])),
        });
    }
    Ok(notes)
}

/// Key columns, with a row of nulls where there is no key.
fn optional(wanted: impl Iterator<Item = Option<KeyId>>, keys: &Keys) -> Result<Vec<ArrayRef>, ArrowError> {
    let wanted: Vec<Option<KeyId>> = wanted.collect();
    let present = keys.batch(wanted.iter().flatten().copied())?;
    let mut next = 0_u32;
    let places = wanted.iter().map(|key| {
        key.map(|_| {
            next += 1;
            next - 1
        })
    });
    let places: arrow::array::UInt32Array = places.collect();
    present.columns().iter().map(|column| arrow::compute::take(column, &places, None)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_note_that_another_version_wrote_is_an_error_and_not_a_delete() {
        let id: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let mut keys = Keys::try_new(Arc::clone(&id)).expect("a key");
        let seven = RecordBatch::try_new(id, vec![Arc::new(Int64Array::from(vec![7]))]).expect("a row");
        let key = keys.numbers(&seven).expect("a key")[0];
        let topic_id = "t".into();
        let seq = Sequence {
            epoch: None,
            lsn: None,
            tx_order: None,
            by_offset: false,
            offset: 3,
            partition: 0,
            topic_id,
        };
        let gone = Gone { seq, at: None, why: Absence::Filtered, carried: false };
        let written = rows(&[Note::Gone(key, gone)], &keys).expect("a row");
        assert_eq!(read(&written, &mut keys).expect("a note").len(), 1);
        for (column, text) in [("_why", None), ("_why", Some("expired")), (KIND, Some("expired"))] {
            let mut columns = written.columns().to_vec();
            columns[written.schema().index_of(column).expect("a column")] =
                Arc::new(StringArray::from(vec![text]));
            let other = RecordBatch::try_new(written.schema(), columns).expect("a row");
            let error = read(&other, &mut keys).expect_err("unknown");
            assert!(error.to_string().contains("another version"), "{error}");
        }
    }
}
