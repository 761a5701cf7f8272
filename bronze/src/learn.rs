//! Finds the columns of a topic whose contract does not declare them.
//!
//! For Avro the registry has them. For JSON in an envelope they are in the schema parts of its records, of
//! which a sample is read. For JSON without a schema part nothing is guessed: the digits of a decimal look
//! like any other text.
//!
//! If a later schema adds a column with a default, records of earlier schemas have that default. The first
//! schema with the column decides, because later ones may have changed the default for later rows.
//!
//! An existing table already holds the columns of every schema so far. A newer schema may lack some of them,
//! or may not fit any table. Models read the table, so learned columns only ever widen it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use avro::{Frame, from_arrow, from_connect};
use catalog::columns::bronze_schema;
use catalog::{LearnedSchemas, Topic, ValueFormat};
use lake::Lake;
use model::{Offset, Reaction, column};
use stream::{Admin, Kafka, Records, Registry};

use crate::Error;
use crate::absent::{self, Values};
use crate::evolve::{self, MOST_COLUMNS};
use crate::json::schema_part;

/// How many records are read at each end of a partition.
const SAMPLE: i64 = 64;
/// Time limit for a sample: an open transaction holds back all records behind it.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(20);
/// How many of the schemas that records name are looked up.
const MOST_IDS: usize = 64;

/// The schemas of a topic's records. `None` if neither registry, table nor records have any yet.
pub async fn learn(
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
    topic: &Topic,
) -> Result<Option<LearnedSchemas>, Error> {
    let table = lake.table(&topic.table).await;
    let table = table.map_err(|source| Error::Lake { table: topic.table.clone(), source })?;
    let columns = table.as_ref().map(|table| table.schema());
    if topic.value != ValueFormat::Avro {
        return match columns {
            Some(columns) => of_columns(topic, columns, &Values::new()).map(Some),
            None => of_records(kafka, topic).await,
        };
    }
    match (of_registry(registry, topic).await?, columns) {
        (Some(newest), columns) => {
            let newest = merged(topic, newest, columns)?;
            of_versions(registry, topic, newest, columns).await.map(Some)
        }
        (None, Some(columns)) => of_columns(topic, columns, &Values::new()).map(Some),
        // Subjects may be named after records instead of topics: then the records name their schemas.
        (None, None) => of_ids(kafka, registry, topic).await,
    }
}

async fn of_registry(registry: &Registry, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let failed = |source| Error::Registry { topic: topic.name.clone(), source };
    let Some(value) = registry.latest(&topic.value_subject()).await.map_err(failed)? else { return Ok(None) };
    let key = registry.latest(&topic.key_subject()).await.map_err(failed)?;
    Ok(Some(LearnedSchemas { value: value.schema.to_string(), key: key.map(|key| key.schema.to_string()) }))
}

/// The newest schemas, with the defaults that their columns were added with.
async fn of_versions(
    registry: &Registry,
    topic: &Topic,
    newest: LearnedSchemas,
    table: Option<&SchemaRef>,
) -> Result<LearnedSchemas, Error> {
    let refused = |source| Error::BadContract { topic: topic.name.clone(), source };
    let columns = wanted(topic, &newest.value, newest.key.as_deref()).map_err(refused)?;
    if let Some(table) = table
        && covers(table.fields(), columns.fields())
    {
        // No column will be added, and the table already has its defaults.
        return Ok(newest);
    }
    let versions = match registry.versions(&topic.value_subject()).await {
        Ok(versions) => versions,
        Err(source) if source.reaction() == Reaction::Retry => {
            return Err(Error::Registry { topic: topic.name.clone(), source });
        }
        // An unreadable version gives no defaults, but is no reason to learn no columns.
        Err(_) => return Ok(newest),
    };
    let mut gathered = Gathered::default();
    for version in versions {
        // A schema that no table can hold adds no column.
        if let Ok(wanted) = wanted(topic, &version.schema, newest.key.as_deref()) {
            gathered.add(wanted, &version.schema);
        }
    }
    let said = absent::of(&newest.value, &columns);
    gathered.defaults.retain(|path, _| absent::has(&columns, path));
    if said == gathered.defaults { Ok(newest) } else { of_columns(topic, &columns, &gathered.defaults) }
}

