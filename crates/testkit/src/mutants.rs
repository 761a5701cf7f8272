//! Tables and topics as a faulty stage would have left them. Every commit looks like the stage's own, counts
//! and digests match, and one thing is wrong. `verify` must find each of them.
//!
//! They are made from the project that `e2e` calls `proof`: bronze `items`, silver `items` (current), `history`
//! (versions) and `log` (every event), gold `totals`, published on `p.totals`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use embedded::Host;
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, Table};
use model::{Offset, Positions, TopicName, header};
use runtime::RandomIds;
use serde_json::{Map, Value, json};
use stream::{Admin, Kafka, KafkaSettings, Outgoing, Producer};

use crate::sabotage::{self, ulid};

/// One defect.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// Its name: the stage, then the defect.
    pub name: &'static str,
    /// The table or topic that has it.
    pub of: &'static str,
    /// A text in the fault that `verify` must report about it.
    pub fault: &'static str,
}

const fn mutant(name: &'static str, of: &'static str, fault: &'static str) -> Mutant {
    Mutant { name, of, fault }
}

/// All mutants.
pub const ALL: &[Mutant] = &[
    mutant("bronze loses a record", "bronze.items", "1 records of topic `p.items` have no row"),
    mutant("bronze keeps a record twice", "bronze.items", "1 records have a second row"),
    mutant("bronze decodes a text wrongly", "bronze.items", "`name` is another where"),
    mutant("bronze takes an empty text for null", "bronze.items", "`note` is NULL where"),
    mutant("bronze rounds a double by a bit", "bronze.items", "where 0.1 is right"),
    mutant("bronze cuts a decimal", "bronze.items", "where 1025e-2 is right"),
    mutant("bronze puts a record at another offset", "bronze.items", "is in no commit's range"),
    mutant("bronze refuses a good record", "bronze.items", "it was refused as `truncated`, and it is not"),
    mutant(
        "bronze loses the bytes of a bad record",
        "bronze.items",
        "it is an error row, and `_raw` is not the record's value",
    ),
    mutant("bronze has no table", "bronze.items", "the table is missing, and topic `p.items` holds records"),
    mutant("silver loses a row", "silver.items", "id=1 is missing"),
    mutant("silver keeps a row twice", "silver.items", "id=1 is there and must not be (or is there twice)"),
    mutant("silver changes a text", "silver.items", "id=1 has `name` = another where b is right"),
    mutant("silver takes an empty text for null", "silver.items", "id=1 has `note` = NULL where"),
    mutant("silver rounds a double by a bit", "silver.items", "id=1 has `rate` ="),
    mutant("silver cuts a decimal", "silver.items", "id=1 has `price` = 12.30 where 12.34 is right"),
    mutant("silver keeps the older of two rows", "silver.items", "id=1 has `name` = a2 where b is right"),
    mutant("silver names another event", "silver.items", "id=1 has `_offset` ="),
    mutant("silver keeps a deleted row", "silver.items", "id=3 is there and must not be (or is there twice)"),
    mutant("silver swaps two versions", "silver.history", "has `name` ="),
    mutant("silver leaves the wrong version open", "silver.history", "has `__END_AT` ="),
    mutant("silver loses an event", "silver.log", "1 rows missing, 0 too many, 0 with another value"),
    mutant("silver forgets a delete", "silver.items", "is not remembered as deleted at"),
    mutant("silver remembers a delete that was none", "silver.items", "no change deletes the key (id=2) at"),
    mutant(
        "silver loses a row put aside",
        "silver.items",
        "`silver.items__quarantine` lacks the row of partition",
    ),
    mutant(
        "silver gives a wrong reason",
        "silver.items",
        "`silver.items__quarantine` holds the row of partition",
    ),
    mutant("silver has no quarantine", "silver.items", "`silver.items__quarantine` is missing, and"),
    mutant("silver has no notes", "silver.items", "`silver.items__deleted` is missing, and"),
    mutant("silver has no table", "silver.items", "the table is missing, and `bronze.items` holds"),
    mutant("gold loses a row", "gold.totals", "name=b is missing"),
    mutant("gold keeps a row twice", "gold.totals", "name=b is there and must not be (or is there twice)"),
    mutant("gold cuts a decimal", "gold.totals", "name=b has `price` ="),
    mutant("gold keeps an old row and raises its pins", "gold.totals", "name=b has `n` = 2 where 3 is right"),
    mutant("gold does not refresh", "gold.totals", "the stage has halted or does not run"),
    mutant("gold has no table", "gold.totals", "the table is missing, and `silver.items` holds"),
    mutant(
        "the publisher gives a record another key",
        "p.totals",
        "1 records have another key than their value says",
    ),
    mutant("the publisher forgets a tombstone", "p.totals", "is there and must not be (or is there twice)"),
    mutant("the publisher deletes a row that is there", "p.totals", "name=b is missing"),
    mutant(
        "the publisher sends an old value again",
        "p.totals",
        "1 records are of a version below that of a record before them",
    ),
    mutant("the publisher sends a record without a key", "p.totals", "1 records have no key"),
];

