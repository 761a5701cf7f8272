//! Bronze: every offset range complete and once.
//!
//! A commit states for each partition it read: from, to, rows and digest. The ranges of a partition
//! must follow each other without hole or overlap up to the table's position, and the rows that are
//! in the table now must give each range's row count and digest. The digest is an order-free sum of
//! row hashes over all stored columns (`lake::digest`), so compaction does not change it, and a
//! changed value does.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt as _;
use lake::digest::{self, Sum};
use lake::{Lake, LogEntry, Table};
use model::{AppId, TableName};
use serde::Deserialize;

use super::Finding;

/// How many offsets are named for a range that does not hold.
const NAMED: usize = 5;

/// What a commit says it read of one partition: `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, Deserialize)]
struct Range {
    topic_id: String,
    partition: i32,
    from: i64,
    to: i64,
    rows: u64,
    digest: String,
    #[serde(skip)]
    version: u64,
}

/// What is there of a range.
#[derive(Debug, Default, Clone)]
struct Found {
    rows: u64,
    sum: Sum,
}

type Partition = (String, i32);

/// Checks one bronze table. `None` when it does not exist yet.
pub async fn check(lake: &Lake, name: &TableName) -> Result<Option<Finding>> {
    let Some(table) = lake.table(name).await? else { return Ok(None) };
    let mut finding = Finding::new(name);
    let log = table.log(None, table.version()).await?;
    let ranges = ranges(&log, &mut finding)?;
    chain(&table, &ranges, &mut finding);
    let (found, strays) = recount(&table, &ranges).await?;
    for stray in strays {
        finding.fault(stray);
    }
    let mut bad = Vec::new();
    let (mut rows, mut count) = (0, 0);
    for (partition, ranges) in &ranges {
        for (at, range) in ranges.iter().enumerate() {
            let found = found.get(&(partition.clone(), at)).cloned().unwrap_or_default();
            (rows, count) = (rows + found.rows, count + 1);
            if found.rows != range.rows || found.sum.to_string() != range.digest {
                bad.push((partition.clone(), range.clone(), found));
            }
        }
    }
    name_bad_ranges(&table, &bad, &mut finding).await?;
    finding.checked =
        format!("{rows} rows in {count} ranges of {} partitions, offsets and digests", ranges.len());
    Ok(Some(finding))
}

/// All stated ranges by partition, in offset order; commits that are not ours are faults.
fn ranges(log: &[LogEntry], finding: &mut Finding) -> Result<BTreeMap<Partition, Vec<Range>>> {
    let mut all: BTreeMap<Partition, Vec<Range>> = BTreeMap::new();
    for entry in log {
        let stated = entry.info.get("ranges").cloned();
        if stated.is_none() && entry.data_change && entry.version.0 > 0 {
            finding.fault(format!("version {} changed rows and states no offset range", entry.version));
        }
        let stated: Vec<Range> = stated
            .map(serde_json::from_value)
            .transpose()
            .with_context(|| format!("offset ranges of version {}", entry.version))?
            .unwrap_or_default();
        for mut range in stated {
            range.version = entry.version.0;
            all.entry((range.topic_id.clone(), range.partition)).or_default().push(range);
        }
    }
    for ranges in all.values_mut() {
        ranges.sort_by_key(|range| (range.from, range.to));
    }
    Ok(all)
}

/// Ranges follow each other, and the last ends at the table's position.
fn chain(table: &Table, all: &BTreeMap<Partition, Vec<Range>>, finding: &mut Finding) {
    for ((topic, partition), ranges) in all {
        for pair in ranges.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            if after.from > before.to {
                finding.fault(format!(
                    "partition {partition}: offsets {}..{} are in no commit (between versions {} and {})",
                    before.to, after.from, before.version, after.version
                ));
            }
            if after.from < before.to {
                finding.fault(format!(
                    "partition {partition}: offsets {}..{} are in two commits (versions {} and {})",
                    after.from, before.to, before.version, after.version
                ));
            }
        }
        let Some(last) = ranges.last() else { continue };
        let position = match topic.parse() {
            Ok(topic) => table.positions().get(&AppId::partition(&topic, *partition)),
            Err(_) => None,
        };
        if position != Some(last.to) {
            finding.fault(format!(
                "partition {partition}: the table's position is {} but its commits end at {} (version {})",
                position.map_or_else(|| "absent".to_owned(), |at| at.to_string()),
                last.to,
                last.version
            ));
        }
    }
    for (app, position) in &table.positions().0 {
        let known = all.keys().any(|(topic, partition)| app.as_str() == format!("lp/{topic}/{partition}"));
        if !known && *position > 0 && app.as_str().matches('/').count() == 2 {
            finding.fault(format!("position `{app}` = {position} has no commit that states a range"));
        }
    }
}

