//! Changes and time travel against a model: random upserts, deletes and compactions.

use proptest::prelude::*;

use super::*;
use crate::Compaction;

#[derive(Debug, Clone)]
enum Op {
    Upsert(BTreeSet<i64>),
    Delete(BTreeSet<i64>),
    Append(BTreeSet<i64>),
    Compact,
    Checkpoint,
}

fn op() -> impl Strategy<Value = Op> {
    let ids = || proptest::collection::btree_set(0i64..25, 0..12);
    prop_oneof![
        4 => ids().prop_map(Op::Upsert),
        2 => ids().prop_map(Op::Delete),
        // Ids of their own: an append that repeats a key would not be a map any more.
        2 => proptest::collection::btree_set(100i64..1000, 1..4).prop_map(Op::Append),
        2 => Just(Op::Compact),
        1 => Just(Op::Checkpoint),
    ]
}

type Model = BTreeMap<i64, i64>;

/// The pairs of one side that the other lacks.
fn minus(a: &Model, b: &Model) -> Vec<(i64, i64)> {
    a.iter().filter(|(id, seq)| b.get(id) != Some(*seq)).map(|(id, seq)| (*id, *seq)).collect()
}

async fn check(vectors: bool, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let site = site().await;
    let spec = TableSpec { deletion_vectors: vectors, ..spec() };
    let mut table = site.lake.create(&name("silver.t"), spec).await.expect("creates");
    let mut now = Model::new();
    let mut at: BTreeMap<u64, Model> = BTreeMap::from([(0, now.clone())]);
    let eager = Compaction { min_files: 2, max_deleted: 0.1, ..Compaction::default() };
    for (n, op) in ops.into_iter().enumerate() {
        let seq = i64::try_from(n).expect("small") + 1;
        match op {
            Op::Upsert(ids) => {
                upsert(&mut table, ids.clone(), rows(ids.clone(), seq)).await;
                now.extend(ids.into_iter().map(|id| (id, seq)));
            }
            Op::Delete(ids) => {
                upsert(&mut table, ids.clone(), rows([], seq)).await;
                now.retain(|id, _| !ids.contains(id));
            }
            Op::Append(ids) => {
                let new: Vec<i64> = ids.into_iter().filter(|id| !now.contains_key(id)).collect();
                upsert(&mut table, [], rows(new.clone(), seq)).await;
                now.extend(new.into_iter().map(|id| (id, seq)));
            }
            Op::Compact => {
                table.compact(&eager).await.expect("compacts");
            }
            Op::Checkpoint => table.checkpoint().await.expect("writes"),
        }
        at.insert(table.version().0, now.clone());
    }
    let seen = open(&site.rival().await, &table).await;
    prop_assert_eq!(seen.version(), table.version());
    prop_assert_eq!(seen.positions(), table.positions());
    let changed = seen.changes(None, seen.version()).await.expect("lists");
    let changed: BTreeMap<u64, _> = changed.into_iter().map(|c| (c.version().0, c)).collect();
    let mut before = Model::new();
    for (version, model) in at {
        let held = held(&seen.at(Version(version)).await.expect("opens")).await;
        prop_assert_eq!(held, model.clone().into_iter().collect::<Vec<_>>(), "version {}", version);
        let (added, removed) = match changed.get(&version) {
            Some(changed) => {
                let change = seen.read_change(changed).await.expect("reads");
                (pairs(&change.added), pairs(&change.removed))
            }
            None => (Vec::new(), Vec::new()),
        };
        prop_assert_eq!(added, minus(&model, &before), "added by version {}", version);
        prop_assert_eq!(removed, minus(&before, &model), "removed by version {}", version);
        before = model;
    }
    Ok(())
}

fn run(vectors: bool, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
    runtime.block_on(check(vectors, ops))
}

proptest! {
    #![proptest_config(cases::few(16))]
    // Holds P3 (docs/invariants.md).
    #[test]
    fn changes_and_versions_equal_the_model_with_vectors(ops in proptest::collection::vec(op(), 1..14)) {
        run(true, ops)?;
    }
    // Holds P3 (docs/invariants.md).
    #[test]
    fn changes_and_versions_equal_the_model_without_vectors(ops in proptest::collection::vec(op(), 1..14)) {
        run(false, ops)?;
    }
}