/// The folder with the state of a project's embedded services and its lake.
const STATE: &str = ".lakepulse";

/// Applies the mutant `name` to the finished project in `project`.
pub fn make(project: &Path, name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let state = project.join(STATE);
        if name.starts_with("the publisher") {
            return topic(&state, name).await;
        }
        let root = state.join("lake");
        if let Some(gone) = missing(name) {
            return Ok(std::fs::remove_dir_all(root.join(gone))?);
        }
        match name.split(' ').next() {
            Some("bronze") => bronze(&state, &root, name).await,
            Some("silver") => silver(&root, name).await,
            _ => gold(&root, name).await,
        }
    })
}

fn missing(name: &str) -> Option<&'static str> {
    Some(match name {
        "bronze has no table" => "bronze/items",
        "silver has no quarantine" => "silver/items__quarantine",
        "silver has no notes" => "silver/items__deleted",
        "silver has no table" => "silver/items",
        "gold has no table" => "gold/totals",
        _ => return None,
    })
}

async fn open(root: &Path, name: &str) -> Result<Table> {
    let lake = Lake::connect(LakeSettings::local(root)?, Arc::new(RandomIds)).await?;
    lake.table(&name.parse()?).await?.with_context(|| format!("no table `{name}`"))
}

/// The columns that identify a table's rows.
fn keys(table: &str) -> &'static [&'static str] {
    match table {
        "silver.items" => &["id"],
        "silver.history" => &["id", "__START_AT"],
        "silver.items__deleted" => &["id", "_kind"],
        "gold.totals" => &["name"],
        _ => &["_topic_id", "_partition", "_offset"],
    }
}

/// Replaces the selected rows of a table of the lake in `root`, by a commit that looks like the stage's.
pub async fn edit(
    root: &Path,
    name: &str,
    pick: impl Fn(&RecordBatch, usize) -> bool,
    other: impl FnOnce(RecordBatch) -> Result<Vec<RecordBatch>>,
) -> Result<()> {
    let mut table = open(root, name).await?;
    let all = table.scan(None).await?;
    let picked = all.iter().map(|batch| {
        let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(pick(batch, row))).collect();
        filter_record_batch(batch, &mask)
    });
    let picked = picked.collect::<Result<Vec<_>, _>>()?;
    let picked = concat_batches(table.schema(), &picked)?;
    ensure!(picked.num_rows() > 0, "no row of `{name}` is picked");
    let columns = keys(name);
    let at = columns.iter().map(|column| picked.schema().index_of(column)).collect::<Result<Vec<_>, _>>()?;
    let rows = picked.project(&at)?;
    let append = table.stage(other(picked)?).await?;
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    let commit = Commit {
        operation: "MERGE",
        op: ulid(),
        expect: Expect::These(BTreeMap::new()),
        set: Positions::default(),
        append,
        remove: Remove::Keys(Keys { columns, rows }),
        schema: None,
        properties: BTreeMap::new(),
        info: said(table.name().schema()),
    };
    match table.commit(&commit).await? {
        Landing::Landed(_) => Ok(()),
        Landing::Moved => bail!("another writer moved the table"),
    }
}

/// What a stage says in a commit that moves no position.
fn said(stage: &str) -> Map<String, Value> {
    let said = match stage {
        "silver" => json!({ "input": { "table": "bronze.items", "from": null, "to": 0 } }),
        _ => json!({ "pins": {}, "as_of": 0, "method": "all" }),
    };
    let said = said.as_object().cloned().unwrap_or_default();
    said.into_iter().chain([("stage".to_owned(), stage.into())]).collect()
}

fn text(batch: &RecordBatch, row: usize, name: &str) -> Option<String> {
    let column = batch.column_by_name(name)?;
    column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
}

fn number(batch: &RecordBatch, row: usize, name: &str) -> Option<i64> {
    let column = batch.column_by_name(name)?;
    column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
}

