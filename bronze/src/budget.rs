//! Limits the undecoded bytes in memory and decides which partitions are not read.
//!
//! Bytes count from the moment records are read until their commit has landed. A table with slow commits
//! fills its own share and is then not read further. Above its share it can use only what the other tables
//! leave free. A table below its share is always read, so a stuck table cannot starve it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the waiting bytes of one table and of all tables.
#[derive(Debug, Clone)]
pub struct Share {
    table: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    /// Below this a table is always read.
    least: usize,
    /// Limit for all tables together: at this sum no table may exceed `least`.
    most: usize,
    freed: Arc<Notify>,
}

/// The memory budget of a process, in equal shares.
#[derive(Debug)]
pub struct Budget {
    all: Arc<AtomicUsize>,
    least: usize,
    most: usize,
    freed: Arc<Notify>,
}
impl Budget {
    /// A budget of `bytes` for `tables` tables.
    pub fn new(bytes: usize, tables: usize) -> Self {
        let least = (bytes / tables.max(1)).max(1);
        Self { all: Arc::default(), least, most: bytes, freed: Arc::default() }
    }
    /// A table's share.
    pub fn share(&self) -> Share {
        let (all, freed) = (self.all.clone(), self.freed.clone());
        Share { table: Arc::default(), all, least: self.least, most: self.most, freed }
    }
    /// Notified whenever bytes become free.
    pub fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }
}
impl Share {
    /// Counts bytes until the permit is dropped. Never refuses, because they are in memory already.
    pub fn take(&self, bytes: usize) -> Permit {
        self.table.fetch_add(bytes, Ordering::AcqRel);
        self.all.fetch_add(bytes, Ordering::AcqRel);
        Permit { share: self.clone(), bytes }
    }
    /// True if the table must not be read further.
    pub fn is_full(&self) -> bool {
        let table = self.table.load(Ordering::Acquire);
        // One table may use at most half of the budget, because another may need as much at once.
        let above = table >= self.least;
        above && (table >= self.most / 2 || self.all.load(Ordering::Acquire) >= self.most)
    }
    /// True if a paused table may be read again. The limit is lower than that of [`Share::is_full`], so that
    /// the table does not pause again at once.
    pub fn has_room(&self) -> bool {
        self.table.load(Ordering::Acquire) <= self.least / 2 || {
            let half = self.most / 2;
            self.table.load(Ordering::Acquire) <= half / 2 && self.all.load(Ordering::Acquire) <= half
        }
    }
}

/// Bytes that count against the budget until this is dropped.
#[derive(Debug)]
pub struct Permit {
    share: Share,
    bytes: usize,
}
impl Permit {
    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Merges another permit of the same table into this one.
    pub fn join(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.share.table, &other.share.table), "of one table");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}
impl Drop for Permit {
    fn drop(&mut self) {
        self.share.table.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.all.fetch_sub(self.bytes, Ordering::AcqRel);
        self.share.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_below_its_share_is_never_held() {
        let budget = Budget::new(100, 4);
        let (greedy, modest) = (budget.share(), budget.share());
        let _all = greedy.take(1_000);
        assert!(greedy.is_full());
        let _some = modest.take(24);
        assert!(!modest.is_full());
        let _more = modest.take(1);
        assert!(modest.is_full(), "at its share, and all is taken");
    }

    #[test]
    fn what_is_freed_makes_room() {
        let budget = Budget::new(100, 1);
        let share = budget.share();
        let permits = [share.take(50), share.take(60)];
        assert!(share.is_full() && !share.has_room());
        drop(permits);
        assert!(share.has_room());
    }
}
