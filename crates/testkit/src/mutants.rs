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
use model::{Positions, TopicName};
use runtime::RandomIds;
use stream::{Admin, Kafka, KafkaSettings, Outgoing, Producer};

use crate::sabotage::{self, ulid};

/// One defect.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// Its name: the stage, then the defect.
    pub name: &'static str,
    /// The text that `verify` must report.
    pub named: &'static str,
}

const fn mutant(name: &'static str, named: &'static str) -> Mutant {
    Mutant { name, named }
}

/// All mutants.
pub const ALL: &[Mutant] = &[
    mutant("bronze loses a record", "bronze.items"),
    mutant("bronze keeps a record twice", "bronze.items"),
    mutant("bronze decodes a text wrongly", "bronze.items"),
    mutant("bronze takes an empty text for null", "bronze.items"),
    mutant("bronze rounds a double by a bit", "bronze.items"),
    mutant("bronze cuts a decimal", "bronze.items"),
    mutant("bronze puts a record at another offset", "bronze.items"),
    mutant("bronze refuses a good record", "bronze.items"),
    mutant("bronze loses the bytes of a bad record", "bronze.items"),
    mutant("bronze has no table", "bronze.items"),
    mutant("silver loses a row", "silver.items"),
    mutant("silver keeps a row twice", "silver.items"),
    mutant("silver changes a text", "silver.items"),
    mutant("silver takes an empty text for null", "silver.items"),
    mutant("silver rounds a double by a bit", "silver.items"),
    mutant("silver cuts a decimal", "silver.items"),
    mutant("silver keeps the older of two rows", "silver.items"),
    mutant("silver names another event", "silver.items"),
    mutant("silver keeps a deleted row", "silver.items"),
    mutant("silver swaps two versions", "silver.history"),
    mutant("silver leaves the wrong version open", "silver.history"),
    mutant("silver loses an event", "silver.log"),
    mutant("silver forgets a delete", "silver.items"),
    mutant("silver remembers a delete that was none", "silver.items"),
    mutant("silver loses a row put aside", "silver.items"),
    mutant("silver gives a wrong reason", "silver.items"),
    mutant("silver has no quarantine", "silver.items"),
    mutant("silver has no notes", "silver.items"),
    mutant("silver has no table", "silver.items"),
    mutant("gold loses a row", "gold.totals"),
    mutant("gold keeps a row twice", "gold.totals"),
    mutant("gold cuts a decimal", "gold.totals"),
    mutant("gold keeps an old row and raises its pins", "gold.totals"),
    mutant("gold does not refresh", "gold.totals"),
    mutant("gold has no table", "gold.totals"),
    mutant("the publisher gives a record another key", "p.totals"),
    mutant("the publisher forgets a tombstone", "p.totals"),
    mutant("the publisher deletes a row that is there", "p.totals"),
    mutant("the publisher sends an old value again", "p.totals"),
    mutant("the publisher sends a record without a key", "p.totals"),
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
            Some("bronze") => bronze(&root, name).await,
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

/// Replaces the selected rows, by a commit that looks like the stage's.
async fn edit(
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
        info: [("stage".to_owned(), table.name().schema().into())].into_iter().collect(),
    };
    match table.commit(&commit).await? {
        Landing::Landed(_) => Ok(()),
        Landing::Moved => bail!("another writer moved the table"),
    }
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
fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(name)?] = column;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn null(rows: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let kind = rows.schema().field_with_name(name)?.data_type().clone();
    with(rows, name, new_null_array(&kind, rows.num_rows()))
}

fn say(rows: &RecordBatch, name: &str, text: &str) -> Result<RecordBatch> {
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

async fn bronze(root: &Path, name: &str) -> Result<()> {
    let table = open(root, "bronze.items").await?;
    let is_first = |row: &RecordBatch| number(row, 0, "id") == Some(1) && number(row, 0, "seq") == Some(1);
    let is_bad = |row: &RecordBatch| text(row, 0, "_error").is_some();
    let pick: &dyn Fn(&RecordBatch) -> bool = if name.contains("a bad record") { &is_bad } else { &is_first };
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
                    let mut line: serde_json::Value = serde_json::from_str(line)?;
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
struct Sent {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

async fn topic(state: &Path, name: &str) -> Result<()> {
    let host = Host::join(state).await?;
    let bootstrap = host.bootstrap.clone();
    let kafka = Kafka::new(KafkaSettings { bootstrap, config: Default::default(), transactions: true });
    let topic: TopicName = "p.totals".parse()?;
    let mut all: Vec<Sent> = Vec::new();
    let ends = Admin::try_new(&kafka)?.watermarks(&topic).await?;
    stream::read(&kafka, &topic, &ends, |records| {
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
    let newest = all.last().context("a record")?.clone();
    let buried = all.iter().rev().find(|sent| sent.value.is_none()).context("a tombstone")?.clone();
    let live = |sent: &&Sent| sent.value.is_some() && sent.key != buried.key;
    let alive: Vec<Sent> = all.iter().filter(live).cloned().collect();
    let (first, last) =
        (alive.first().context("a record")?.clone(), alive.last().context("another")?.clone());
    let other = alive.iter().find(|sent| sent.key != last.key).context("another key")?.clone();
    let record = match name {
        "the publisher gives a record another key" => {
            Sent { value: other.value, headers: newest.headers, ..last }
        }
        "the publisher forgets a tombstone" => {
            let old = all.iter().find(|sent| sent.key == buried.key && sent.value.is_some());
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
        let host = Host::join(&project.join(STATE)).await?;
        let bootstrap = host.bootstrap.clone();
        let kafka = Kafka::new(KafkaSettings { bootstrap, config: Default::default(), transactions: true });
        let record = Sent { key: None, value: Some(value.to_vec()), headers: Vec::new() };
        send(&kafka, &topic.parse()?, Some(0), &record).await?;
        host.stop().await;
        Ok(())
    })
}

async fn send(kafka: &Kafka, topic: &TopicName, partition: Option<i32>, record: &Sent) -> Result<()> {
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
