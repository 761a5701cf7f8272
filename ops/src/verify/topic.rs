//! Gold topics: the compacted topic, folded by key, equals the table at the version its progress names.
//!
//! - every record's key equals the key in its value;
//! - the versions in the headers never fall along a partition, none is above the progress, and the newest one
//!   has its last record;
//! - the decoded records equal the table; another Avro library decodes a sample of them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Fields;
use bronze::decode::Decoder;
use catalog::Model;
use lake::Table;
use model::TopicName;
use stream::{Admin, Registry};

use super::compare::{Columns, same};
use super::follow::{self, Standing};
use super::value::{Agrees, Writer};
use super::{Finding, Scope, compare};

/// How many records of each schema are decoded a second time.
const SAMPLE: usize = 2_000;
/// How many keys are named.
const NAMED: usize = 5;

/// Checks the topic of one gold table against the version in the progress record.
pub async fn check(scope: &Scope<'_>, model: &Model, topic: &TopicName) -> Result<Finding> {
    let mut finding = Finding::new(format!("{topic} (topic)"));
    let Some(table) = scope.lake.table(&model.name).await? else {
        finding.leave_out(format!("`{}` does not exist", model.name));
        return Ok(finding);
    };
    let project = &scope.project.name;
    let Some(progress) = sink::kafka::progress(scope.kafka, project, table.id()).await? else {
        let standing = Standing::of(&table, None).await?;
        if follow::rows(&table).await? == 0 {
            finding.leave_out(format!("nothing was published yet: `{}` holds no row", model.name));
        } else if !standing.say(&model.name, None, scope.now, &mut finding) {
            finding.fault(format!("nothing was ever published, and `{}` holds rows", model.name));
        }
        return Ok(finding);
    };
    if progress.destination != topic.as_str() {
        finding.leave_out(format!("the table was published on `{}` until now", progress.destination));
        return Ok(finding);
    }
    if progress.version > table.version() {
        finding.fault(format!(
            "it was published up to version {}, the table ends at {}",
            progress.version,
            table.version()
        ));
        return Ok(finding);
    }
    if !progress.last {
        finding.fault(format!(
            "version {} is published in part; `lakepulse gold` goes on with it",
            progress.version
        ));
        return Ok(finding);
    }
    let at = Some(progress.version);
    Standing::of(&table, at).await?.say(&model.name, at, scope.now, &mut finding);
    let read = Read::all(scope, topic, &table).await.with_context(|| format!("topic `{topic}`"))?;
    read.headers(progress.version.0, &table, &mut finding);
    let expected = table.at(progress.version).await?.scan(None).await?;
    let (actual, sampled) = decode(scope.registry, &read.latest, model, &mut finding).await?;
    let (schema, keys) = (model.schema.clone(), model.keys.clone());
    let difference = runtime::cpu::run(move || compare::compare(&schema, &keys, &expected, &actual)).await?;
    super::report(&difference, &mut finding);
    finding.checked = format!(
        "{} keys = {}@{}, each the key in its value; {sampled} decoded twice",
        difference.actual, model.name, progress.version
    );
    Ok(finding)
}

/// Everything that is on the topic.
#[derive(Default)]
struct Read {
    /// The newest value of each key that has one.
    latest: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records without a key.
    keyless: u64,
    /// The newest version in the headers, and whether its last record is there.
    newest: Option<(u64, bool)>,
    /// Partition, offset and version of records with a lower version than an earlier record.
    falling: Vec<(i32, i64, u64)>,
    /// Records of this table.
    own: u64,
}
impl Read {
    async fn all(scope: &Scope<'_>, topic: &TopicName, table: &Table) -> Result<Self> {
        let ends = Admin::try_new(scope.kafka)?.watermarks(topic).await?;
        let (mut read, mut versions) = (Self::default(), BTreeMap::<i32, u64>::new());
        let own = table.id().as_str().as_bytes();
        stream::read(scope.kafka, topic, &ends, |records| {
            for row in 0..records.len() {
                read.mark(&records, row, own, &mut versions);
                let Some(key) = records.key(row) else {
                    read.keyless += 1;
                    continue;
                };
                match records.value(row) {
                    Some(value) => drop(read.latest.insert(key.to_vec(), value.to_vec())),
                    None => drop(read.latest.remove(key)),
                }
            }
        })
        .await?;
        Ok(read)
    }

    fn mark(&mut self, records: &stream::Records, row: usize, own: &[u8], versions: &mut BTreeMap<i32, u64>) {
        // The topic may have belonged to another table before.
        if records.header(row, "lp.table_id") != Some(own) {
            return;
        }
        self.own += 1;
        let text = records.header(row, "lp.version").and_then(|text| std::str::from_utf8(text).ok());
        let Some(version) = text.and_then(|text| text.parse::<u64>().ok()) else { return };
        let last = records.header(row, "lp.last").is_some();
        let held = versions.entry(records.partition).or_default();
        if version < *held {
            self.falling.push((records.partition, records.offset(row).0, version));
        }
        *held = version.max(*held);
        self.newest = Some(match self.newest {
            Some((newest, whole)) if newest == version => (newest, whole || last),
            Some((newest, whole)) if newest > version => (newest, whole),
            _ => (version, last),
        });
    }

