//! Random models over random changes, refreshed and killed at random: at every version the table equals its
//! SQL over its pins, and so does the fold of its log by a follower.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use catalog::Kind as ModelKind;
use lake::Table;
use model::Version;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::world::*;
use crate::difference::converter;
use crate::pipeline::Keeper;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));

/// A query and its keys.
#[derive(Debug, Clone)]
struct Asked {
    sql: String,
    keys: Vec<&'static str>,
}

/// Key expressions over one table `t`: nulls, signed zeros, NaN, other scales.
fn part() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "{t}.other",
        "{t}.kind",
        "{t}.amount",
        "CAST({t}.amount AS DECIMAL(24, 4))",
        "- CAST({t}.amount AS DOUBLE)",
        "CASE WHEN {t}.kind = 'b' THEN CAST('NaN' AS DOUBLE) ELSE - CAST({t}.amount AS DOUBLE) END",
        "CASE WHEN {t}.kind = 'a' THEN '' ELSE {t}.kind END",
        "{t}.other IS NULL",
        "CAST({t}.id + 19000 AS INT)",
        "nullif({t}.other, 2)",
    ])
    .prop_map(str::to_owned)
}

fn over(part: &str, table: &str) -> String {
    part.replace("{t}", table)
}

fn condition() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a.other = b.id",
        "a.id = b.other",
        "a.other = b.other",
        "a.kind = b.kind AND a.other = b.other",
        "a.amount = b.amount",
        "- CAST(a.amount AS DOUBLE) = CAST(b.amount AS DOUBLE)",
        "a.kind = b.kind AND a.amount > b.amount",
    ])
    .prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "WHERE a.amount >= 0",
        "WHERE a.kind <> 'c'",
        "WHERE a.kind IS NULL OR a.other > 1",
        "WHERE a.other IN (SELECT other FROM silver.b WHERE amount > 0)",
        "WHERE EXISTS (SELECT 1 FROM silver.b WHERE b.other = a.other AND b.kind = a.kind)",
        "WHERE NOT EXISTS (SELECT 1 FROM silver.b WHERE b.id = a.other)",
    ])
    .prop_map(str::to_owned)
}

fn asked() -> impl Strategy<Value = Asked> {
    let aggregates =
        "count(*) AS n, sum(a.amount) AS total, min(a.kind) AS least, count(DISTINCT a.other) AS others";
    let groups = || prop::collection::vec(part(), 1..3);
    let grouped = (groups(), filter())
        .prop_map(move |(parts, filter)| grouping(&parts, aggregates, "silver.a a", &filter));
    let joins = prop::sample::select(vec!["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let joined =
        (groups(), joins.clone(), condition(), filter()).prop_map(move |(parts, join, on, filter)| {
            grouping(&parts, aggregates, &format!("silver.a a {join} silver.b b ON {on}"), &filter)
        });
    let rows = (part(), filter()).prop_map(|(part, filter)| Asked {
        sql: format!("SELECT a.id, {} AS v, a.amount FROM silver.a a {filter}", over(&part, "a")),
        keys: vec!["id"],
    });
    let distinct = groups().prop_map(|parts| {
        let columns: Vec<String> =
            parts.iter().zip(KEYS).map(|(p, k)| format!("{} AS {k}", over(p, "a"))).collect();
        Asked {
            sql: format!("SELECT DISTINCT {} FROM silver.a a", columns.join(", ")),
            keys: KEYS[..parts.len()].to_vec(),
        }
    });
    let windowed = part().prop_map(|part| Asked {
        sql: format!(
            "SELECT a.id, rank() OVER (PARTITION BY {0} ORDER BY a.amount, a.id) AS r, sum(a.amount) OVER (PARTITION BY {0}) AS s FROM silver.a a",
            over(&part, "a")
        ),
        keys: vec!["id"],
    });
    let both = (part(), joins, condition()).prop_map(|(part, join, on)| Asked {
        sql: format!(
            "SELECT k1, count(*) AS n, sum(v) AS total FROM (\
             SELECT {} AS k1, a.amount AS v FROM silver.a a UNION ALL \
             SELECT {} AS k1, b.amount AS v FROM silver.a a {join} silver.b b ON {on}) u GROUP BY k1",
            over(&part, "a"),
            over(&part, "b")
        ),
        keys: vec!["k1"],
    });
    prop_oneof![3 => grouped, 4 => joined, 1 => rows, 1 => distinct, 1 => windowed, 2 => both]
}

const KEYS: [&str; 2] = ["k1", "k2"];

fn grouping(parts: &[String], aggregates: &str, from: &str, filter: &str) -> Asked {
    let columns: Vec<String> =
        parts.iter().zip(KEYS).map(|(p, k)| format!("{} AS {k}", over(p, "a"))).collect();
    let by: Vec<String> = (1..=parts.len()).map(|n| n.to_string()).collect();
    let sql = format!(
        "SELECT {}, {aggregates} FROM {from} {filter} GROUP BY {}",
        columns.join(", "),
        by.join(", ")
    );
    Asked { sql, keys: KEYS[..parts.len()].to_vec() }
}

/// One step of a test.
#[derive(Debug, Clone)]
enum Event {
    Edits(Vec<Edit>),
    Refresh,
    /// The refresh is dropped after this many polls, with everything it has open.
    Killed(u8),
    Follow,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop::collection::vec(edit(), 1..4).prop_map(Event::Edits),
        3 => Just(Event::Refresh),
        2 => (0..30u8).prop_map(Event::Killed),
        1 => Just(Event::Follow),
    ]
}

/// A future that is dropped after this many polls.
struct Mortal<F>(F, u8);
impl<F: Future + Unpin> Future for Mortal<F> {
    type Output = Option<F::Output>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        Pin::new(&mut self.0).poll(cx).map(Some)
    }
}

