//! A foreign Debezium that reads a PostgreSQL: concurrent transactions are sent as they commit, rows have
//! their LSNs in the log, snapshots (some whole, some not) are taken while transactions are open, and a
//! connector restarts and repeats itself. In any batches, the table must end as PostgreSQL's own.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Kind, Snapshots, Topic};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::shelf::Shelf;
use super::support::{Modelling, bronze, bronze_schema, header, long, text, topic};
use crate::changes::UNCHANGED;
use crate::judge::Rules;

const KEYS: i64 = 5;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const NOTES: [Option<&str>; 3] = [None, Some("x"), Some("y")];

/// A row of the table, and the columns that an update left unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: &'static str,
    notes: Option<&'static str>,
}

/// The changes of a transaction, each with its LSN.
#[derive(Debug, Clone)]
enum Change {
    Put { key: i64, row: Row, update: bool, unchanged: bool },
    Delete { key: i64 },
    Move { old: i64, new: i64, row: Row },
    Truncate,
}

#[derive(Debug, Clone, Default)]
struct Transaction {
    id: i64,
    changes: Vec<(i64, Change)>,
    /// The table as this transaction sees its own keys: `None` is deleted.
    own: BTreeMap<i64, Option<Row>>,
    truncated: bool,
}

/// The kind of feed that is written.
#[derive(Debug, Clone, Copy)]
struct Feed {
    partitions: i64,
    metadata: bool,
    epoch: bool,
    whole: bool,
}

/// A database with the connector that reads it.
struct Database {
    feed: Feed,
    lsn: i64,
    next_id: i64,
    committed: BTreeMap<i64, Row>,
    open: Vec<Transaction>,
    /// Committed but not sent yet.
    queue: Vec<Transaction>,
    offsets: Vec<i64>,
    records: Vec<Value>,
    /// Indexes of records that repeat others.
    repeats: BTreeSet<usize>,
    /// Streamed since the last snapshot, so a restart may send them again.
    streamed: Vec<Value>,
}

impl Database {
    fn new(feed: Feed) -> Self {
        let offsets = vec![0; usize::try_from(feed.partitions).expect("small")];
        let (committed, open, queue, records, repeats, streamed) = Default::default();
        Self { feed, lsn: 100, next_id: 1, committed, open, queue, offsets, records, repeats, streamed }
    }

    /// Appends a record to the partition of its key, or to any if it has none.
    fn send(&mut self, mut record: Value, key: Option<i64>) {
        let any = i64::try_from(self.records.len()).expect("small");
        let partition = key.unwrap_or(any) % self.feed.partitions;
        let offset = &mut self.offsets[usize::try_from(partition).expect("small")];
        let into = record.as_object_mut().expect("an object");
        into.insert("_topic_id".into(), "t".into());
        into.insert("_partition".into(), partition.into());
        into.insert("_offset".into(), (*offset).into());
        *offset += 1;
        if self.feed.epoch {
            into.insert("_epoch".into(), 1.into());
        }
        self.records.push(record);
    }

    fn locked(&self, key: i64, by: usize) -> bool {
        let holds = |t: &Transaction| t.truncated || t.own.contains_key(&key);
        self.open.iter().enumerate().any(|(at, t)| at != by && holds(t))
    }

    fn sees(&self, by: usize, key: i64) -> Option<Row> {
        let own = &self.open[by];
        match own.own.get(&key) {
            Some(row) => row.clone(),
            None if own.truncated => None,
            None => self.committed.get(&key).cloned(),
        }
    }

    /// One change in a transaction, if no other transaction holds a conflicting lock.
    fn change(
        &mut self,
        by: usize,
        what: u8,
        key: i64,
        name: &'static str,
        notes: Option<Option<&'static str>>,
    ) {
        let new = (key + 1) % KEYS;
        let before = self.sees(by, key);
        if self.locked(key, by) {
            return;
        }
        let change = match (what, before) {
            (0, _) if self.open.len() == 1 && self.feed_truncates() => Change::Truncate,
            (1 | 2, Some(_)) => Change::Delete { key },
            (3 | 4, Some(row)) if !self.locked(new, by) && self.sees(by, new).is_none() => {
                Change::Move { old: key, new, row }
            }
            (_, Some(old)) => {
                let unchanged = notes.is_none();
                let notes = notes.unwrap_or(old.notes);
                Change::Put { key, row: Row { name, notes }, update: true, unchanged }
            }
            (_, None) => {
                let row = Row { name, notes: notes.flatten() };
                Change::Put { key, row, update: false, unchanged: false }
            }
        };
        self.lsn += 10;
        let own = &mut self.open[by];
        match &change {
            Change::Put { key, row, .. } => drop(own.own.insert(*key, Some(row.clone()))),
            Change::Delete { key } => drop(own.own.insert(*key, None)),
            Change::Move { old, new, row } => {
                own.own.insert(*old, None);
                own.own.insert(*new, Some(row.clone()));
            }
            Change::Truncate => {
                own.own.clear();
                own.truncated = true;
            }
        }
        own.changes.push((self.lsn, change));
    }