/// The rows with one column replaced.
pub fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(name)?] = column;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn null(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let kind = rows.schema().field_with_name(name)?.data_type().clone();
    with(rows, name, new_null_array(&kind, rows.num_rows()))
}

/// The rows with one text in this column.
pub fn say(rows: &RecordBatch, name: &str, text: &str) -> Result<RecordBatch> {
    with(rows, name, Arc::new(StringArray::from(vec![text; rows.num_rows()])))
}

fn add(rows: &RecordBatch, name: &str, by: i64) -> Result<RecordBatch> {
    let column = rows.column(rows.schema().index_of(name)?).as_primitive::<Int64Type>();
    with(rows, name, Arc::new(column.iter().map(|n| n.map(|n| n + by)).collect::<Int64Array>()))
}

/// Replaces doubles by their next neighbours.
fn nudge(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let column = rows.column(rows.schema().index_of(name)?).as_primitive::<Float64Type>();
    with(rows, name, Arc::new(column.iter().map(|d| d.map(f64::next_up)).collect::<Float64Array>()))
}

/// Removes the last decimal digit.
fn cut(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let column = rows.column(rows.schema().index_of(name)?);
    let digits = column.as_primitive::<Decimal128Type>();
    let cut: Decimal128Array = digits.iter().map(|d| d.map(|d| d - d % 10)).collect();
    with(rows, name, Arc::new(cut.with_data_type(column.data_type().clone())))
}

async fn bronze(state: &Path, root: &Path, name: &str) -> Result<()> {
    let table = open(root, "bronze.items").await?;
    let is_first = |row: &RecordBatch| number(row, 0, "id") == Some(1) && number(row, 0, "seq") == Some(1);
    let is_bad = |row: &RecordBatch| text(row, 0, "_error").is_some();
    let pick: &dyn Fn(&RecordBatch) -> bool = if name.contains("a bad record") { &is_bad } else { &is_first };
    // What a stage keeps of a record that it refuses.
    let raw = match name {
        "bronze refuses a good record" => value(state, &table, &is_first).await?,
        _ => Vec::new(),
    };
    sabotage::restate(root, &table, pick, |row| {
        Ok(match name {
            "bronze loses a record" => vec![],
            "bronze keeps a record twice" => vec![row.clone(), row.clone()],
            "bronze decodes a text wrongly" => vec![say(row, "name", "another")?],
            "bronze takes an empty text for null" => vec![null(row, "note")?],
            "bronze rounds a double by a bit" => vec![nudge(row, "rate")?],
            "bronze cuts a decimal" => vec![cut(row, "price")?],
            "bronze puts a record at another offset" => vec![add(row, "_offset", 100_000)?],
            "bronze refuses a good record" => {
                let mut row = say(row, "_error", "truncated: the record ends inside a value")?;
                row = with(&row, "_raw", Arc::new(BinaryArray::from(vec![raw.as_slice()])))?;
                for column in ["id", "op", "seq", "name", "note", "price", "rate"] {
                    row = null(&row, column)?;
                }
                vec![row]
            }
            "bronze loses the bytes of a bad record" => {
                vec![with(row, "_raw", Arc::new(BinaryArray::from(vec![b"other".as_slice()])))?]
            }
            other => bail!("no mutant `{other}`"),
        })
    })
    .await
}

/// The value of the record behind the picked row.
async fn value(state: &Path, table: &Table, pick: impl Fn(&RecordBatch) -> bool) -> Result<Vec<u8>> {
    let all = table.scan(None).await?;
    let mut rows = all.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    let row = rows.find(|row| pick(row)).context("no row is picked")?;
    let at = |name: &str| number(&row, 0, name).with_context(|| format!("no `{name}`"));
    let (partition, offset) = (i32::try_from(at("_partition")?)?, at("_offset")?);
    let (host, kafka) = join(state).await?;
    let span = BTreeMap::from([(partition, (Offset(offset), Offset(offset + 1)))]);
    let mut found = None;
    stream::read(&kafka, &"p.items".parse()?, &span, |records| {
        for row in 0..records.len() {
            found = records.value(row).map(<[u8]>::to_vec);
        }
    })
    .await?;
    host.stop().await;
    found.context("the record is not on the topic")
}