/// The newest schemas, widened by the columns that only the table has.
fn merged(topic: &Topic, newest: LearnedSchemas, table: Option<&SchemaRef>) -> Result<LearnedSchemas, Error> {
    let wanted = wanted(topic, &newest.value, newest.key.as_deref());
    let Some(table) = table else {
        return wanted
            .map(|_| newest)
            .map_err(|source| Error::BadContract { topic: topic.name.clone(), source });
    };
    let kept = |why: String| {
        tracing::info!(topic = %topic.name, why, "the newest schema does not go into the table, which keeps its columns");
        of_columns(topic, table, &Values::new())
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return kept(error.to_string()),
    };
    match evolve::widen(table, &wanted) {
        Ok(wide) => {
            let wide = wide.unwrap_or_else(|| table.clone());
            // The registry's own text, if it has all columns.
            if covers(wanted.fields(), wide.fields()) {
                Ok(newest)
            } else {
                of_columns(topic, &wide, &Values::new())
            }
        }
        Err(clash) => kept(clash.to_string()),
    }
}

/// The columns that schemas give a table.
fn wanted(topic: &Topic, value: &str, key: Option<&str>) -> Result<SchemaRef, avro::Error> {
    let columns = bronze_schema(&topic.learn(value, key)?, value)?;
    let n = evolve::count(columns.fields());
    if n > MOST_COLUMNS {
        let what = format!("a record of {n} columns, of which {MOST_COLUMNS} are learned at most");
        return Err(avro::Error::Unsupported { path: topic.value_subject(), what });
    }
    Ok(columns)
}

/// True if `schema` has every column of `table`, with the same type.
fn covers(schema: &Fields, table: &Fields) -> bool {
    let same = |a: &DataType, b: &DataType| match (a, b) {
        (DataType::Struct(a), DataType::Struct(b)) => covers(a, b),
        (DataType::List(a), DataType::List(b)) | (DataType::Map(a, _), DataType::Map(b, _)) => {
            covers_type(a.data_type(), b.data_type())
        }
        (a, b) => a == b,
    };
    table.iter().all(|field| {
        schema.find(field.name()).is_some_and(|(_, has)| same(has.data_type(), field.data_type()))
    })
}

/// As [`covers`], for the items of a list or a map.
fn covers_type(schema: &DataType, table: &DataType) -> bool {
    let alone = |kind: &DataType| Fields::from(vec![Field::new("item", kind.clone(), true)]);
    covers(&alone(schema), &alone(table))
}

/// Learns from the schemas that sampled records name.
async fn of_ids(kafka: &Kafka, registry: &Registry, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let mut ids: Vec<(u32, Option<u32>)> = Vec::new();
    let id = |bytes: Option<&[u8]>| bytes.and_then(|bytes| Frame::decode(bytes).ok()).map(|frame| frame.id);
    sample(kafka, topic, |records| {
        for row in 0..records.len() {
            let Some(value) = id(records.value(row)) else { continue };
            if !ids.iter().any(|(seen, _)| *seen == value) {
                ids.push((value, id(records.key(row))));
            }
        }
    })
    .await?;
    let schema = async |id: u32| match registry.schema(id).await {
        Ok(schema) => Ok(Some(schema.to_string())),
        Err(error) if error.reaction() == Reaction::Retry => {
            Err(Error::Registry { topic: topic.name.clone(), source: error })
        }
        // The records of this schema become error rows.
        Err(_) => Ok(None),
    };
    let (has_ids, mut parts) = (!ids.is_empty(), Vec::new());
    for (value, key) in ids.into_iter().take(MOST_IDS) {
        let Some(value) = schema(value).await? else { continue };
        let key = match key {
            Some(key) => schema(key).await?,
            None => None,
        };
        parts.push((value, key));
    }
    match columns(topic, &parts, |value, key| {
        wanted(topic, value, key).map(|columns| (value.to_owned(), columns))
    })? {
        Some(Gathered { columns, defaults, .. }) => of_columns(topic, &columns, &defaults).map(Some),
        None if has_ids => Err(Error::NoKnownSchema { topic: topic.name.clone() }),
        None => Ok(None),
    }
}