    fn feed_truncates(&self) -> bool {
        true
    }

    fn commit(&mut self, at: usize) {
        let done = self.open.remove(at);
        self.lsn += 10;
        if done.truncated {
            self.committed.clear();
        }
        for (key, row) in &done.own {
            match row {
                Some(row) => drop(self.committed.insert(*key, row.clone())),
                None => drop(self.committed.remove(key)),
            }
        }
        self.queue.push(done);
    }

    /// The connector sends the oldest unsent commit.
    fn stream(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let done = self.queue.remove(0);
        let mut order = 0;
        for (lsn, change) in &done.changes {
            let mut event = |op: &str, key: Option<i64>, after: Option<(&Row, bool)>, headers: Vec<Value>| {
                order += 1;
                let transaction = self
                    .feed
                    .metadata
                    .then(|| json!({ "id": format!("{}:{lsn}", done.id), "total_order": order }));
                let after = after.map(|(row, unchanged)| {
                    let notes = if unchanged { Some(UNCHANGED) } else { row.notes };
                    json!({ "id": key, "name": row.name, "notes": notes })
                });
                json!({ "op": op, "after": after, "_schema_id": 1, "_headers": headers, "transaction": transaction,
                        "before": (op == "d").then(|| json!({ "id": key, "name": "" })),
                        "_keys": key.map(|key| json!({ "id": key })),
                        "source": { "ts_ms": done.id, "snapshot": "false", "lsn": lsn } })
            };
            let key_of = |key: i64| json!({ "id": key }).to_string();
            let tombstone = |key: i64| (json!({ "_keys": { "id": key } }), Some(key));
            let records = match change {
                Change::Put { key, row, update, unchanged } => {
                    let op = if *update { "u" } else { "c" };
                    vec![(event(op, Some(*key), Some((row, *unchanged)), vec![]), Some(*key))]
                }
                Change::Delete { key } => {
                    vec![(event("d", Some(*key), None, vec![]), Some(*key)), tombstone(*key)]
                }
                Change::Move { old, new, row } => {
                    let to = vec![header("__debezium.newkey", &key_of(*new))];
                    let from = vec![header("__debezium.oldkey", &key_of(*old))];
                    // A snapshot before a key change that it already shows has removed or replaced the old
                    // row, whose values the new row takes: docs/known-issues.md.
                    let unchanged = !self.records.iter().any(|record| record["op"] == "r");
                    vec![
                        (event("d", Some(*old), None, to), Some(*old)),
                        tombstone(*old),
                        (event("c", Some(*new), Some((row, unchanged)), from), Some(*new)),
                    ]
                }
                Change::Truncate => vec![(event("t", None, None, vec![]), None)],
            };
            for (record, key) in records {
                self.streamed.push(json!([record, key]));
                self.send(record, key);
            }
        }
    }

    /// Writes the committed rows of this moment.
    fn snapshot(&mut self, from: i64, marker: &str) {
        self.lsn += 10;
        let rows: Vec<(i64, Row)> = self.committed.range(from..).map(|(k, r)| (*k, r.clone())).collect();
        let lsn = (marker != "incremental").then_some(self.lsn);
        for (at, (key, row)) in rows.iter().enumerate() {
            let says = match (marker, at) {
                ("incremental", _) => "incremental",
                (_, at) if at + 1 == rows.len() => marker,
                (_, 0) => "first_in_data_collection",
                _ => "true",
            };
            let record = json!({ "op": "r", "after": { "id": key, "name": row.name, "notes": row.notes },
                "_keys": { "id": key }, "_schema_id": 1, "_headers": [],
                "source": { "ts_ms": self.lsn, "snapshot": says, "lsn": lsn } });
            self.send(record, Some(*key));
        }
        if lsn.is_some() {
            self.streamed.clear();
        }
    }

    /// The connector crashes and restarts a little before its last note, possibly in the middle of a
    /// transaction, whose remaining records it then counts from one.
    fn restart(&mut self, back: usize) {
        let from = self.streamed.len().saturating_sub(back);
        let mut again: Vec<Value> = self.streamed[from..].into();
        let of = |pair: &Value| {
            let id = pair[0]["transaction"]["id"].as_str()?;
            id.split_once(':').map(|(transaction, _)| transaction.to_owned())
        };
        let first = again.iter().find_map(of);
        let rest = again.iter_mut().filter(|pair| of(pair).is_some() && of(pair) == first);
        for (at, pair) in rest.enumerate() {
            pair[0]["transaction"]["total_order"] = json!(at + 1);
        }
        for pair in again {
            self.repeats.insert(self.records.len());
            self.send(pair[0].clone(), pair[1].as_i64());
        }
    }
}