/// Rows and digest of each range, from the rows that are in the table now.
async fn recount(
    table: &Table,
    all: &BTreeMap<Partition, Vec<Range>>,
) -> Result<(HashMap<(Partition, usize), Found>, Vec<String>)> {
    let mut found: HashMap<(Partition, usize), Found> = HashMap::new();
    let mut strays = Vec::new();
    let columns: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut stream = stream(table, None).await?;
    while let Some(batch) = stream.try_next().await? {
        let hashes = digest::row_hashes(&batch, &columns);
        let at = Coordinates::of(&batch)?;
        for (row, hash) in hashes.into_iter().enumerate() {
            let (partition, offset) = at.row(row);
            let range = all.get(&partition).and_then(|ranges| {
                let after = ranges.partition_point(|range| range.from <= offset);
                let at = after.checked_sub(1)?;
                (offset < ranges[at].to).then_some(at)
            });
            match range {
                Some(range) => {
                    let found = found.entry((partition, range)).or_default();
                    found.rows += 1;
                    found.sum.add(&[hash]);
                }
                None if strays.len() < NAMED => {
                    strays
                        .push(format!("partition {}: offset {offset} is in no commit's range", partition.1));
                }
                None => {}
            }
        }
    }
    Ok((found, strays))
}

/// The rows of the table, batch by batch: a bronze table may be larger than memory.
async fn stream(table: &Table, columns: Option<&[&str]>) -> Result<SendableRecordBatchStream> {
    let frame = query::session().read_table(table.provider()?)?;
    let frame = match columns {
        Some(columns) => frame.select_columns(columns)?,
        None => frame,
    };
    Ok(frame.execute_stream().await?)
}

/// Says what is wrong with each bad range, down to offsets where they can be told.
async fn name_bad_ranges(
    table: &Table,
    bad: &[(Partition, Range, Found)],
    finding: &mut Finding,
) -> Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let wanted = ["_topic_id", "_partition", "_offset"];
    let mut offsets: HashMap<usize, Vec<i64>> = HashMap::new();
    let mut stream = stream(table, Some(&wanted)).await?;
    while let Some(batch) = stream.try_next().await? {
        let at = Coordinates::of(&batch)?;
        for row in 0..batch.num_rows() {
            let (partition, offset) = at.row(row);
            let hit = bad
                .iter()
                .position(|(p, range, _)| *p == partition && (range.from..range.to).contains(&offset));
            if let Some(hit) = hit {
                offsets.entry(hit).or_default().push(offset);
            }
        }
    }
    for (i, ((_, partition), range, found)) in bad.iter().enumerate() {
        let mut there = offsets.remove(&i).unwrap_or_default();
        there.sort_unstable();
        let doubled: Vec<i64> =
            there.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        there.dedup();
        let absent: Vec<i64> = (range.from..range.to)
            .filter(|offset| there.binary_search(offset).is_err())
            .take(NAMED)
            .collect();
        let mut what = format!(
            "partition {partition}, offsets {}..{} (version {}): {} rows where its commit states {}",
            range.from, range.to, range.version, found.rows, range.rows
        );
        if found.rows == range.rows && doubled.is_empty() {
            what.push_str(", a value differs from what was committed");
        }
        if !doubled.is_empty() {
            what.push_str(&format!(", twice: {:?}", &doubled[..doubled.len().min(NAMED)]));
        }
        if !absent.is_empty() && (there.len() as u64) < range.rows {
            what.push_str(&format!(", missing: {absent:?}"));
        }
        finding.fault(what);
    }
    Ok(())
}

/// Coordinates of the rows of a batch.
struct Coordinates {
    topic: arrow::array::StringArray,
    partition: arrow::array::Int64Array,
    offset: arrow::array::Int64Array,
}
impl Coordinates {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let column =
            |name: &str| batch.column_by_name(name).with_context(|| format!("column `{name}` is missing"));
        let whole = |name: &str| {
            let column = column(name)?;
            anyhow::ensure!(column.null_count() == 0, "column `{name}` holds nulls");
            column.as_primitive_opt::<Int64Type>().cloned().with_context(|| format!("`{name}` is no BIGINT"))
        };
        let topic =
            column("_topic_id")?.as_string_opt::<i32>().cloned().context("`_topic_id` is no STRING")?;
        Ok(Self { topic, partition: whole("_partition")?, offset: whole("_offset")? })
    }
    fn row(&self, row: usize) -> (Partition, i64) {
        let partition = i32::try_from(self.partition.value(row)).unwrap_or(-1);
        ((self.topic.value(row).to_owned(), partition), self.offset.value(row))
    }
}
