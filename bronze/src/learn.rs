//! What the columns of a topic are whose contract does not say.
//!
//! Avro says it in the registry. JSON in an envelope says it in the schema part of its records, of which
//! some are read; once there is a table, that says it, since it has held every schema so far. JSON without
//! a schema part says nothing, and nothing is guessed: the digits of a decimal look like any other text.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use catalog::avro::{avro_from_arrow, avro_from_connect, bronze_schema};
use catalog::{LearnedSchemas, Topic, ValueFormat};
use lake::Lake;
use model::Offset;
use stream::{Admin, Kafka, Records, Registry};

use crate::assemble::column;
use crate::json::schema_part;
use crate::{Error, evolve};

/// Records looked at from each end of a partition.
const SAMPLE: i64 = 64;

/// The schemas of a topic's records. `None`: there is nothing yet to learn them from.
pub async fn learn(
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
    topic: &Topic,
) -> Result<Option<LearnedSchemas>, Error> {
    if topic.value == ValueFormat::Avro {
        return of_registry(registry, topic).await;
    }
    match of_table(lake, topic).await? {
        Some(learned) => Ok(Some(learned)),
        None => of_records(kafka, topic).await,
    }
}

async fn of_registry(registry: &Registry, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let failed = |source| Error::Registry { topic: topic.name.clone(), source };
    let Some(value) = registry.latest(&topic.value_subject()).await.map_err(failed)? else { return Ok(None) };
    let key = registry.latest(&topic.key_subject()).await.map_err(failed)?;
    Ok(Some(LearnedSchemas { value: value.schema.to_string(), key: key.map(|key| key.schema.to_string()) }))
}

async fn of_table(lake: &Lake, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let table = lake.table(&topic.table).await;
    let table = table.map_err(|source| Error::Lake { table: topic.table.clone(), source })?;
    table.map(|table| of_columns(topic, table.schema())).transpose()
}

/// Schemas of values and keys that give a table these columns.
fn of_columns(topic: &Topic, columns: &Schema) -> Result<LearnedSchemas, Error> {
    let refused = |source| Error::BadContract { topic: topic.name.clone(), source };
    let avro = |name: &str, columns: Schema| {
        avro_from_arrow(name, "io.lakepulse.learned", &columns, &[]).map_err(refused)
    };
    let own = columns.fields().iter().filter(|field| !column::ALL.contains(&field.name().as_str()));
    let value = avro("Value", Schema::new(own.cloned().collect::<Vec<_>>()))?;
    let key = match columns.field_with_name(column::KEYS).map(|field| field.data_type()) {
        Ok(DataType::Struct(keys)) => Some(avro("Key", Schema::new(keys.clone()))?),
        _ => None,
    };
    Ok(LearnedSchemas { value, key })
}

/// From the oldest and the newest records, so that a column that is gone is known with one that came.
async fn of_records(kafka: &Kafka, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let failed = |source| Error::Stream { topic: topic.name.clone(), source };
    let admin = Admin::try_new(kafka).map_err(failed)?;
    if admin.describe(&topic.name).await.map_err(failed)?.is_none() {
        return Ok(None);
    }
    let ends = admin.watermarks(&topic.name).await.map_err(failed)?;
    let first = |low: Offset, high: Offset| (low, high.min(Offset(low.0.saturating_add(SAMPLE))));
    let last = |low: Offset, high: Offset| (low.max(Offset(high.0.saturating_sub(SAMPLE))), high);
    let oldest: BTreeMap<_, _> = ends.iter().map(|(p, (low, high))| (*p, first(*low, *high))).collect();
    let newest: BTreeMap<_, _> = ends.iter().map(|(p, (low, high))| (*p, last(*low, *high))).collect();
    let mut seen = Seen::default();
    for spans in [oldest, newest] {
        stream::read(kafka, &topic.name, &spans, |records| seen.look(&records)).await.map_err(failed)?;
    }
    let columns = seen.columns(topic)?;
    match columns {
        Some(columns) => of_columns(topic, &columns).map(Some),
        None if seen.values > 0 => Err(Error::NoSchemaPart { topic: topic.name.clone() }),
        None => Ok(None),
    }
}

/// Schema parts that were seen, in the order they were.
#[derive(Default)]
struct Seen {
    values: u64,
    /// Of a value, and of its key where that has one.
    parts: Vec<(String, Option<String>)>,
}
impl Seen {
    fn look(&mut self, records: &Records) {
        for row in 0..records.len() {
            let Some(value) = records.value(row) else { continue };
            self.values += 1;
            let Some(part) = schema_part(value) else { continue };
            let key = records.key(row).and_then(schema_part);
            if !self.parts.iter().any(|(seen, _)| seen == part) {
                self.parts.push((part.to_owned(), key.map(str::to_owned)));
            }
        }
    }
    /// The columns of a table that has room for all of them. One that no table can hold is left out, as
    /// its records will be error rows; an error where there is no other.
    fn columns(&self, topic: &Topic) -> Result<Option<SchemaRef>, Error> {
        let (mut columns, mut refused): (Option<SchemaRef>, _) = (None, None);
        for (value, key) in &self.parts {
            match columns_of(topic, value, key.as_deref()) {
                Ok(wanted) => {
                    columns = Some(match columns {
                        None => wanted,
                        Some(has) => evolve::widen(&has, &wanted).ok().flatten().unwrap_or(has),
                    });
                }
                Err(source) => refused = Some(source),
            }
        }
        match (columns, refused) {
            (None, Some(source)) => Err(Error::BadContract { topic: topic.name.clone(), source }),
            (columns, _) => Ok(columns),
        }
    }
}

fn columns_of(topic: &Topic, value: &str, key: Option<&str>) -> Result<SchemaRef, catalog::avro::Error> {
    let value = avro_from_connect(value)?;
    let key = key.map(avro_from_connect).transpose()?;
    bronze_schema(&topic.learn(&value, key.as_deref())?, &value)
}