/// Schemas of values and keys that give these columns, with these defaults.
fn of_columns(topic: &Topic, columns: &Schema, defaults: &Values) -> Result<LearnedSchemas, Error> {
    let refused = |source| Error::BadContract { topic: topic.name.clone(), source };
    let schema_of = |name: &str, columns: Schema| {
        from_arrow(name, "io.lakepulse.learned", &columns, &[]).map_err(refused)
    };
    let own = columns.fields().iter().filter(|field| !column::OF_BRONZE.contains(&field.name().as_str()));
    let own = Schema::new(own.cloned().collect::<Vec<_>>());
    let value = schema_of("Value", own.clone())?;
    let value = if defaults.is_empty() { value } else { absent::declare(&value, own.fields(), defaults) };
    let key = match columns.field_with_name(column::KEYS).map(|field| field.data_type()) {
        Ok(DataType::Struct(keys)) => Some(schema_of("Key", Schema::new(keys.clone()))?),
        _ => None,
    };
    Ok(LearnedSchemas { value, key })
}

/// Learns from the schema parts of sampled records.
async fn of_records(kafka: &Kafka, topic: &Topic) -> Result<Option<LearnedSchemas>, Error> {
    let (mut values, mut parts) = (0_u64, Vec::<(String, Option<String>)>::new());
    sample(kafka, topic, |records| {
        for row in 0..records.len() {
            let Some(value) = records.value(row) else { continue };
            values += 1;
            let Some(part) = schema_part(value) else { continue };
            let key = records.key(row).and_then(schema_part);
            if !parts.iter().any(|(seen, _)| seen == part) {
                parts.push((part.to_owned(), key.map(str::to_owned)));
            }
        }
    })
    .await?;
    match columns(topic, &parts, |value, key| columns_of(topic, value, key))? {
        Some(Gathered { columns, defaults, .. }) => of_columns(topic, &columns, &defaults).map(Some),
        None if values > 0 => Err(Error::NoSchemaPart { topic: topic.name.clone() }),
        None => Ok(None),
    }
}

/// Reads the oldest and the newest records, to find columns that were dropped as well as new ones.
async fn sample(kafka: &Kafka, topic: &Topic, mut look: impl FnMut(&Records)) -> Result<(), Error> {
    let failed = |source| Error::Stream { topic: topic.name.clone(), source };
    let admin = Admin::try_new(kafka).map_err(failed)?;
    if admin.describe(&topic.name).await.map_err(failed)?.is_none() {
        return Ok(());
    }
    let ends = admin.watermarks(&topic.name).await.map_err(failed)?;
    let first = |low: Offset, high: Offset| (low, high.min(Offset(low.0.saturating_add(SAMPLE))));
    let last = |low: Offset, high: Offset| (low.max(Offset(high.0.saturating_sub(SAMPLE))), high);
    let oldest: BTreeMap<_, _> = ends.iter().map(|(p, (low, high))| (*p, first(*low, *high))).collect();
    let newest: BTreeMap<_, _> = ends.iter().map(|(p, (low, high))| (*p, last(*low, *high))).collect();
    for spans in [oldest, newest] {
        let read = stream::read(kafka, &topic.name, &spans, |records| look(&records));
        let read = runtime::time::timeout(SAMPLE_PATIENCE, read).await;
        let late = stream::Error::TimedOut { action: "deliver a few records", waited: SAMPLE_PATIENCE };
        read.unwrap_or(Err(late)).map_err(failed)?;
    }
    Ok(())
}

/// The columns that hold all schemas, oldest first. Leaves out a schema that no table can hold, because its
/// records become error rows; returns its error if there is no other.
fn columns(
    topic: &Topic,
    parts: &[(String, Option<String>)],
    of: impl Fn(&str, Option<&str>) -> Result<(String, SchemaRef), avro::Error>,
) -> Result<Option<Gathered>, Error> {
    let (mut gathered, mut refused) = (None::<Gathered>, None);
    for (value, key) in parts {
        match of(value, key.as_deref()) {
            Ok((schema, wanted)) => gathered.get_or_insert_default().add(wanted, &schema),
            Err(source) => refused = Some(source),
        }
    }
    match (gathered, refused) {
        (None, Some(source)) => Err(Error::BadContract { topic: topic.name.clone(), source }),
        (gathered, _) => Ok(gathered),
    }
}

