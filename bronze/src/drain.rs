//! Waits until everything on the topics is in the tables, whichever process wrote it.
//!
//! [`crate::PartitionProgress`] covers the partitions of this process. For partitions that others own, or that
//! have no owner during a rebalance, the tables' positions count. So the last running instance also waits for
//! the work of crashed ones.

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::Project;
use lake::Lake;
use model::{AppId, Offset, Positions, TopicName};
use stream::{Admin, Kafka};

use crate::{Error, PartitionProgress};

/// Ends of logs by topic and partition.
pub type Ends = BTreeMap<(TopicName, i32), Offset>;

/// Pause between two looks at the tables of others.
const PAUSE: Duration = Duration::from_millis(250);

/// The ends of the bronze topics: behind the last record of each partition, without transaction markers, so
/// that a table's position can reach them.
pub async fn ends(kafka: &Kafka, project: &Project) -> Result<Ends, Error> {
    let mut ends = Ends::new();
    for topic in project.catalog.topics.keys() {
        let tail = stream::tail(kafka, topic).await;
        let tail = tail.map_err(|source| Error::Stream { topic: topic.clone(), source })?;
        ends.extend(
            tail.into_iter().map(|(partition, last)| ((topic.clone(), partition), last.offset.next())),
        );
    }
    Ok(ends)
}

/// Returns once every partition has reached its end, here or in another process. Does not wait for tables
/// that halted here.
pub async fn until_drained(
    lake: &Lake,
    kafka: &Kafka,
    project: &Project,
    progress: &PartitionProgress,
    ends: &Ends,
) -> Result<(), Error> {
    let admin = Admin::try_new(kafka).map_err(|source| Error::Consumer { source })?;
    loop {
        progress.wait_past(ends).await;
        let others = progress.not_ours(ends);
        if others.is_empty() || are_in_tables(lake, &admin, project, &others).await {
            return Ok(());
        }
        runtime::time::sleep(PAUSE).await;
    }
}

async fn are_in_tables(lake: &Lake, admin: &Admin, project: &Project, ends: &Ends) -> bool {
    let mut asked: BTreeMap<&TopicName, Option<(model::TopicId, Positions)>> = BTreeMap::new();
    for ((topic, partition), end) in ends {
        if !asked.contains_key(topic) {
            asked.insert(topic, positions(lake, admin, project, topic).await);
        }
        let known = asked.get(topic).and_then(Option::as_ref);
        let position = known.and_then(|(id, positions)| positions.get(&AppId::partition(id, *partition)));
        if position.is_none_or(|position| position < end.0) {
            return false;
        }
    }
    true
}

/// The positions of a topic's table; `None` if they cannot be read now.
async fn positions(
    lake: &Lake,
    admin: &Admin,
    project: &Project,
    topic: &TopicName,
) -> Option<(model::TopicId, Positions)> {
    let table = &project.catalog.topics.get(topic)?.table;
    let table = lake.table(table).await.ok()??;
    let info = admin.describe(topic).await.ok()??;
    Some((info.id, table.positions().clone()))
}
