//! The contract of every sink: whatever call fails, the destination becomes the table.

use std::collections::BTreeMap;

use lake::Table;
use rstest::rstest;
use runtime::Failure as _;

use super::memory::{Kind, Memory};
use super::unsteady::{Failing, Unsteady};
use super::world::*;
use crate::{Publisher, Sink};

/// Rows by key, both as bytes of the destination.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A sink whose destination a test can read.
pub trait Readable: Sink + Clone {
    /// The actual rows.
    async fn rows(&self) -> State;
    /// The expected rows.
    async fn wanted(&self, table: &Table) -> State;
}

impl Readable for Memory {
    async fn rows(&self) -> State {
        Memory::rows(self)
    }
    async fn wanted(&self, table: &Table) -> State {
        let mut state = State::new();
        for batch in table.scan(None).await.expect("scanned") {
            let (keys, rows) = (self.form.keys(&batch), self.form.rows(&batch));
            state.extend(keys.iter().map(|k| k.to_vec()).zip(rows.iter().map(|row| row.to_vec())));
        }
        state
    }
}

/// Five versions: a fill, inserts, an update with a delete, pins only, a delete of all rows.
async fn story(world: &mut World, mut after_each: impl AsyncFnMut(&Table)) {
    world.edit(&[(1, "x", 1), (2, "y", 2), (3, "z", 3)], &[]).await;
    after_each(&world.table().await).await;
    world.edit(&[(4, "x", 1), (5, "y", 2), (6, "z", 3), (7, "x", 1)], &[]).await;
    after_each(&world.table().await).await;
    world.edit(&[(2, "changed", 2), (5, "changed", 2)], &[1, 7]).await;
    world.pin().await;
    after_each(&world.table().await).await;
    world.edit(&[], &[2, 3, 4, 5, 6]).await;
    after_each(&world.table().await).await;
}

/// Publishes the whole story, in transactions of `limit` changes, while calls fail. After an error the
/// publisher goes on, or if it `dies`, another one does. The destination equals the table after each step of
/// the story. Returns the number of calls.
pub async fn whatever_fails_the_destination_is_the_table<S: Readable>(
    world: &mut World,
    sink: S,
    failing: Failing,
    limit: usize,
    dies: bool,
) -> usize {
    let sink = Unsteady::new(sink, failing);
    let publisher = || Publisher::new(name("gold.t"), sink.clone(), limit);
    let mut running = publisher();
    story(world, async |table: &Table| {
        let mut tries = 0;
        while let Err(error) = running.step(table).await {
            assert_ne!(error.reaction(), model::Reaction::Halt, "{error}");
            tries += 1;
            assert!(tries < 100, "{failing:?}: it never ends");
            if dies {
                running = publisher();
            }
        }
        let (rows, wanted) = (sink.sink.rows().await, sink.sink.wanted(table).await);
        assert_eq!(rows, wanted, "{limit} {failing:?}");
    })
    .await;
    sink.calls.made()
}

/// The contract in memory, with checks that only this sink allows.
async fn published(kind: Kind, limit: usize, failing: Failing, dies: bool) -> usize {
    let (mut world, memory) = (World::new().await, Memory::new(kind));
    let sink = memory.clone();
    let calls = whatever_fails_the_destination_is_the_table(&mut world, sink, failing, limit, dies).await;
    if kind == Kind::Hides {
        // A key occurs at most once per version; versions are in order; their last changes are marked.
        let place = memory.place();
        let mut seen: Vec<(model::Version, &[u8])> =
            place.records.iter().map(|r| (r.version, r.key.as_ref())).collect();
        assert!(seen.is_sorted(), "{seen:?}");
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "a key came twice in one version: {failing:?}");
        let versions: std::collections::BTreeSet<model::Version> = seen.iter().map(|(v, _)| *v).collect();
        let last: Vec<model::Version> = place.records.iter().filter(|r| r.last).map(|r| r.version).collect();
        assert_eq!(last, versions.into_iter().collect::<Vec<_>>());
    }
    calls
}

// Holds P4 (docs/invariants.md).
#[rstest]
#[tokio::test]
async fn whatever_call_fails_the_destination_is_the_table(
    #[values(Kind::Hides, Kind::Shows)] kind: Kind,
    #[values(2, 100)] limit: usize,
    #[values(false, true)] after: bool,
    #[values(false, true)] dies: bool,
) {
    let calls = published(kind, limit, Failing::Never, dies).await;
    assert!(calls > 20, "{calls}");
    for call in 1..=calls {
        published(kind, limit, Failing::Once { call, after }, dies).await;
    }
}

// Holds P4 (docs/invariants.md).
#[rstest]
#[tokio::test]
async fn failures_that_go_on_only_delay_it(
    #[values(Kind::Hides, Kind::Shows)] kind: Kind,
    #[values(9, 11, 13)] each: usize,
    #[values(false, true)] dies: bool,
) {
    published(kind, 2, Failing::Each(each), dies).await;
}
