//! Bronze: every offset range complete and once.
//!
//! A commit states for each partition that it read: from, to, rows and digest. The ranges of a partition must
//! follow each other without hole or overlap up to the table's position, and the rows in the table must give
//! each range's row count and digest. The digest is an order-free sum of row hashes over all stored columns
//! (`lake::digest`), so compaction does not change it, and a changed value does.
//!
//! A commit can only state what its reader received, and offsets may have gaps. So the topics are read as
//! well, as far back as they still go: every committed record below the table's position must have its row.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use bronze::ledger::Ledger;
use catalog::Topic;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt as _;
use lake::digest::{self, Sum};
use lake::{LogEntry, Table};
use model::{AppId, Offset, TopicName};
use roaring::RoaringTreemap;
use stage::{CommitInfo, info};
use stream::{Admin, Kafka};

use super::decoded::Sample;
use super::{Finding, Scope, follow};

/// How many offsets are named for a faulty range.
const NAMED: usize = 5;

/// The offsets of one partition that a commit claims: `from` inclusive, `to` exclusive.
#[derive(Debug, Clone)]
struct CommitRange {
    said: info::Range,
    version: u64,
}
impl std::ops::Deref for CommitRange {
    type Target = info::Range;
    fn deref(&self) -> &Self::Target {
        &self.said
    }
}

/// The rows found in a range.
#[derive(Debug, Default, Clone)]
struct Found {
    rows: u64,
    sum: Sum,
}

/// The rows of one partition that are in the table.
#[derive(Debug, Default)]
struct Held {
    offsets: RoaringTreemap,
    doubled: Vec<i64>,
    /// One per range, in order.
    found: Vec<Found>,
}

/// Topic id and partition number.
type Partition = (String, i32);

/// Checks the bronze table of a topic.
pub async fn check(scope: &Scope<'_>, topic: &Topic) -> Result<Finding> {
    let name = &topic.table;
    let Some(table) = scope.lake.table(name).await? else { return missing(scope.kafka, topic).await };
    let mut finding = Finding::new(name);
    let log = table.log(None, table.version()).await?;
    let (ranges, accepted) = ranges(&log, &mut finding);
    let cleaned = log.first().is_some_and(|oldest| oldest.version.0 > 0);
    chain(&table, &ranges, cleaned, &mut finding);
    let id = Admin::try_new(scope.kafka)?.describe(&topic.name).await?.map(|info| info.id.to_string());
    let mut sample = Sample::new(follow::rows(&table).await?, scope.deep);
    let again = id.as_deref().map(|id| (id, &mut sample));
    let (held, older) = recount(&table, &ranges, cleaned, again, &mut finding).await?;
    for ((_, partition), held) in held.iter().filter(|(_, held)| !held.doubled.is_empty()) {
        let named: Vec<i64> = held.doubled.iter().copied().take(NAMED).collect();
        let count = held.doubled.len();
        finding.fault(format!("partition {partition}: {count} records have a second row, offsets {named:?}"));
    }
    let nothing = Held::default();
    let (mut rows, mut count) = (0, 0);
    for (partition, ranges) in &ranges {
        let held = held.get(partition).unwrap_or(&nothing);
        for (at, range) in ranges.iter().enumerate() {
            let found = held.found.get(at).cloned().unwrap_or_default();
            (rows, count) = (rows + found.rows, count + 1);
            if found.rows != range.rows || found.sum.to_string() != range.digest {
                finding.fault(unlike(partition.1, range, &found, held));
            }
        }
    }
    let on_topic = read_topic(scope.kafka, &topic.name, &table, &held, &mut sample, &mut finding).await?;
    let decoded = sample.check(topic, scope.registry, &mut finding).await?;
    finding.checked = format!(
        "{rows} rows in {count} ranges of {} partitions, offsets and digests; {on_topic}, {decoded}",
        ranges.len()
    );
    if accepted > 0 {
        finding.checked.push_str(&format!("; {accepted} losses accepted"));
    }
    if older > 0 {
        finding.checked.push_str(&format!("; {older} rows of versions that are gone from the log"));
    }
    Ok(finding)
}

