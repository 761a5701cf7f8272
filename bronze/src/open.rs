//! Opens or creates a topic's table and checks that the two belong together.
//!
//! Positions are kept by the topic's id. A table with positions of another id was read from a topic that no
//! longer exists. The new topic's records do not continue it, so the table halts until a person has ended the
//! old topic in the table's property [`ENDED`].

use std::collections::BTreeSet;
use std::num::ParseIntError;

use catalog::columns::bronze_schema_of;
use catalog::{KEEPS, READING, Topic};
use lake::{Lake, Table, TableSpec};
use model::{Positions, ProjectName, TopicId, column};
use stream::{Admin, Kafka, Registry};

use crate::{Error, Loss, absent, learn};

/// Property of a bronze table: comma-separated ids of former topics of its name, whose end was accepted.
pub const ENDED: &str = "lakepulse.ended_topics";

/// Property of a bronze table: the epoch of its records. A later epoch of a record or the contract takes
/// precedence.
pub const EPOCH: &str = "lakepulse.epoch";

/// A topic with its table.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The topic, with the schemas that its contract does not declare.
    pub topic: Topic,
    pub topic_id: TopicId,
    pub table: Table,
}

/// Finds topic and table. Creates the table if `create` is set.
pub(crate) async fn open(
    lake: &Lake,
    kafka: &Kafka,
    admin: &Admin,
    registry: &Registry,
    project: &ProjectName,
    topic: &Topic,
    create: bool,
) -> Result<Opened, Error> {
    let found = admin.describe(&topic.name).await;
    let found = found.map_err(|source| Error::Stream { topic: topic.name.clone(), source })?;
    let found = found.ok_or_else(|| Error::NoTopic { topic: topic.name.clone() })?;
    let mut topic = learned(lake, kafka, registry, topic.clone()).await?;
    let table = lake.table(&topic.table).await;
    let table = match table.map_err(|source| Error::Lake { table: topic.table.clone(), source })? {
        Some(table) => table,
        None if create => create_table(lake, project, &topic).await?,
        None => return Err(Error::NoTable { table: topic.table.clone() }),
    };
    ours(&table, project)?;
    let mut former = former_topics(table.positions(), &found.id, table.property(ENDED));
    if let Some(before) = former.pop_first() {
        let loss = Loss::Recreated { before, now: found.id.to_string() };
        return Err(Error::Loss { table: topic.table.clone(), topic: topic.name.clone(), loss });
    }
    topic.epoch = epoch_of(topic.epoch, table.property(EPOCH)).map_err(|source| bad_epoch(&table, source))?;
    Ok(Opened { topic_id: found.id, table, topic })
}

/// Returns an error if the table belongs to another project.
pub(crate) fn ours(table: &Table, project: &ProjectName) -> Result<(), Error> {
    if table.project() == Some(project.as_str()) {
        return Ok(());
    }
    let owner = table.project().unwrap_or("(none)").to_owned();
    let (name, project) = (table.name().to_string(), project.to_string());
    let source = lake::Error::ForeignTable { table: name, owner, project };
    Err(Error::Lake { table: table.name().clone(), source })
}

/// Creates the empty table of a topic, or opens one that another process created meanwhile.
pub async fn create_table(lake: &Lake, project: &ProjectName, topic: &Topic) -> Result<Table, Error> {
    let refused = |source| Error::BadContract { topic: topic.name.clone(), source };
    let schema = bronze_schema_of(topic).map_err(refused)?;
    let schema = schema.ok_or_else(|| Error::NoSchema { topic: topic.name.clone() })?;
    let mut spec = TableSpec::new(project.clone(), schema);
    spec.partition_by = vec![column::INGESTED_DATE.to_owned()];
    spec.deletion_vectors = false;
    spec.append_only = true;
    spec.description = topic.description.clone();
    if let Some(defaults) = absent::property(topic, &spec.schema) {
        spec.properties.insert(lake::DEFAULTS.to_owned(), defaults);
    }
    spec.properties.insert(READING.to_owned(), topic.reading());
    spec.properties.insert(KEEPS.to_owned(), topic.name.to_string());
    let created = lake.create(&topic.table, spec).await;
    created.map_err(|source| Error::Lake { table: topic.table.clone(), source })
}

/// The topic, with the schemas that its contract does not declare.
async fn learned(lake: &Lake, kafka: &Kafka, registry: &Registry, topic: Topic) -> Result<Topic, Error> {
    if !topic.is_unlearned() {
        return Ok(topic);
    }
    let learned = learn(lake, kafka, registry, &topic).await?;
    let learned = learned.ok_or_else(|| Error::NoSchema { topic: topic.name.clone() })?;
    let refused = |source| Error::BadContract { topic: topic.name.clone(), source };
    topic.learn(&learned.value, learned.key.as_deref()).map_err(refused)
}

/// The epoch of a table's next records: the later of the contract's and the table's. An unreadable one is an
/// error, because it may be the later one, and records would get a lower epoch than rows in the table.
pub(crate) fn epoch_of(declared: Option<i64>, recorded: Option<&str>) -> Result<Option<i64>, ParseIntError> {
    Ok(declared.max(recorded.map(str::parse).transpose()?))
}

/// Builds the error for an unreadable epoch.
pub(crate) fn bad_epoch(table: &Table, source: ParseIntError) -> Error {
    let found = table.property(EPOCH).unwrap_or_default().into();
    Error::BadEpoch { table: table.name().clone(), found, source }
}

/// Ids of other topics among the positions, except those whose end was accepted.
pub(crate) fn former_topics(positions: &Positions, now: &TopicId, ended: Option<&str>) -> BTreeSet<String> {
    let ended: Vec<&str> = ended.unwrap_or_default().split(',').map(str::trim).collect();
    let ids = positions.0.keys().filter_map(|app| {
        let (id, partition) = app.as_str().strip_prefix("lp/")?.rsplit_once('/')?;
        partition.parse::<i32>().ok().map(|_| id)
    });
    ids.filter(|id| *id != now.as_str() && !ended.contains(id)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use model::{AppId, TableId};

    use super::*;

    fn id(text: &str) -> TopicId {
        text.parse().expect("an id")
    }

    #[test]
    fn the_later_epoch_holds() {
        assert_eq!(epoch_of(None, None), Ok(None));
        assert_eq!(epoch_of(None, Some("1")), Ok(Some(1)));
        assert_eq!(epoch_of(Some(3), Some("2")), Ok(Some(3)));
    }

    #[test]
    fn an_epoch_that_cannot_be_read_is_not_the_first_one() {
        for recorded in ["", "two", "1.5", "9223372036854775808"] {
            assert!(epoch_of(None, Some(recorded)).is_err(), "{recorded}");
            assert!(epoch_of(Some(3), Some(recorded)).is_err(), "{recorded}");
        }
    }

    #[test]
    fn a_position_of_another_topic_is_found_unless_its_end_was_accepted() {
        let table: TableId = "t".parse().expect("an id");
        let positions = Positions::default()
            .with(AppId::partition(&id("old"), 3), 7)
            .with(AppId::partition(&id("new"), 0), 1)
            .with(AppId::compaction(), 1)
            .with(AppId::table(&table), 2);
        let former = |ended| former_topics(&positions, &id("new"), ended);
        assert_eq!(former(None), BTreeSet::from(["old".to_owned()]));
        assert_eq!(former(Some("older, old")), BTreeSet::new());
    }
}