/// The columns of several schemas, and each column's default in the first schema that has it.
struct Gathered {
    columns: SchemaRef,
    defaults: Values,
    names: BTreeSet<String>,
}
impl Default for Gathered {
    fn default() -> Self {
        Self { columns: Arc::new(Schema::empty()), defaults: Values::new(), names: BTreeSet::new() }
    }
}
impl Gathered {
    fn add(&mut self, wanted: SchemaRef, schema: &str) {
        let mut said = absent::of(schema, &wanted);
        said.retain(|path, _| !absent::has(&self.columns, path));
        self.names.extend(avro::record_name(schema));
        self.columns = match self.columns.fields().is_empty() {
            true => wanted,
            false => evolve::widen(&self.columns, &wanted).ok().flatten().unwrap_or(self.columns.clone()),
        };
        said.retain(|path, _| absent::has(&self.columns, path));
        self.defaults.extend(said);
        // A record with another name has its own fields, so the first one's defaults do not apply to it.
        if self.names.len() > 1 {
            self.defaults.clear();
        }
    }
}

fn columns_of(topic: &Topic, value: &str, key: Option<&str>) -> Result<(String, SchemaRef), avro::Error> {
    let value = from_connect(value)?;
    let key = key.map(from_connect).transpose()?;
    let columns = wanted(topic, &value, key.as_deref())?;
    Ok((value, columns))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(fields: &[String]) -> String {
        format!(r#"{{"type":"record","name":"Row","fields":[{}]}}"#, fields.join(","))
    }
    fn field(name: &str, kind: &str) -> String {
        format!(r#"{{"name":"{name}","type":{kind}}}"#)
    }
    fn topic() -> Topic {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writable");
        write("lakepulse.yaml", "version: 1\nname: shop\n");
        write("topics.yaml", "version: 1\ntopics:\n  t.rows: {}\n");
        let project = futures::executor::block_on(catalog::load(dir.path(), "embedded"));
        project.expect("a valid project").catalog.topics.values().next().expect("a topic").clone()
    }
    fn schemas(value: String) -> LearnedSchemas {
        LearnedSchemas { value, key: None }
    }
    fn names(schema: &Schema) -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    proptest! {
        /// Whichever version is the newest, the learned schema has every column of the table.
        #[test]
        fn what_is_learned_never_lacks_a_column_of_the_table(
            versions in prop::collection::vec(
                prop::collection::btree_map("[a-e]", prop::sample::select(vec![
                    r#""int""#, r#""long""#, r#"["null","string"]"#, r#""double""#, r#"["int","string"]"#,
                    r#"{"type":"record","name":"In","fields":[{"name":"x","type":"int"}]}"#,
                    r#"{"type":"record","name":"In","fields":[{"name":"y","type":"string"}]}"#,
                ]), 0..5),
                1..5,
            ),
        ) {
            let topic = topic();
            let mut table: Option<SchemaRef> = None;
            for fields in versions {
                let fields: Vec<_> = fields.iter().map(|(name, kind)| field(name, kind)).collect();
                let newest = schemas(record(&fields));
                match merged(&topic, newest.clone(), table.as_ref()) {
                    Ok(learned) => {
                        let columns = wanted(&topic, &learned.value, learned.key.as_deref()).expect("storable");
                        if let Some(table) = &table {
                            prop_assert!(covers(columns.fields(), table.fields()), "{:?}", names(&columns));
                        }
                        table = Some(match &table {
                            Some(table) => evolve::widen(table, &columns).expect("fits").unwrap_or(table.clone()),
                            None => columns,
                        });
                    }
                    Err(Error::BadContract { .. }) => prop_assert!(table.is_none()),
                    Err(error) => prop_assert!(false, "{error}"),
                }
            }
        }
    }

    #[test]
    fn the_registrys_own_words_hold_where_they_leave_nothing_out() {
        let topic = topic();
        let (old, new) =
            (record(&[field("a", r#""int""#)]), record(&[field("a", r#""int""#), field("b", r#""int""#)]));
        let table = wanted(&topic, &old, None).expect("storable");
        assert_eq!(
            merged(&topic, schemas(new.clone()), Some(&table)).expect("learned"),
            schemas(new.clone())
        );
        let wide = wanted(&topic, &new, None).expect("storable");
        let learned = merged(&topic, schemas(old), Some(&wide)).expect("learned");
        assert_eq!(names(&wanted(&topic, &learned.value, None).expect("storable"))[..2], ["a", "b"]);
    }

    #[test]
    fn a_schema_of_very_many_columns_is_not_learned() {
        let fields: Vec<_> = (0..=MOST_COLUMNS).map(|n| field(&format!("c{n}"), r#""int""#)).collect();
        let refused = merged(&topic(), schemas(record(&fields)), None).expect_err("too wide");
        assert!(matches!(refused, Error::BadContract { .. }), "{refused}");
    }
}
