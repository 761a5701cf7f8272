//! A version's difference as one change per key, in the order of the keys' bytes.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use bytes::Bytes;
use model::TableName;

use crate::error::{OfTable as _, Result};
use crate::seam::{KeyChange, Keys};

/// The changes of one version; their rows are taken in parts.
#[derive(Debug)]
pub(crate) struct Net {
    table: TableName,
    /// Rows of the keys that still have one. `None` if there are none.
    rows: Option<RecordBatch>,
    /// Keys in order, each with its new row, or none if it was deleted.
    order: Vec<(Bytes, Option<u64>)>,
}

impl Net {
    /// Nets added and removed rows by key: an added row is its key's new row; a key that was only removed is
    /// deleted, and so is a key in `held` without an added row. Leaves out keys up to `behind`.
    pub fn of(
        table: TableName,
        names: &dyn Keys,
        added: Vec<RecordBatch>,
        removed: &[RecordBatch],
        held: Vec<Bytes>,
        behind: Option<&[u8]>,
    ) -> Result<Self> {
        let rows = match added.first() {
            Some(first) => Some(concat_batches(&first.schema(), &added).of(&table)?),
            None => None,
        };
        drop(added);
        let keys = rows.as_ref().map(|rows| names.of(rows)).transpose()?.unwrap_or_default();
        let mut gone = Vec::new();
        {
            let live: HashSet<&Bytes> = keys.iter().collect();
            let mut seen: HashSet<Bytes> = HashSet::new();
            let mut take = |key: Bytes| {
                if !live.contains(&key) && seen.insert(key.clone()) {
                    gone.push((key, None));
                }
            };
            for batch in removed {
                names.of(batch)?.into_iter().for_each(&mut take);
            }
            held.into_iter().for_each(&mut take);
        }
        let mut order: Vec<(Bytes, Option<u64>)> =
            keys.into_iter().enumerate().map(|(i, key)| (key, Some(i as u64))).chain(gone).collect();
        order.retain(|(key, _)| behind.is_none_or(|behind| key.as_ref() > behind));
        order.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { table, rows, order })
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// A part of the changes, with the rows that they refer to.
    pub fn part(&self, part: Range<usize>) -> Result<(Vec<KeyChange>, Option<RecordBatch>)> {
        let part = &self.order[part];
        let live: Vec<u64> = part.iter().filter_map(|(_, row)| *row).collect();
        let mut rows = 0..live.len();
        let keys =
            part.iter().map(|(key, row)| KeyChange { key: key.clone(), row: row.and_then(|_| rows.next()) });
        let keys = keys.collect();
        let rows = match &self.rows {
            Some(rows) if !live.is_empty() => {
                Some(take_record_batch(rows, &UInt64Array::from(live)).of(&self.table)?)
            }
            _ => None,
        };
        Ok((keys, rows))
    }
}