/// The finding about a missing table: a fault if its topic has records.
async fn missing(kafka: &Kafka, topic: &Topic) -> Result<Finding> {
    let mut finding = Finding::new(&topic.table);
    let asked = || format!("topic `{}`", topic.name);
    if Admin::try_new(kafka)?.describe(&topic.name).await.with_context(asked)?.is_none() {
        finding.leave_out(format!("neither the table nor its topic `{}` exists yet", topic.name));
        return Ok(finding);
    }
    let last = stream::tail(kafka, &topic.name).await.with_context(asked)?;
    if last.is_empty() {
        finding.leave_out(format!("there is no such table yet, and topic `{}` holds no record", topic.name));
    } else {
        finding.fault(format!(
            "the table is missing, and topic `{}` holds records in {} partitions",
            topic.name,
            last.len()
        ));
    }
    Ok(finding)
}

/// All stated ranges by partition, in offset order, and the number of accepted losses. Commits of other
/// writers are faults.
fn ranges(log: &[LogEntry], finding: &mut Finding) -> (BTreeMap<Partition, Vec<CommitRange>>, usize) {
    let mut all: BTreeMap<Partition, Vec<CommitRange>> = BTreeMap::new();
    let mut accepted = 0;
    for entry in log {
        let info = match CommitInfo::parse(entry) {
            Ok(Some(CommitInfo::Bronze(info))) => info,
            Ok(_) => info::BronzeCommit::default(),
            Err(error) => {
                finding.fault(format!("{error}: {}", error.source));
                continue;
            }
        };
        if info.ranges.is_empty() && entry.data_change && entry.version.0 > 0 {
            finding.fault(format!("version {} changed rows and states no offset range", entry.version));
        }
        accepted += info.accepted.len();
        for said in info.ranges {
            let partition = (said.topic_id.clone(), said.partition);
            all.entry(partition).or_default().push(CommitRange { said, version: entry.version.0 });
        }
    }
    for ranges in all.values_mut() {
        ranges.sort_by_key(|range| (range.from, range.to));
    }
    (all, accepted)
}

/// Checks that ranges follow each other and that the last one ends at the table's position. A partition
/// without new records since the log was cleaned has no range left.
fn chain(table: &Table, all: &BTreeMap<Partition, Vec<CommitRange>>, cleaned: bool, finding: &mut Finding) {
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
        if !cleaned && !known && *position > 0 && app.as_str().matches('/').count() == 2 {
            finding.fault(format!("position `{app}` = {position} has no commit that states a range"));
        }
    }
}

/// Row count and digest of each range, from the current rows of the table. Also returns how many rows are
/// older than the log, if it was `cleaned`.
async fn recount(
    table: &Table,
    all: &BTreeMap<Partition, Vec<CommitRange>>,
    cleaned: bool,
    mut sample: Option<(&str, &mut Sample)>,
    finding: &mut Finding,
) -> Result<(BTreeMap<Partition, Held>, u64)> {
    let mut held: BTreeMap<Partition, Held> = BTreeMap::new();
    let (mut strays, mut older) = (0, 0);
    let columns: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut stream = stream(table).await?;
    while let Some(batch) = stream.try_next().await? {
        let hashes = digest::row_hashes(&batch, &columns);
        let at = Coordinates::of(&batch)?;
        if let Some((topic, sample)) = &mut sample {
            sample.take_rows(&batch, topic)?;
        }
        let redriven = batch.column_by_name("_redrive");
        // The rows of a partition lie together in a file.
        for rows in at.runs() {
            let partition = at.partition(rows.start);
            let ranges = all.get(&partition).map_or(&[][..], Vec::as_slice);
            let number = partition.1;
            let held = held.entry(partition).or_default();
            held.found.resize_with(ranges.len(), Found::default);
            for row in rows {
                let offset = at.offset.value(row);
                // A redrive's row exists beside the row that it repairs.
                if redriven.is_none_or(|column| column.is_null(row))
                    && !held.offsets.insert(offset.max(0).cast_unsigned())
                {
                    held.doubled.push(offset);
                }
                let after = ranges.partition_point(|range| range.from <= offset);
                match after.checked_sub(1).filter(|range| offset < ranges[*range].to) {
                    Some(range) => {
                        held.found[range].rows += 1;
                        held.found[range].sum.add(&hashes[row..=row]);
                    }
                    None if cleaned && after == 0 => older += 1,
                    None if strays < NAMED => {
                        strays += 1;
                        finding.fault(format!("partition {number}: offset {offset} is in no commit's range"));
                    }
                    None => {}
                }
            }
        }
    }
    Ok((held, older))
}

