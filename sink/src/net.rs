//! One version's difference as changes: netted by key, in the order of the keys' bytes.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use bytes::Bytes;
use model::TableName;

use crate::error::{OfTable as _, Result};
use crate::seam::{Change, Keys};

/// Changes of one version; rows are taken a part at a time.
#[derive(Debug)]
pub(crate) struct Net {
    table: TableName,
    /// Rows that live on. `None`: there are none.
    rows: Option<RecordBatch>,
    /// Keys in order; with each the row it has now, or none if it was deleted.
    order: Vec<(Bytes, Option<u64>)>,
}

impl Net {
    /// What the rows that came and went mean for their keys: one that came is its key's row now, one
    /// that only went deletes its key, and so does one of the keys `held` that did not come. Keys up to
    /// `behind` are left out.
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

    /// How many changes.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Some of the changes, and the rows they refer to.
    pub fn part(&self, part: Range<usize>) -> Result<(Vec<Change>, Option<RecordBatch>)> {
        let part = &self.order[part];
        let live: Vec<u64> = part.iter().filter_map(|(_, row)| *row).collect();
        let mut rows = 0..live.len();
        let keys =
            part.iter().map(|(key, row)| Change { key: key.clone(), row: row.and_then(|_| rows.next()) });
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