type Choice = (u8, u8, u8, u8, bool);

fn choice() -> impl Strategy<Value = Choice> {
    (0..24_u8, 0..5_u8, 0..4_u8, 0..6_u8, any::<bool>())
}

/// Plays choices until everything is committed and sent.
fn play(feed: Feed, choices: &[Choice]) -> Database {
    let mut db = Database::new(feed);
    for &(what, key, name, notes, flag) in choices {
        let (key, name) = (i64::from(key), NAMES[usize::from(name)]);
        // Half of the updates leave the notes unchanged.
        let put = NOTES.get(usize::from(notes)).copied();
        match what {
            0..=11 => {
                if db.open.is_empty() || (flag && db.open.len() < 3) {
                    let id = db.next_id;
                    db.next_id += 1;
                    db.open.push(Transaction { id, ..Transaction::default() });
                }
                let by = usize::from(notes) % db.open.len();
                db.change(by, what, key, name, put);
            }
            12..=14 if !db.open.is_empty() => db.commit(usize::from(notes) % db.open.len()),
            15 if !db.open.is_empty() => drop(db.open.remove(0)),
            16 | 17 => db.stream(),
            // A blocking or initial snapshot; unsent commits come after it. A snapshot that is not whole has
            // a condition, except on a topic of a table without whole snapshots.
            18 | 19 => {
                let locked = db.open.iter().any(|t| t.truncated);
                if !locked {
                    let from = if db.feed.whole { 0 } else { key };
                    db.snapshot(from, if flag { "last" } else { "last_in_data_collection" });
                }
            }
            20 if db.queue.is_empty() && (db.feed.partitions == 1) => db.snapshot(key, "incremental"),
            21 => db.restart(usize::from(notes) + 1),
            // The slot was dropped: unsent commits never come, so everything is read again. Open transactions
            // are sent once they commit.
            22 if db.feed.whole && db.feed.partitions == 1 && !db.committed.is_empty() => {
                if !db.open.iter().any(|t| t.truncated) {
                    db.queue.clear();
                    db.snapshot(0, "last");
                }
            }
            _ => db.stream(),
        }
    }
    while !db.open.is_empty() {
        db.commit(0);
    }
    while !db.queue.is_empty() {
        db.stream();
    }
    db
}

fn feed() -> impl Strategy<Value = Feed> {
    (prop_oneof![2 => Just(1_i64), 1 => Just(3)], any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(partitions, metadata, epoch, whole)| Feed { partitions, metadata, epoch, whole })
}

fn contract(whole: bool) -> Topic {
    let snapshots = if whole { Snapshots::Whole } else { Snapshots::Partial };
    Topic { snapshots, ..topic(&["id"]) }
}