/// The rows of the table as a stream, because a bronze table may be larger than memory.
async fn stream(table: &Table) -> Result<SendableRecordBatchStream> {
    Ok(query::session().read_table(table.provider()?)?.execute_stream().await?)
}

/// Describes a faulty range, with offsets if they can be found.
fn unlike(partition: i32, range: &CommitRange, found: &Found, held: &Held) -> String {
    let within = range.from..range.to;
    let doubled: Vec<i64> =
        held.doubled.iter().copied().filter(|offset| within.contains(offset)).take(NAMED).collect();
    let there = |offset: &i64| held.offsets.contains(offset.cast_unsigned());
    let absent: Vec<i64> = within.filter(|offset| !there(offset)).take(NAMED).collect();
    let mut what = format!(
        "partition {partition}, offsets {}..{} (version {}): {} rows where its commit states {}",
        range.from, range.to, range.version, found.rows, range.rows
    );
    if found.rows == range.rows && doubled.is_empty() {
        what.push_str(", a value differs from what was committed");
    }
    if !doubled.is_empty() {
        what.push_str(&format!(", twice: {doubled:?}"));
    }
    if !absent.is_empty() && found.rows < range.rows + doubled.len() as u64 {
        what.push_str(&format!(", missing: {absent:?}"));
    }
    what
}

/// Checks that every committed record on the topic below the table's positions has its row. Returns a text
/// with their number.
async fn read_topic(
    kafka: &Kafka,
    topic: &TopicName,
    table: &Table,
    held: &BTreeMap<Partition, Held>,
    sample: &mut Sample,
    finding: &mut Finding,
) -> Result<String> {
    let admin = Admin::try_new(kafka)?;
    let asked = || format!("topic `{topic}`");
    let Some(info) = admin.describe(topic).await.with_context(asked)? else {
        return Ok("its topic is gone".to_owned());
    };
    let spans: BTreeMap<i32, (Offset, Offset)> = admin
        .watermarks(topic)
        .await
        .with_context(asked)?
        .into_iter()
        .filter_map(|(partition, (low, high))| {
            let position = table.positions().get(&AppId::partition(&info.id, partition))?;
            Some((partition, (low, high.min(Offset(position)))))
        })
        .collect();
    let (mut records, mut missing) = (0_u64, BTreeMap::<i32, (u64, Vec<i64>)>::new());
    let mut ledger = Ledger::default();
    let id = info.id.as_str();
    let each = |read: stream::Records| {
        records += read.len() as u64;
        sample.take_records(&read);
        // Lines of a file that were sent twice have one row.
        let mut kept: Vec<u32> =
            (0..u32::try_from(read.len()).expect("a batch has fewer than 2^32 records")).collect();
        if Ledger::concerns(&read, &kept) {
            ledger.drop_repeats(&read, &mut kept);
        }
        let there = held.get(&(id.to_owned(), read.partition)).map(|held| &held.offsets);
        for row in kept {
            let offset = read.offset(row as usize).0;
            if !there.is_some_and(|offsets| offsets.contains(offset.cast_unsigned())) {
                let (count, named) = missing.entry(read.partition).or_default();
                *count += 1;
                if named.len() < NAMED {
                    named.push(offset);
                }
            }
        }
    };
    stream::read(kafka, topic, &spans, each).await.with_context(asked)?;
    for (partition, (count, named)) in missing {
        finding.fault(format!(
            "partition {partition}: {count} records of topic `{topic}` have no row, offsets {named:?}{}",
            if count > named.len() as u64 { " and more" } else { "" }
        ));
    }
    Ok(format!("{records} records on its topic"))
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
    /// Runs of consecutive rows of one partition.
    fn runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let (mut from, len) = (0, self.offset.len());
        std::iter::from_fn(move || {
            let alike = |row: usize| {
                self.partition.value(row) == self.partition.value(from)
                    && self.topic.value(row) == self.topic.value(from)
            };
            let to = (from..len).find(|row| !alike(*row)).unwrap_or(len);
            (from < len).then(|| std::mem::replace(&mut from, to)..to)
        })
    }
    fn partition(&self, row: usize) -> Partition {
        let partition = i32::try_from(self.partition.value(row)).unwrap_or(-1);
        (self.topic.value(row).to_owned(), partition)
    }
}
