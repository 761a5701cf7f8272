//! Any order, duplication and batches give the same final table.

use catalog::{Kind, Otherwise};
use proptest::prelude::*;

use super::oracle::{Model, Record, Says, expected};
use super::shelf::Shelf;
use super::support::{Modelling, bronze, bronze_schema, long, text, topic};
use crate::judge::Rules;

const NAMES: [&str; 5] = ["a", "b", "hidden", "bad", "dropped"];
const NOTES: [Option<&str>; 4] = [None, Some("x"), Some("y"), Some("n")];

/// The next change at the source, as numbers that are always valid.
pub(super) type Choice = (u8, u8, u8, u8, bool);

pub(super) fn choice() -> impl Strategy<Value = Choice> {
    (0..20_u8, 0..4_u8, 0..5_u8, 0..7_u8, any::<bool>())
}

/// Plays choices as a database with a topic of two partitions. They need not make sense: an update of a
/// missing row must not depend on order either.
pub(super) fn history(choices: &[Choice]) -> Vec<Record> {
    let (mut epoch, mut lsn) = (1, 100);
    let mut offsets = [0_i64, 0];
    let mut records: Vec<Record> = Vec::new();
    let mut push = |records: &mut Vec<Record>, epoch, lsn, tx, key: i64, says| {
        let partition = key % 2;
        let offset = offsets[usize::try_from(partition).expect("small")];
        offsets[usize::try_from(partition).expect("small")] += 1;
        let (epoch, lsn) = (Some(epoch), Some(lsn));
        records.push(Record { epoch, lsn, tx, offset, partition, says, redriven: false });
    };
    for &(what, key, name, notes, flag) in choices {
        lsn += 10;
        let key = i64::from(key);
        let name = NAMES[usize::from(name)];
        // Three of seven leave the notes out as unchanged.
        let notes = NOTES.get(usize::from(notes)).copied();
        let row = |op, key, had, last| Says::Row { op, key, name, notes, had, last };
        match what {
            0..=8 => push(
                &mut records,
                epoch,
                lsn,
                Some(1),
                key,
                row(if flag { "u" } else { "c" }, key, None, false),
            ),
            9..=11 => {
                push(&mut records, epoch, lsn, Some(1), key, Says::Delete { key, key_only: flag });
                push(&mut records, epoch, lsn, None, key, Says::Tombstone { key });
            }
            12 | 13 => {
                let new = (key + 1) % 4;
                push(&mut records, epoch, lsn, Some(1), key, Says::Delete { key, key_only: flag });
                push(&mut records, epoch, lsn, None, key, Says::Tombstone { key });
                push(&mut records, epoch, lsn, Some(2), new, row("c", new, Some(key), false));
            }
            14 => push(&mut records, epoch, lsn, Some(1), 0, Says::Truncate),
            15 | 16 => {
                let full = notes.unwrap_or(None);
                let read = |key, last| Says::Row { op: "r", key, name, notes: Some(full), had: None, last };
                push(&mut records, epoch, lsn, None, key, read(key, false));
                // An incomplete snapshot truncates nothing.
                push(&mut records, epoch, lsn, None, (key + 2) % 4, read((key + 2) % 4, flag));
            }
            17 => (epoch, lsn) = (epoch + 1, 0),
            18 => {
                push(&mut records, epoch, lsn, Some(1), key, Says::Garbage);
                // Repaired and redriven.
                let repaired = records.last().expect("just pushed").clone();
                records.push(Record { says: row("u", key, None, false), redriven: true, ..repaired });
            }
            19 if flag => {
                // Redriven unchanged.
                let again = records.iter().rev().find(|r| matches!(r.says, Says::Row { .. })).cloned();
                records.extend(again.filter(|r| !r.redriven).map(|r| Record { redriven: true, ..r }));
            }
            _ => {
                // The connector restarts a little earlier.
                let from = records.len().saturating_sub(3);
                let again: Vec<Record> = records[from..].iter().filter(|r| r.tx.is_some()).cloned().collect();
                for old in again {
                    let (epoch, lsn) = (old.epoch.unwrap_or(1), old.lsn.unwrap_or(0));
                    push(&mut records, epoch, lsn, old.tx, old.partition, old.says);
                }
            }
        }
    }
    records
}

/// A history, the order of its delivery, and the sizes of its batches.
fn delivery() -> impl Strategy<Value = (Vec<Record>, Vec<usize>)> {
    (proptest::collection::vec(choice(), 1..24), any::<bool>())
        .prop_map(|(choices, shuffled)| (history(&choices), shuffled))
        .prop_flat_map(|(records, shuffled)| {
            let count = records.len();
            let order = if shuffled { Just(records).prop_shuffle().boxed() } else { Just(records).boxed() };
            (order, proptest::collection::vec(0..=count, 0..6))
        })
}

