//! One partition as files: Kafka's record batches, one after the other, as they arrived.
//!
//! A file is named by its first offset and closed at a size limit. A batch is appended with one write and
//! acknowledged after it, so acknowledged batches are in the kernel's page cache and survive the death of this
//! process at any moment. A power cut may lose the last seconds, because files are synced every few seconds. A
//! process that is killed during a write leaves a torn batch at the end of the last file: it was never
//! acknowledged, and [`PartitionLog::open`] cuts it off. A failed write (full disk) is cut off at once. All
//! other state of a partition (positions of batches, open and aborted transactions, sequences of producers) is
//! derived from the batches' heads when it is opened.
//!
//! Files are opened for each use: a project may have thousands of partitions, more than a process may have open
//! files.

mod compact;
mod recover;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use tansu_sans_io::record::deflated;

use super::batch::{self, HEAD, Head};
use super::producers::{BatchCheck, Producers};

/// The size at which a file is closed, unless the topic sets another.
pub(super) const SEGMENT: u64 = 64 << 20;

/// The place of a batch.
#[derive(Debug, Clone, Copy)]
struct Slot {
    base: i64,
    last: i64,
    position: u64,
    size: u32,
    max_timestamp: i64,
}

/// One file.
#[derive(Debug)]
struct Segment {
    base: i64,
    bytes: u64,
    synced: u64,
    /// Whether it was compacted.
    clean: bool,
    slots: Vec<Slot>,
}

impl Segment {
    fn new(base: i64) -> Self {
        Self { base, bytes: 0, synced: 0, clean: false, slots: Vec::new() }
    }
}

/// A transaction whose records readers skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer: i64,
    pub first: i64,
    /// Offset of its marker.
    pub last: i64,
}

/// The files of one partition and the state derived from them.
#[derive(Debug)]
pub(super) struct PartitionLog {
    dir: PathBuf,
    /// The size at which a file is closed.
    limit: u64,
    segments: Vec<Segment>,
    /// Offsets below it are deleted or hidden.
    start: i64,
    next: i64,
    producers: Producers,
    /// First offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

/// The outcome of an append.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// The batch was stored at this offset.
    At(i64),
    /// The batch was stored before, at this offset.
    Repeat(i64),
    /// The batch is refused.
    Refused(tansu_sans_io::ErrorCode),
}

impl PartitionLog {
    /// First readable offset.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Offset the next record gets.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// End of the records that no open transaction can change.
    pub(super) fn stable(&self) -> i64 {
        self.open.values().min().map_or(self.next, |first| (*first).min(self.next))
    }

    /// Producers with an open transaction in this partition.
    pub(super) fn open_producers(&self) -> impl Iterator<Item = i64> {
        self.open.keys().copied()
    }

    /// Stores a batch at the end.
    pub(super) fn append(&mut self, mut batch: deflated::Batch) -> io::Result<Appended> {
        batch.base_offset = self.next;
        batch.partition_leader_epoch = 0;
        batch.batch_length = (HEAD - 12 + batch.record_data.len()) as i32;
        let head = Head::of(&batch);
        if !head.is_control() {
            match self.producers.check(&head) {
                BatchCheck::New => {}
                BatchCheck::Repeat(base) => return Ok(Appended::Repeat(base)),
                BatchCheck::Refused(code) => return Ok(Appended::Refused(code)),
            }
        }
        let commits = if head.is_control() { batch::commits(&batch) } else { None };
        self.write(&head, &Bytes::from(batch))?;
        self.note(&head, commits);
        Ok(Appended::At(head.base))
    }

    /// Whole batches from the one with `offset`, up to `limit` and `max_bytes`. With `at_least_one`, the first
    /// is returned however large it is. Holes (compaction) are skipped.
    pub(super) fn read(
        &self,
        offset: i64,
        limit: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Vec<deflated::Batch>> {
        let mut batches = Vec::new();
        let mut budget = max_bytes;
        let first = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        for segment in self.segments.iter().skip(first) {
            let from = segment.slots.partition_point(|slot| slot.last < offset);
            let mut taken = 0;
            let mut bytes = 0_usize;
            for slot in &segment.slots[from..] {
                let size = slot.size as usize;
                let forced = at_least_one && batches.is_empty() && taken == 0;
                if slot.last >= limit || (size > budget && !forced) {
                    break;
                }
                budget = budget.saturating_sub(size);
                bytes += size;
                taken += 1;
            }
            if taken == 0 {
                // This file has nothing more to return, or there is no room for the next batch.
                if from == segment.slots.len() {
                    continue;
                }
                break;
            }
            let slots = &segment.slots[from..from + taken];
            let mut buffer = vec![0; bytes];
            File::open(self.path(segment.base))?.read_exact_at(&mut buffer, slots[0].position)?;
            let buffer = Bytes::from(buffer);
            for slot in slots {
                let at = (slot.position - slots[0].position) as usize;
                batches.push(parse(buffer.slice(at..at + slot.size as usize))?);
            }
            if from + taken < segment.slots.len() {
                break;
            }
        }
        Ok(batches)
    }

    /// Aborted transactions with records in `from..=to`.
    pub(super) fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.aborted.iter().filter(|txn| txn.last >= from && txn.first <= to).copied().collect()
    }

