//! How many undecoded bytes wait in memory, and whose partitions have to wait at the broker.
//!
//! Rows wait from the moment they are read until their commit has landed. A table whose commits are
//! slow fills its own share and is not read further; what it holds above that is bounded by what all
//! others leave free. A table below its share is never held, so a stuck one cannot starve it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that wait, of one table and of all.
#[derive(Debug, Clone)]
pub struct Share {
    table: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    /// A table below this is never held.
    least: usize,
    /// All tables together, beyond which none goes above its least.
    most: usize,
    freed: Arc<Notify>,
}

/// The budget of a process, in equal shares.
#[derive(Debug)]
pub struct Budget {
    all: Arc<AtomicUsize>,
    least: usize,
    most: usize,
    freed: Arc<Notify>,
}
impl Budget {
    /// `bytes` for that many tables.
    pub fn new(bytes: usize, tables: usize) -> Self {
        let least = (bytes / tables.max(1)).max(1);
        Self { all: Arc::default(), least, most: bytes, freed: Arc::default() }
    }
    /// A table's share.
    pub fn share(&self) -> Share {
        let (all, freed) = (self.all.clone(), self.freed.clone());
        Share { table: Arc::default(), all, least: self.least, most: self.most, freed }
    }
    /// Told whenever bytes become free.
    pub fn freed(&self) -> Arc<Notify> {
        self.freed.clone()
    }
}
impl Share {
    /// Bytes that wait from here on until the permit is dropped. Never refused: they are in memory.
    pub fn take(&self, bytes: usize) -> Permit {
        self.table.fetch_add(bytes, Ordering::AcqRel);
        self.all.fetch_add(bytes, Ordering::AcqRel);
        Permit { share: self.clone(), bytes }
    }
    /// Whether the table has to wait at the broker.
    pub fn is_full(&self) -> bool {
        let table = self.table.load(Ordering::Acquire);
        // Half of everything is the most for one: another may need as much at once.
        let above = table >= self.least;
        above && (table >= self.most / 2 || self.all.load(Ordering::Acquire) >= self.most)
    }
    /// Whether a table that waits may be read again. Lower than [`Share::is_full`], so that it does
    /// not wait again at once.
    pub fn has_room(&self) -> bool {
        self.table.load(Ordering::Acquire) <= self.least / 2 || {
            let half = self.most / 2;
            self.table.load(Ordering::Acquire) <= half / 2 && self.all.load(Ordering::Acquire) <= half
        }
    }
}

/// Bytes that wait. Dropping it frees them.
#[derive(Debug)]
pub struct Permit {
    share: Share,
    bytes: usize,
}
impl Permit {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Both as one.
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