fn rules(model: Model) -> Rules {
    let filter = if model.by_notes { "notes <> 'n'" } else { "name <> 'hidden'" };
    let sql = format!(
        "SELECT id, upper(name) AS name, notes, notes || '!' AS loud FROM changes(bronze.things) WHERE {filter}"
    );
    let row = [long("id"), text("name"), text("notes")];
    let schema = bronze_schema(&row, &[long("id")]);
    let modelling = Modelling {
        expectations: vec![
            ("not_bad", "name <> 'BAD'", Otherwise::Quarantine),
            ("not_dropped", "name <> 'DROPPED'", Otherwise::Drop),
        ],
        track: if model.tracks_name { vec!["name".to_owned()] } else { Vec::new() },
        ..Modelling::new(model.kind, &["id"], &sql)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(modelling.rules(&topic(&["id"]), &schema))
}

fn columns(model: Model) -> Vec<&'static str> {
    let mut all = vec!["id", "name", "notes", "loud", "_epoch", "_lsn", "_tx_order", "_partition", "_offset"];
    if model.kind == Kind::Scd2 {
        all.extend(["__START_AT", "__END_AT"]);
    }
    all
}

/// A redrive is appended after the record that it repairs: no table can have them in the other order.
fn redrives_last(records: &mut [Record]) {
    let place = |r: &Record| (r.partition, r.offset);
    for at in 0..records.len() {
        let original = |r: &Record| !r.redriven && place(r) == place(&records[at]);
        if let Some(behind) = records[at + 1..].iter().position(original).filter(|_| records[at].redriven) {
            records.swap(at, at + 1 + behind);
        }
    }
}

fn check(model: Model, rules: &Rules, records: &[Record], cuts: &[usize]) -> Result<(), TestCaseError> {
    let schema = bronze_schema(&[long("id"), text("name"), text("notes")], &[long("id")]);
    let mut cuts: Vec<usize> = cuts.iter().copied().chain([0, records.len()]).collect();
    cuts.sort_unstable();
    let mut records = records.to_vec();
    if model.kind == Kind::Append {
        redrives_last(&mut records);
    }
    let mut shelf = Shelf::new(rules.clone());
    for cut in cuts.windows(2) {
        let rows: Vec<_> = records[cut[0]..cut[1]].iter().map(Record::bronze).collect();
        shelf.step(&bronze(&schema, &rows));
        let so_far = expected(model, &records[..cut[1]]);
        prop_assert_eq!(shelf.rows(&columns(model)), so_far.rows, "after {} records", cut[1]);
        prop_assert_eq!(shelf.put_aside(), so_far.aside, "put aside");
        prop_assert_eq!(shelf.outcomes.total(), cut[1] as u64, "every row has one outcome");
    }
    Ok(())
}

macro_rules! any_order {
    ($name:ident, $cases:literal, $model:expr) => {
        #[test]
        fn $name() {
            let model = $model;
            let rules = rules(model);
            let mut runner = proptest::test_runner::TestRunner::new(cases::few($cases));
            runner
                .run(&delivery(), |(records, cuts)| check(model, &rules, &records, &cuts))
                .unwrap_or_else(|failed| panic!("{failed:?}"));
        }
    };
}

// Holds P6 (docs/invariants.md).
any_order!(
    any_order_gives_the_same_newest_rows,
    400,
    Model { kind: Kind::Scd1, by_notes: false, tracks_name: false }
);
// Holds P6 (docs/invariants.md).
any_order!(
    any_order_gives_the_same_rows_under_a_carried_where,
    300,
    Model { kind: Kind::Scd1, by_notes: true, tracks_name: false }
);
// Holds P6 (docs/invariants.md).
any_order!(
    any_order_gives_the_same_history,
    300,
    Model { kind: Kind::Scd2, by_notes: false, tracks_name: false }
);
// Holds P6 (docs/invariants.md).
any_order!(
    any_order_gives_the_same_history_of_tracked_columns,
    300,
    Model { kind: Kind::Scd2, by_notes: true, tracks_name: true }
);
// Holds P6 (docs/invariants.md).
any_order!(
    any_order_appends_each_event_once,
    200,
    Model { kind: Kind::Append, by_notes: false, tracks_name: false }
);

// Holds P6 (docs/invariants.md).
#[test]
fn dying_between_the_notes_and_the_table_changes_nothing() {
    for kind in [Kind::Scd1, Kind::Scd2] {
        let model = Model { kind, by_notes: false, tracks_name: false };
        let rules = rules(model);
        let schema = bronze_schema(&[long("id"), text("name"), text("notes")], &[long("id")]);
        let mut runner = proptest::test_runner::TestRunner::new(cases::few(150));
        let crash = |(records, cuts): (Vec<Record>, Vec<usize>)| {
            let mut cuts: Vec<usize> = cuts.iter().copied().take(2).chain([0, records.len()]).collect();
            cuts.resize(4, records.len());
            cuts.sort_unstable();
            let part = |at: usize| {
                let rows: Vec<_> = records[cuts[at]..cuts[at + 1]].iter().map(Record::bronze).collect();
                bronze(&schema, &rows)
            };
            let mut shelf = Shelf::new(rules.clone());
            shelf.step(&part(0));
            shelf.crash_then_step(&part(1), &part(2));
            prop_assert_eq!(shelf.rows(&columns(model)), expected(model, &records).rows);
            Ok(())
        };
        runner.run(&delivery(), crash).unwrap_or_else(|failed| panic!("{failed}"));
    }
}
