//! Operation ids. Each commit carries one, so that a writer whose answer was lost can find out
//! whether its commit landed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes unique ids.
pub trait Ids: Send + Sync {
    /// A new ULID, 26 characters.
    fn ulid(&self) -> String;
}

/// Real ids: time and 80 random bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;
impl Ids for RandomIds {
    #[allow(clippy::disallowed_methods, reason = "this is where ids come in")]
    fn ulid(&self) -> String {
        ulid::Ulid::new().to_string()
    }
}

/// The same ids on every run.
#[derive(Debug, Default)]
pub struct SeededIds {
    seed: u64,
    next: AtomicU64,
}
impl SeededIds {
    /// Ids that differ from those of another seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }
}
impl Ids for SeededIds {
    fn ulid(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        ulid::Ulid::from_parts(self.seed, u128::from(n)).to_string()
    }
}
