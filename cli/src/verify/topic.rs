//! Gold topics: the compacted topic, folded by key, equals the table.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use arrow::array::RecordBatch;
use bronze::decode::Decoder;
use catalog::{Model, Project};
use lake::Lake;
use model::TopicName;
use stream::{Kafka, Registry};

use super::{Finding, compare};

/// Where topics are read.
pub struct Reader<'a> {
    pub kafka: &'a Kafka,
    pub registry: &'a Registry,
}

/// Checks the topic of one gold table against the version the progress record names. `None` when
/// nothing has been published yet.
pub async fn check(
    project: &Project,
    lake: &Lake,
    model: &Model,
    topic: &TopicName,
    reader: &Reader<'_>,
) -> Result<Option<Finding>> {
    let Some(table) = lake.table(&model.name).await? else { return Ok(None) };
    let mut finding = Finding::new(format!("{topic} (topic)"));
    let Some(progress) = gold::publish::progress(reader.kafka, &project.name, table.id()).await? else {
        "nothing published yet".clone_into(&mut finding.checked);
        return Ok(Some(finding));
    };
    if progress.version > table.version() {
        finding.fault(format!(
            "it was published up to version {}, the table ends at {}",
            progress.version,
            table.version()
        ));
        return Ok(Some(finding));
    }
    if !progress.last {
        finding.fault(format!(
            "version {} is published in part; `lakepulse gold` goes on with it",
            progress.version
        ));
        return Ok(Some(finding));
    }
    let records = stream::latest(reader.kafka, topic).await.with_context(|| format!("topic `{topic}`"))?;
    let expected = table.at(progress.version).await?.scan(None).await?;
    let actual = decode(reader.registry, &records, model, &mut finding).await?;
    let (schema, keys) = (model.schema.clone(), model.keys.clone());
    let difference = runtime::cpu::run(move || compare::compare(&schema, &keys, &expected, &actual)).await?;
    super::report(&difference, &mut finding);
    finding.checked = format!("{} keys = {}@{}", difference.actual, model.name, progress.version);
    Ok(Some(finding))
}

/// The records' values as rows, by the schema each names. A record that is none of the table's is a
/// fault.
async fn decode(
    registry: &Registry,
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
    model: &Model,
    finding: &mut Finding,
) -> Result<Vec<RecordBatch>> {
    let mut by_schema: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
    for value in records.values() {
        let (id, _) = stream::unframe(value).context("a record of the topic")?;
        by_schema.entry(id).or_default().push(value);
    }
    let mut batches = Vec::new();
    for (id, values) in by_schema {
        let mut decoder = Decoder::try_new(id, registry.schema(id).await?)?;
        let positions: Vec<u32> = (0..u32::try_from(values.len())?).collect();
        let at = |position: u32| values.get(position as usize).copied().unwrap_or_default();
        let decoded = decoder
            .decode(&positions, at, model.schema.fields())
            .map_err(|(column, why)| anyhow!("column `{column}` of schema {id} is not the table's: {why}"))?;
        for (position, refusal) in &decoded.refused {
            finding.fault(format!("record {position} of schema {id} cannot be decoded: {refusal}"));
        }
        batches.push(RecordBatch::try_new(model.schema.clone(), decoded.columns)?);
    }
    Ok(batches)
}