    fn headers(&self, progress: u64, table: &Table, finding: &mut Finding) {
        if self.keyless > 0 {
            finding.fault(format!("{} records have no key", self.keyless));
        }
        if let Some((partition, offset, version)) = self.falling.first() {
            finding.fault(format!(
                "{} records are of a version below that of a record before them, the first at partition \
                 {partition}, offset {offset}: version {version}",
                self.falling.len()
            ));
        }
        match self.newest {
            Some((newest, _)) if newest > progress => finding.fault(format!(
                "a record is of version {newest}, and progress says that {progress} is the last"
            )),
            Some((newest, false)) => {
                finding.fault(format!("the last record of version {newest} (header `lp.last`) is missing"));
            }
            None if !self.latest.is_empty() => {
                finding.fault(format!("no record is of the table {}", table.id()));
            }
            Some(_) | None => {}
        }
    }
}

/// Decodes the records' values by schema. A record with another table's schema is a fault, and so is one
/// whose key differs from the key in its value. Returns a text with the number of records decoded a second
/// time.
async fn decode(
    registry: &Registry,
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
    model: &Model,
    finding: &mut Finding,
) -> Result<(Vec<RecordBatch>, usize)> {
    type Pair<'a> = (&'a [u8], &'a [u8]);
    let mut by_schema: BTreeMap<(u32, u32), Vec<Pair<'_>>> = BTreeMap::new();
    for (key, value) in records {
        let key_id = avro::Frame::decode(key).context("a key of the topic")?.id;
        let value_id = avro::Frame::decode(value).context("a value of the topic")?.id;
        by_schema.entry((key_id, value_id)).or_default().push((key, value));
    }
    let at: Vec<usize> = model.keys.iter().map(|key| model.schema.index_of(key)).collect::<Result<_, _>>()?;
    let key_fields: Fields = model.schema.project(&at)?.fields().clone();
    let (mut batches, mut sampled, mut unlike) = (Vec::new(), 0, 0);
    for ((key_id, value_id), pairs) in by_schema {
        let values: Vec<&[u8]> = pairs.iter().map(|(_, value)| *value).collect();
        let keys: Vec<&[u8]> = pairs.iter().map(|(key, _)| *key).collect();
        let rows = columns(registry, value_id, &values, model.schema.fields(), finding).await?;
        let theirs = columns(registry, key_id, &keys, &key_fields, finding).await?;
        let batch = RecordBatch::try_new(model.schema.clone(), rows)?;
        if batch.num_rows() == keys.len() && theirs.first().is_none_or(|key| key.len() == keys.len()) {
            for row in 0..keys.len() {
                let equal = |(place, key): (&usize, &ArrayRef)| same(batch.column(*place), row, key, row);
                if !at.iter().zip(&theirs).all(equal) {
                    unlike += 1;
                    if unlike <= NAMED {
                        let own = Columns::new(&batch).row(&model.keys, row);
                        let texts: Vec<String> = theirs.iter().map(|key| compare::text(key, row)).collect();
                        finding.fault(format!(
                            "the record with the key ({}) has a value of {own}",
                            texts.join(", ")
                        ));
                    }
                }
            }
            sampled += twice(registry, value_id, &values, &batch, finding).await?;
        }
        batches.push(batch);
    }
    if unlike > 0 {
        finding.fault(format!("{unlike} records have another key than their value says"));
    }
    Ok((batches, sampled))
}

async fn columns(
    registry: &Registry,
    id: u32,
    payloads: &[&[u8]],
    wanted: &Fields,
    finding: &mut Finding,
) -> Result<Vec<ArrayRef>> {
    let mut decoder = Decoder::try_new(id, registry.schema(id).await?)?;
    let positions: Vec<u32> = (0..u32::try_from(payloads.len())?).collect();
    let at = |position: u32| payloads.get(position as usize).copied().unwrap_or_default();
    let decoded = decoder
        .decode(&positions, at, wanted)
        .map_err(|(column, why)| anyhow!("column `{column}` of schema {id} is not the table's: {why}"))?;
    for (position, refusal) in decoded.refused.iter().take(NAMED) {
        finding.fault(format!("record {position} of schema {id} cannot be decoded: {refusal}"));
    }
    Ok(decoded.columns)
}

/// Decodes some of the values with another library.
pub(super) async fn twice(
    registry: &Registry,
    id: u32,
    values: &[&[u8]],
    rows: &RecordBatch,
    finding: &mut Finding,
) -> Result<usize> {
    let writer = Writer::parse(&registry.schema(id).await?)?;
    let (step, mut looked, mut named) = ((values.len() / SAMPLE).max(1), 0, 0);
    for (row, value) in values.iter().enumerate().step_by(step) {
        let body = value.get(5..).unwrap_or_default();
        let said = match writer.datum(body) {
            Ok(value) => writer.agrees(&value, rows, row),
            Err(error) => Agrees::No(format!("another library cannot decode it: {error}")),
        };
        looked += 1;
        if let (Agrees::No(what), true) = (said, named < NAMED) {
            named += 1;
            finding.fault(format!("record {row} of schema {id}: {what}"));
        }
    }
    Ok(looked)
}