async fn silver(root: &Path, name: &str) -> Result<()> {
    let of = |id: i64| move |batch: &RecordBatch, row: usize| number(batch, row, "id") == Some(id);
    let items = "silver.items";
    match name {
        "silver loses a row" => edit(root, items, of(1), |_| Ok(vec![])).await,
        "silver keeps a row twice" => edit(root, items, of(1), |row| Ok(vec![row.clone(), row])).await,
        "silver changes a text" => {
            edit(root, items, of(1), |row| Ok(vec![say(&row, "name", "another")?])).await
        }
        "silver takes an empty text for null" => {
            edit(root, items, of(1), |row| Ok(vec![null(&row, "note")?])).await
        }
        "silver rounds a double by a bit" => {
            edit(root, items, of(1), |row| Ok(vec![nudge(&row, "rate")?])).await
        }
        "silver cuts a decimal" => edit(root, items, of(1), |row| Ok(vec![cut(&row, "price")?])).await,
        "silver keeps the older of two rows" => {
            let history = open(root, "silver.history").await?.scan(None).await?;
            let older = history.iter().find_map(|batch| {
                (0..batch.num_rows())
                    .find(|row| number(batch, *row, "id") == Some(1) && number(batch, *row, "seq") == Some(2))
                    .map(|row| batch.slice(row, 1))
            });
            let older = older.context("the second version of item 1")?;
            edit(root, items, of(1), |row| {
                let mut row = row;
                for column in ["name", "price", "seq", "_lsn", "_partition", "_offset"] {
                    let at = older.schema().index_of(column)?;
                    row = with(&row, column, Arc::clone(older.column(at)))?;
                }
                Ok(vec![row])
            })
            .await
        }
        "silver names another event" => {
            edit(root, items, of(1), |row| Ok(vec![add(&row, "_offset", 1)?])).await
        }
        "silver keeps a deleted row" => {
            edit(root, items, of(2), |row| {
                let back = with(&row, "id", Arc::new(Int64Array::from(vec![3])))?;
                Ok(vec![row, back])
            })
            .await
        }
        "silver swaps two versions" => {
            edit(root, "silver.history", of(1), |rows| {
                let names = rows.column_by_name("name").context("names")?.as_string::<i32>();
                let swapped: StringArray = names.iter().rev().collect();
                Ok(vec![with(&rows, "name", Arc::new(swapped))?])
            })
            .await
        }
        "silver leaves the wrong version open" => {
            edit(root, "silver.history", of(1), |rows| {
                let ends = rows.column_by_name("__END_AT").context("ends")?.as_string::<i32>();
                let other: StringArray = ends.iter().rev().collect();
                Ok(vec![with(&rows, "__END_AT", Arc::new(other))?])
            })
            .await
        }
        "silver loses an event" => {
            edit(root, "silver.log", of(1), |rows| Ok(vec![rows.slice(1, rows.num_rows() - 1)])).await
        }
        "silver forgets a delete" => edit(root, "silver.items__deleted", of(3), |_| Ok(vec![])).await,
        "silver remembers a delete that was none" => {
            edit(root, "silver.items__deleted", of(3), |note| {
                let other = with(&note, "id", Arc::new(Int64Array::from(vec![2])))?;
                Ok(vec![note, other])
            })
            .await
        }
        "silver loses a row put aside" => edit(root, "silver.items__quarantine", of(4), |_| Ok(vec![])).await,
        "silver gives a wrong reason" => {
            edit(root, "silver.items__quarantine", of(4), |row| Ok(vec![say(&row, "_reason", "other")?]))
                .await
        }
        other => bail!("no mutant `{other}`"),
    }
}

async fn gold(root: &Path, name: &str) -> Result<()> {
    let totals = "gold.totals";
    let of = |group: &'static str| {
        move |b: &RecordBatch, row: usize| text(b, row, "name").as_deref() == Some(group)
    };
    match name {
        "gold loses a row" => edit(root, totals, of("b"), |_| Ok(vec![])).await,
        "gold keeps a row twice" => edit(root, totals, of("b"), |row| Ok(vec![row.clone(), row])).await,
        "gold cuts a decimal" => edit(root, totals, of("b"), |row| Ok(vec![cut(&row, "price")?])).await,
        "gold keeps an old row and raises its pins" => {
            edit(root, totals, of("b"), |row| Ok(vec![add(&row, "n", -1)?])).await
        }
        "gold does not refresh" => {
            // Silver committed an hour ago, and gold is at an older pin.
            let table = open(root, totals).await?;
            let newest = table.version();
            let before = table.changes(None, newest).await?;
            let last = before.last().context("a version with rows")?.version();
            for version in last.0..=newest.0 {
                std::fs::remove_file(sabotage::entry(root, &table, version))?;
            }
            let input = open(root, "silver.items").await?;
            for version in 0..=input.version().0 {
                let path = sabotage::entry(root, &input, version);
                let lines = std::fs::read_to_string(&path)?;
                let aged = lines.lines().map(|line| {
                    let mut line: Value = serde_json::from_str(line)?;
                    if let Some(at) = line.pointer_mut("/commitInfo/timestamp") {
                        *at = (at.as_i64().unwrap_or_default() - 3_600_000).into();
                    }
                    Ok(line.to_string())
                });
                std::fs::write(&path, aged.collect::<Result<Vec<_>>>()?.join("\n") + "\n")?;
            }
            Ok(())
        }
        other => bail!("no mutant `{other}`"),
    }
}