/// Rows of a table as bytes, by their keys as bytes.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys and rows of a batch.
fn bytes(batch: &RecordBatch, keys: &[String]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys: Vec<usize> = keys.iter().map(|k| batch.schema().index_of(k).expect("a column")).collect();
    let rows = [&batch.project(&keys).expect("columns"), batch].map(|batch| {
        let converter = converter(batch.schema_ref()).expect("columns that have a row format");
        let rows = converter.convert_columns(batch.columns()).expect("converted");
        rows.iter().map(|row| row.data().to_vec()).collect::<Vec<_>>()
    });
    let [keys, rows] = rows;
    keys.into_iter().zip(rows).collect()
}

/// A follower of the table's log, version by version.
#[derive(Default)]
struct Follower {
    seen: Option<Version>,
    rows: State,
}
impl Follower {
    async fn step(&mut self, table: &Table, keys: &[String]) {
        for changed in table.changes(self.seen, table.version()).await.expect("readable") {
            let change = table.read_change(&changed).await.expect("readable");
            for (key, row) in change.removed.iter().flat_map(|batch| bytes(batch, keys)) {
                assert_eq!(self.rows.remove(&key), Some(row), "what went was there");
            }
            for (key, row) in change.added.iter().flat_map(|batch| bytes(batch, keys)) {
                assert_eq!(self.rows.insert(key, row), None, "a key has one row");
            }
        }
        self.seen = Some(table.version());
    }
}

async fn lives(asked: Asked, events: Vec<Event>) {
    let Asked { sql, keys } = &asked;
    let world = World::new(project(&[(ModelKind::Table, "gold.t", keys, sql, 7)])).await;
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    let mut keeper: Option<Keeper> = None;
    let mut follower = Follower::default();
    let events = events.into_iter().chain([Event::Refresh, Event::Follow]);
    for event in events {
        match event {
            Event::Edits(edits) => {
                for edit in &edits {
                    world.edit(edit).await;
                }
            }
            Event::Refresh => {
                let keeper = keeper.get_or_insert_with(|| world.keeper("gold.t"));
                settle(keeper).await.unwrap_or_else(|e| panic!("{sql}: {}", stage::halts::chain(&e)));
                world.assert_kept("gold.t").await;
            }
            Event::Killed(polls) => {
                let mut dying = keeper.take().unwrap_or_else(|| world.keeper("gold.t"));
                drop(Mortal(dying.step(), polls).await);
            }
            Event::Follow => {
                let Some(table) = world.lake.table(&name("gold.t")).await.expect("looked") else { continue };
                follower.step(&table, &keys).await;
                let mut wanted = State::new();
                for batch in table.scan(None).await.expect("scanned") {
                    wanted.extend(bytes(&batch, &keys));
                }
                assert_eq!(follower.rows, wanted, "{sql}");
                assert_eq!(wanted.len() as u64, table.rows().unwrap_or_default(), "a key a row: {sql}");
            }
        }
    }
    let newest = world.table("gold.t").await;
    for version in 1..=newest.version().0 {
        let at = newest.at(Version(version)).await.expect("readable");
        let model = &world.project.catalog.models[&name("gold.t")];
        let wanted =
            crate::recompute(&world.project, model, &world.lake, at.positions()).await.expect("recomputed");
        assert_eq!(
            shown(&at.scan(None).await.expect("scanned")),
            shown(&wanted),
            "version {version} of {sql}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..cases::few(32) })]
    // Holds P3 (docs/invariants.md).
    // Holds P7 (docs/invariants.md).
    #[test]
    fn a_table_and_what_its_log_folds_to_are_its_sql_whatever_is_asked_and_killed(
        asked in asked(),
        events in prop::collection::vec(event(), 4..14),
    ) {
        RUNTIME.block_on(lives(asked, events));
    }
}
