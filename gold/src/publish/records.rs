//! One version's difference as records: netted per key, in the order of the keys' bytes.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::error::ArrowError;
use bytes::Bytes;

use super::encode::Encoders;

/// Records of one version; values are encoded a part at a time.
#[derive(Debug)]
pub struct Records {
    /// Rows that live on. `None`: there are none.
    rows: Option<RecordBatch>,
    /// Keys in order; with each the row it has now, or none if it was deleted.
    order: Vec<(Bytes, Option<u64>)>,
}

impl Records {
    /// What the rows that came and went mean for their keys: one that came is its key's value now, one
    /// that only went deletes its key, and so does one of the keys `held` that did not come. Keys up to
    /// `behind` are left out.
    pub fn net(
        encoders: &Encoders,
        added: Vec<RecordBatch>,
        removed: &[RecordBatch],
        held: Vec<Bytes>,
        behind: Option<&[u8]>,
    ) -> Result<Self, ArrowError> {
        let rows = match added.first() {
            Some(first) => Some(concat_batches(&first.schema(), &added)?),
            None => None,
        };
        drop(added);
        let keys = rows.as_ref().map(|rows| encoders.keys(rows)).transpose()?.unwrap_or_default();
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
                encoders.keys(batch)?.into_iter().for_each(&mut take);
            }
            held.into_iter().for_each(&mut take);
        }
        let mut order: Vec<(Bytes, Option<u64>)> =
            keys.into_iter().enumerate().map(|(i, key)| (key, Some(i as u64))).chain(gone).collect();
        order.retain(|(key, _)| behind.is_none_or(|behind| key.as_ref() > behind));
        order.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { rows, order })
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Keys and values of some records; no value is a tombstone.
    pub fn values(
        &self,
        encoders: &Encoders,
        part: Range<usize>,
    ) -> Result<Vec<(Bytes, Option<Bytes>)>, ArrowError> {
        let part = &self.order[part];
        let live: Vec<u64> = part.iter().filter_map(|(_, row)| *row).collect();
        let values = match &self.rows {
            Some(rows) if !live.is_empty() => {
                encoders.values(&take_record_batch(rows, &UInt64Array::from(live))?)?
            }
            _ => Vec::new(),
        };
        let mut values = values.into_iter();
        Ok(part.iter().map(|(key, row)| (key.clone(), row.and_then(|_| values.next()))).collect())
    }
}