/// A record as sent to a topic.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value. `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}
impl Sent {
    /// The version of the table that it says it is of.
    pub fn version(&self) -> Option<u64> {
        let (_, text) = self.headers.iter().find(|(name, _)| name == header::VERSION)?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }
}

/// The records of a topic, those of a partition in order.
pub async fn sent(kafka: &Kafka, topic: &TopicName) -> Result<Vec<Sent>> {
    let mut all = Vec::new();
    let ends = Admin::try_new(kafka)?.watermarks(topic).await?;
    stream::read(kafka, topic, &ends, |records| {
        for row in 0..records.len() {
            let headers = records.headers(row);
            all.push(Sent {
                key: records.key(row).map(<[u8]>::to_vec),
                value: records.value(row).map(<[u8]>::to_vec),
                headers: headers.map(|(n, v)| (n.to_owned(), v.unwrap_or_default().to_vec())).collect(),
            });
        }
    })
    .await?;
    Ok(all)
}

/// The services of a project.
async fn join(state: &Path) -> Result<(Host, Kafka)> {
    let host = Host::join(state).await?;
    let bootstrap = host.bootstrap.clone();
    let kafka = Kafka::new(KafkaSettings { bootstrap, config: Default::default(), transactions: true });
    Ok((host, kafka))
}

async fn topic(state: &Path, name: &str) -> Result<()> {
    let (host, kafka) = join(state).await?;
    let topic: TopicName = "p.totals".parse()?;
    let all = sent(&kafka, &topic).await?;
    let newest = all.iter().max_by_key(|sent| sent.version()).context("a record")?.clone();
    // The records of a key are in one partition.
    let ends_with = |key: &Option<Vec<u8>>| all.iter().rfind(|sent| sent.key == *key);
    let is_there = |sent: &&Sent| ends_with(&sent.key).is_some_and(|last| last.value.is_some());
    let has_value = |sent: &&Sent| sent.value.is_some();
    let first = all.iter().filter(has_value).find(is_there).context("a row")?.clone();
    let last = ends_with(&first.key).context("a row")?.clone();
    let record = match name {
        "the publisher gives a record another key" => {
            let other = all.iter().filter(has_value).find(|sent| sent.key != last.key);
            Sent { value: other.context("another key")?.value.clone(), headers: newest.headers, ..last }
        }
        "the publisher forgets a tombstone" => {
            let old = all.iter().filter(has_value).find(|sent| !is_there(sent));
            Sent { headers: newest.headers, ..old.context("what was deleted")?.clone() }
        }
        "the publisher deletes a row that is there" => Sent { value: None, headers: newest.headers, ..last },
        "the publisher sends an old value again" => first,
        "the publisher sends a record without a key" => Sent { key: None, headers: newest.headers, ..last },
        other => bail!("no mutant `{other}`"),
    };
    send(&kafka, &topic, None, &record).await?;
    host.stop().await;
    Ok(())
}

/// Sends bytes that are not a record of ours to a topic of a project.
pub fn poison(project: &Path, topic: &str, value: &[u8]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (host, kafka) = join(&project.join(STATE)).await?;
        let record = Sent { key: None, value: Some(value.to_vec()), headers: Vec::new() };
        send(&kafka, &topic.parse()?, Some(0), &record).await?;
        host.stop().await;
        Ok(())
    })
}

/// Sends a record. `partition: None`: to that of its key, or to the first one.
pub async fn send(kafka: &Kafka, topic: &TopicName, partition: Option<i32>, record: &Sent) -> Result<()> {
    let producer = Producer::idempotent(kafka).await?;
    let headers: Vec<(&str, &[u8])> =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    producer.send(Outgoing {
        topic,
        partition: partition.or(record.key.is_none().then_some(0)),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        timestamp: None,
    })?;
    Ok(producer.flush().await?)
}