    /// The first record with a timestamp of at least `timestamp`: its offset and its timestamp.
    pub(super) fn at_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let slots = self.segments.iter().flat_map(|segment| &segment.slots);
        for slot in slots.filter(|slot| slot.max_timestamp >= timestamp && slot.last >= self.start) {
            for batch in self.read(slot.base, slot.last + 1, slot.size as usize, true)? {
                let (base, stamp) = (batch.base_offset, batch.base_timestamp);
                let records: Vec<tansu_sans_io::record::Record> =
                    batch.try_into().map_err(io::Error::other)?;
                for record in records {
                    let at = (base + i64::from(record.offset_delta), stamp + record.timestamp_delta);
                    if at.1 >= timestamp && at.0 >= self.start {
                        return Ok(Some(at));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Hides all records below `offset` and removes the files that are wholly below it.
    pub(super) fn forget_below(&mut self, offset: i64) -> io::Result<i64> {
        self.start = self.start.max(offset.min(self.next));
        while self.segments.len() > 1 && self.segments[1].base <= self.start {
            fs::remove_file(self.path(self.segments[0].base))?;
            self.segments.remove(0);
        }
        let start = self.start;
        self.aborted.retain(|txn| txn.last >= start);
        Ok(start)
    }

    /// Removes files with only records before `timestamp`. If all records of the open file are, it is closed
    /// first.
    pub(super) fn forget_before(&mut self, timestamp: i64) -> io::Result<()> {
        let stable = self.stable();
        let old = |segment: &Segment| {
            segment.slots.iter().all(|slot| slot.max_timestamp < timestamp && slot.last < stable)
        };
        let last_is_old = self.segments.last().is_some_and(|last| !last.slots.is_empty() && old(last));
        if last_is_old && self.segments.iter().all(old) {
            self.roll()?;
        }
        let count = self.segments.iter().take_while(|segment| old(segment)).count();
        let keep = count.min(self.segments.len().saturating_sub(1));
        if keep > 0 {
            self.forget_below(self.segments[keep].base)?;
        }
        Ok(())
    }

    /// Files that may not be on disk yet, and the size of each.
    pub(super) fn unsynced(&self) -> Vec<(PathBuf, i64, u64)> {
        let behind = self.segments.iter().filter(|segment| segment.synced < segment.bytes);
        behind.map(|segment| (self.path(segment.base), segment.base, segment.bytes)).collect()
    }

    /// Records that this much of a file is on disk.
    pub(super) fn synced(&mut self, base: i64, bytes: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.base == base) {
            segment.synced = segment.synced.max(bytes);
        }
    }

    /// Sets the size at which files are closed.
    pub(super) fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes.max(1);
    }

    fn path(&self, base: i64) -> PathBuf {
        self.dir.join(file_name(base))
    }

    /// Starts a new file at the end.
    fn roll(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        File::create(self.path(self.next))?;
        self.segments.push(Segment::new(self.next));
        Ok(())
    }

    fn write(&mut self, head: &Head, bytes: &[u8]) -> io::Result<()> {
        if self.segments.last().is_none_or(|segment| segment.bytes >= self.limit) {
            self.roll()?;
        }
        let segment = self.segments.last_mut().expect("rolled above if there was none");
        let path = self.dir.join(file_name(segment.base));
        let file = OpenOptions::new().write(true).open(path)?;
        if let Err(error) = file.write_all_at(bytes, segment.bytes) {
            // The next append would overwrite it; cutting it off frees the space.
            file.set_len(segment.bytes)?;
            return Err(error);
        }
        segment.slots.push(Slot {
            base: head.base,
            last: head.last,
            position: segment.bytes,
            size: head.size,
            max_timestamp: head.max_timestamp,
        });
        segment.bytes += u64::from(head.size);
        Ok(())
    }

    /// Updates the derived state for a stored batch.
    fn note(&mut self, head: &Head, commits: Option<bool>) {
        self.next = head.last + 1;
        self.producers.note(head);
        if head.is_control() {
            if let (Some(first), Some(false)) = (self.open.remove(&head.producer), commits) {
                self.aborted.push(Aborted { producer: head.producer, first, last: head.last });
            }
        } else if head.is_transactional() {
            self.open.entry(head.producer).or_insert(head.base);
        }
    }
}

fn file_name(base: i64) -> String {
    format!("{base:020}.log")
}

fn parse(bytes: Bytes) -> io::Result<deflated::Batch> {
    deflated::Batch::try_from(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
