//! Compaction: the last record of each key stays in its place, with its offset.
//!
//! Only closed files are rewritten, into new files beside them, without a lock. The new file is renamed over
//! the old one while the partition is locked. A crash leaves the old file or the new one. Records of aborted
//! transactions are removed and markers stay. A tombstone stays for a day, so that consumers see the deletion.
//! The search for the last record of a key ends at the first open transaction and includes the file that is
//! still being written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use tansu_sans_io::record::{Record, deflated, inflated};
use xxhash_rust::xxh3::xxh3_128;

use super::{Aborted, PartitionLog, Segment, Slot, file_name, parse};
use crate::store::batch::{HEAD, Head};

/// Fewer bytes are not worth reading the partition.
const LEAST: u64 = 8 << 20;
/// How long a tombstone is kept (Kafka's `delete.retention.ms`).
const TOMBSTONES: i64 = 24 * 3_600_000;

/// A compaction under way.
#[derive(Debug)]
pub(in super::super) struct LogCompaction {
    dir: PathBuf,
    /// Files by first offset, the closed ones first.
    files: Vec<(i64, Vec<Slot>)>,
    closed: usize,
    aborted: Vec<Aborted>,
    stable: i64,
    now: i64,
    /// The closed files in their new form.
    written: Vec<Segment>,
}

impl PartitionLog {
    /// The files that a compaction would rewrite; `None` if it is not worth it.
    pub(in super::super) fn compaction(&self, now: i64) -> Option<LogCompaction> {
        let stable = self.stable();
        let closed = self.segments.iter().take(self.segments.len().saturating_sub(1));
        let closed =
            closed.take_while(|file| file.slots.last().is_none_or(|slot| slot.last < stable)).count();
        let bytes = |clean| -> u64 {
            let files = self.segments[..closed].iter().filter(|file| file.clean == clean);
            files.map(|file| file.bytes).sum()
        };
        if bytes(false) < LEAST.min(self.limit) || bytes(false) < bytes(true) {
            return None;
        }
        Some(LogCompaction {
            dir: self.dir.clone(),
            files: self.segments.iter().map(|file| (file.base, file.slots.clone())).collect(),
            closed,
            aborted: self.aborted.clone(),
            stable,
            now,
            written: Vec::new(),
        })
    }

    /// Replaces the old files by the rewritten ones. Files that were removed meanwhile stay removed.
    pub(in super::super) fn adopt(&mut self, mut compaction: LogCompaction) -> io::Result<()> {
        for file in std::mem::take(&mut compaction.written) {
            let beside = compaction.beside(file.base);
            let Some(index) = self.segments.iter().position(|segment| segment.base == file.base) else {
                fs::remove_file(beside)?;
                continue;
            };
            fs::rename(beside, self.path(file.base))?;
            self.segments[index] = file;
        }
        Ok(())
    }
}

impl LogCompaction {
    /// Writes the new files beside the old ones.
    pub(in super::super) fn run(&mut self) -> io::Result<()> {
        let latest = self.latest()?;
        for index in 0..self.closed {
            let (base, slots) = &self.files[index];
            let mut file = File::create(self.beside(*base))?;
            let mut segment = Segment::new(*base);
            segment.clean = true;
            for slot in slots {
                let batch = self.batch(*base, slot)?;
                let Some(batch) = self.keep(batch, &latest)? else { continue };
                let head = Head::of(&batch);
                file.write_all(&Bytes::from(batch))?;
                segment.slots.push(Slot {
                    base: head.base,
                    last: head.last,
                    position: segment.bytes,
                    size: head.size,
                    max_timestamp: head.max_timestamp,
                });
                segment.bytes += u64::from(head.size);
            }
            file.sync_data()?;
            segment.synced = segment.bytes;
            self.written.push(segment);
        }
        Ok(())
    }

    /// Offset of the last record of each key, by the key's hash. Hashes of 128 bits do not collide in practice.
    fn latest(&self) -> io::Result<HashMap<u128, i64>> {
        let mut latest = HashMap::new();
        for (base, slots) in &self.files {
            for slot in slots.iter().filter(|slot| slot.last < self.stable) {
                let batch = self.batch(*base, slot)?;
                if Head::of(&batch).is_control() || self.is_aborted(&batch) {
                    continue;
                }
                for (offset, record) in records(batch)? {
                    if let Some(key) = &record.key {
                        latest.insert(xxh3_128(key), offset);
                    }
                }
            }
        }
        Ok(latest)
    }

    /// The part of a batch that stays.
    fn keep(
        &self,
        batch: deflated::Batch,
        latest: &HashMap<u128, i64>,
    ) -> io::Result<Option<deflated::Batch>> {
        if Head::of(&batch).is_control() {
            return Ok(Some(batch));
        }
        if self.is_aborted(&batch) {
            return Ok(None);
        }
        let is_old = batch.max_timestamp < self.now - TOMBSTONES;
        let stays = |offset: i64, record: &Record| {
            let is_latest = record.key.as_ref().is_none_or(|key| latest.get(&xxh3_128(key)) == Some(&offset));
            is_latest && !(is_old && record.value.is_none())
        };
        let records = records(batch.clone())?;
        let count = records.len();
        let kept: Vec<Record> =
            records.into_iter().filter(|(offset, record)| stays(*offset, record)).map(|(_, r)| r).collect();
        if kept.len() == count {
            return Ok(Some(batch));
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let mut whole = inflated::Batch::try_from(batch.clone()).map_err(io::Error::other)?;
        whole.records = kept;
        // The batch has a compression that cannot be written here, so it stays as it is.
        let Ok(mut smaller) = deflated::Batch::try_from(whole) else { return Ok(Some(batch)) };
        smaller.batch_length =
            i32::try_from(HEAD - 12 + smaller.record_data.len()).map_err(io::Error::other)?;
        Ok(Some(smaller))
    }

    fn is_aborted(&self, batch: &deflated::Batch) -> bool {
        Head::of(batch).is_transactional()
            && self.aborted.iter().any(|txn| {
                txn.producer == batch.producer_id && (txn.first..txn.last).contains(&batch.base_offset)
            })
    }

    fn batch(&self, base: i64, slot: &Slot) -> io::Result<deflated::Batch> {
        let mut buffer = vec![0; slot.size as usize];
        File::open(self.dir.join(file_name(base)))?.read_exact_at(&mut buffer, slot.position)?;
        parse(buffer.into())
    }

    fn beside(&self, base: i64) -> PathBuf {
        self.dir.join(format!("{}.new", file_name(base)))
    }
}

fn records(batch: deflated::Batch) -> io::Result<Vec<(i64, Record)>> {
    let base = batch.base_offset;
    let records: Vec<Record> = batch.try_into().map_err(io::Error::other)?;
    Ok(records.into_iter().map(|record| (base + i64::from(record.offset_delta), record)).collect())
}
