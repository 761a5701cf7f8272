//! An incremental refresh equals a full one, for every query here, over random tables and changes.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use model::ClockMs;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::plan::Planner;
use crate::sql::parse;

mod cases;

/// Both tables have the same columns: a key, one to join by, one to group by, a number. There are few values,
/// so that rows match; all but the key may be null.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: i64,
    other: Option<i64>,
    kind: Option<&'static str>,
    amount: Option<i64>,
}

fn row() -> impl Strategy<Value = Row> {
    let kind = proptest::option::weighted(0.8, prop_oneof![Just("a"), Just("b"), Just("c")]);
    let other = proptest::option::weighted(0.8, 0..5i64);
    (0..6i64, other, kind, proptest::option::weighted(0.8, -3..4i64))
        .prop_map(|(id, other, kind, amount)| Row { id, other, kind, amount })
}

/// Upserts and deletes of one step, per table.
#[derive(Debug, Clone)]
enum Edit {
    Put(usize, Row),
    Drop(usize, i64),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![3 => (0..2usize, row()).prop_map(|(t, r)| Edit::Put(t, r)), 1 => (0..2usize, 0..6i64).prop_map(|(t, id)| Edit::Drop(t, id))]
}

type Table = BTreeMap<i64, Row>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("other", DataType::Int64, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(20, 2), true),
    ]))
}

fn batch<'a>(rows: impl IntoIterator<Item = &'a Row>) -> RecordBatch {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let amounts = rows.iter().map(|r| r.amount.map(|a| i128::from(a) * 100)).collect::<Decimal128Array>();
    let amounts = amounts.with_precision_and_scale(20, 2).expect("fits");
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(rows.iter().map(|r| Some(r.id)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.other).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.kind).collect::<StringArray>()),
            Arc::new(amounts),
        ],
    )
    .expect("columns of the schema")
}

fn provider(table: &Table) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(schema(), vec![vec![batch(table.values())]]).expect("one batch"))
}

fn names() -> [TableName; 2] {
    ["silver.a".parse().expect("valid"), "silver.b".parse().expect("valid")]
}

fn maintenance(sql: &str, keys: &[&str]) -> Maintenance {
    let planner = Planner::new(ClockMs(0));
    for name in names() {
        planner.declare(&name, &schema(), &["id".to_owned()]).expect("declared");
    }
    let planned = planner.plan(&parse(sql).expect("parses")).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    Maintenance::try_new(&planned, &keys).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

/// Rows of a result by key, as text.
fn by_key(batches: &[RecordBatch], keys: &[&str]) -> BTreeMap<Vec<String>, String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = BTreeMap::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("shown"))
            .collect();
        let key_at: Vec<usize> = keys.iter().map(|k| batch.schema().index_of(k).expect("a column")).collect();
        for i in 0..batch.num_rows() {
            let key = key_at.iter().map(|k| columns[*k].value(i).to_string()).collect::<Vec<_>>();
            let row = columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("|");
            assert_eq!(rows.insert(key.clone(), row), None, "two rows of key {key:?}");
        }
    }
    rows
}

/// Refreshes step by step by affected keys alone, and compares with a full computation.
async fn check(sql: &str, keys: &[&str], start: &[Row], steps: &[Vec<Edit>]) {
    let maintenance = maintenance(sql, keys);
    let names = names();
    let mut tables: [Table; 2] = [Table::new(), Table::new()];
    for (i, row) in start.iter().enumerate() {
        tables[i % 2].insert(row.id, row.clone());
    }
    let at = |tables: &[Table; 2]| -> Inputs {
        let input = |i: usize| Input { now: provider(&tables[i]), change: None };
        names.iter().cloned().enumerate().map(|(i, name)| (name, input(i))).collect()
    };
    let first = maintenance.compute(&at(&tables), None).await.expect("computed");
    let mut held = by_key(&first, keys);
    for edits in steps {
        let old = tables.clone();
        // Every image that an edit passes through, as in a log: a superset of the net change.
        let mut images: [(Vec<Row>, Vec<Row>); 2] = Default::default();
        for edit in edits {
            let (t, before, after) = match edit {
                Edit::Put(t, row) => (*t, tables[*t].insert(row.id, row.clone()), Some(row.clone())),
                Edit::Drop(t, id) => (*t, tables[*t].remove(id), None),
            };
            images[t].0.extend(after);
            images[t].1.extend(before);
        }
        let mut inputs = at(&tables);
        let changed = images.iter().zip(&names).filter(|((a, r), _)| !a.is_empty() || !r.is_empty());
        let changed = changed.map(|(_, name)| name.clone()).collect();
        let old_needed = maintenance.reads_old(&changed).expect("derived");
        for (i, (added, removed)) in images.iter().enumerate() {
            if added.is_empty() && removed.is_empty() {
                continue;
            }
            let change = InputChange {
                old: old_needed.then(|| provider(&old[i])),
                added: vec![batch(added)],
                removed: vec![batch(removed)],
            };
            inputs.get_mut(&names[i]).expect("an input").change = Some(change);
        }
        inputs.retain(|name, _| maintenance.inputs().contains(name));
        let full = by_key(&maintenance.compute(&inputs, None).await.expect("computed"), keys);
        if inputs.values().all(|i| i.change.is_none()) {
            assert_eq!(held, full);
            continue;
        }
        match maintenance.affected(&inputs).await.expect("derived") {
            Affected::All(why) => panic!("{sql} is refreshed in full: {why}"),
            Affected::Keys(affected) => {
                let touched: BTreeSet<Vec<String>> =
                    by_key(std::slice::from_ref(&affected), keys).into_keys().collect();
                let fresh = maintenance.compute(&inputs, Some(&affected)).await.expect("recomputed");
                let fresh = by_key(&fresh, keys);
                assert!(fresh.keys().all(|k| touched.contains(k)), "{sql}: rows of other keys");
                held.retain(|key, _| !touched.contains(key));
                held.extend(fresh);
            }
        }
        assert_eq!(held, full, "{sql}");
    }
}

fn incremental_equals_full(sql: &str, keys: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let start = prop::collection::vec(row(), 0..14);
    let steps = prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..4);
    proptest!(::cases::few(12), |(start in start, steps in steps)| {
        runtime.block_on(check(sql, keys, &start, &steps));
    });
}