fn rules(kind: Kind, whole: bool) -> Rules {
    let schema = bronze_schema(&[long("id"), text("name"), text("notes")], &[long("id")]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sql = "SELECT id, name, notes FROM changes(bronze.things)";
    runtime.block_on(Modelling::new(kind, &["id"], sql).rules(&contract(whole), &schema))
}

/// Delivers each partition in its order, and the partitions in any order.
fn interleave(records: &[Value], seed: &[u8]) -> Vec<Value> {
    let mut lanes: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for record in records {
        lanes.entry(record["_partition"].as_i64().unwrap_or(0)).or_default().push(record.clone());
    }
    let mut lanes: Vec<_> = lanes.into_values().map(|lane| lane.into_iter().peekable()).collect();
    let mut all = Vec::new();
    for turn in seed.iter().cycle().take(if seed.is_empty() { 0 } else { records.len() * 8 }) {
        let count = lanes.len().max(1);
        if let Some(lane) = lanes.get_mut(usize::from(*turn) % count) {
            all.extend(lane.next());
        }
    }
    lanes.into_iter().for_each(|lane| all.extend(lane));
    all
}

fn folded(rules: &Rules, records: &[Value], size: usize) -> Shelf {
    let schema = bronze_schema(&[long("id"), text("name"), text("notes")], &[long("id")]);
    let mut shelf = Shelf::new(rules.clone());
    for rows in records.chunks(size) {
        shelf.step(&bronze(&schema, rows));
    }
    shelf
}

fn wanted(db: &Database) -> Vec<String> {
    let show = |(key, row): (&i64, &Row)| format!("{key}|{}|{}", row.name, row.notes.unwrap_or("·"));
    db.committed.iter().map(show).collect()
}

// Holds P6 (docs/invariants.md).
#[test]
fn a_foreign_debezium_ends_as_its_postgresql() {
    let all = [(Kind::Scd1, false), (Kind::Scd1, true), (Kind::Scd2, false), (Kind::Scd2, true)];
    let rules: Vec<Rules> = all.iter().map(|(kind, whole)| rules(*kind, *whole)).collect();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { max_shrink_iters: 4_000, ..cases::few(300) });
    let deliveries = (
        feed(),
        proptest::collection::vec(choice(), 1..60),
        proptest::collection::vec(0..3_u8, 1..20),
        1..9_usize,
    );
    let check = |(feed, choices, seed, size): (Feed, Vec<Choice>, Vec<u8>, usize)| {
        let db = play(feed, &choices);
        let records = interleave(&db.records, &seed);
        let kind = |kind| &rules[usize::from(feed.whole) + 2 * usize::from(kind == Kind::Scd2)];
        let shelf = folded(kind(Kind::Scd1), &records, size);
        let told = || format!("{:#?}", records.iter().map(ToString::to_string).collect::<Vec<_>>());
        prop_assert_eq!(shelf.rows(&["id", "name", "notes"]), wanted(&db), "newest rows of {}", told());
        prop_assert_eq!(shelf.outcomes.total(), records.len() as u64, "every record has one outcome");

        let mut columns = vec!["id", "name", "notes", "__START_AT", "_offset", "_partition", "_lsn"];
        // If a truncate of another partition ends a version, the text of its end depends on what was known of
        // that partition: docs/known-issues.md.
        let truncates = db.records.iter().any(|record| record["op"] == "t");
        if feed.partitions == 1 || !(truncates || feed.whole) {
            columns.push("__END_AT");
        }
        let history = folded(kind(Kind::Scd2), &records, size);
        let open: Vec<String> = history
            .rows(&["__END_AT", "id", "name", "notes"])
            .iter()
            .filter_map(|row| row.strip_prefix("·|").map(str::to_owned))
            .collect();
        prop_assert_eq!(open, wanted(&db), "open versions of {}", told());
        let whole = folded(kind(Kind::Scd2), &records, records.len().max(1));
        prop_assert_eq!(history.rows(&columns), whole.rows(&columns), "batches of {}", told());
        // Records that a restarted connector repeats leave no trace in the history.
        let once: Vec<Value> = db
            .records
            .iter()
            .enumerate()
            .filter(|(at, _)| !db.repeats.contains(at))
            .map(|(_, record)| record.clone())
            .collect();
        let once = folded(kind(Kind::Scd2), &once, size);
        prop_assert_eq!(history.rows(&columns), once.rows(&columns), "repeats in {}", told());
        Ok(())
    };
    runner.run(&deliveries, check).unwrap_or_else(|failed| panic!("{failed}"));
}

/// A change as it is on the topic.
fn record(offset: i64, op: &str, key: i64, name: &str, lsn: Option<i64>, snapshot: &str) -> Value {
    json!({ "op": op, "after": { "id": key, "name": name }, "_keys": { "id": key }, "_schema_id": 1, "_headers": [],
            "_topic_id": "t", "_partition": 0, "_offset": offset, "_epoch": 1,
            "source": { "ts_ms": 1, "snapshot": snapshot, "lsn": lsn } })
}

#[test]
fn what_was_open_at_a_snapshot_stays_and_only_a_whole_one_removes() {
    let records = [
        record(0, "c", 1, "gone while nobody listened", Some(50), "false"),
        record(1, "r", 2, "old", Some(300), "first_in_data_collection"),
        record(2, "r", 3, "old", Some(300), "last"),
        record(3, "c", 4, "open", Some(100), "false"),
        record(4, "u", 2, "open", Some(110), "false"),
    ];
    for size in 1..6 {
        let partial = folded(&rules(Kind::Scd1, false), &records, size);
        let all = ["1|gone while nobody listened", "2|open", "3|old", "4|open"];
        assert_eq!(partial.rows(&["id", "name"]), all);
        let whole = folded(&rules(Kind::Scd1, true), &records, size);
        assert_eq!(whole.rows(&["id", "name"]), all[1..]);
    }
}

#[test]
fn a_row_of_an_incremental_snapshot_is_newer_than_what_came_before_it() {
    let records =
        [record(0, "c", 1, "stale", Some(400), "false"), record(1, "r", 1, "repaired", None, "incremental")];
    let behind =
        [record(2, "u", 1, "newer", Some(390), "false"), record(3, "c", 1, "stale", Some(400), "false")];
    let shelf = folded(&rules(Kind::Scd1, false), &records, 1);
    assert_eq!(shelf.rows(&["id", "name"]), ["1|repaired"]);
    let all: Vec<Value> = records.into_iter().chain(behind).collect();
    for size in 1..5 {
        let shelf = folded(&rules(Kind::Scd1, false), &all, size);
        assert_eq!(shelf.rows(&["id", "name"]), ["1|newer"], "the last record repeats the first");
    }
}
