//! Accepts a loss, as a person decided, and records that in the table.
//!
//! A loss is a difference between the table's positions and the broker's logs. Accepting it is one commit
//! without rows. If records were deleted before they were read, the position moves to the start of the log,
//! through a range with no rows. If the topic was recreated, its former id goes to [`ENDED`], and the new
//! records belong to a later epoch ([`EPOCH`]), because their offsets start again.

use std::collections::BTreeMap;

use catalog::{Project, Topic};
use lake::digest::Sum;
use lake::{Commit, Expect, Lake, Landing, Remove, Table};
use model::{AppId, Offset, Positions, TopicId, Version};
use stage::CommitInfo;
use stream::admin::Watermarks;
use stream::{Admin, Cause, Kafka};

use crate::commit::info;
use crate::decider::OffsetRange;
use crate::open::{ENDED, EPOCH, bad_epoch, epoch_of, former_topics, ours};
use crate::{Error, Loss};

/// What was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// What is lost.
    pub losses: Vec<Loss>,
    /// The commit that records it.
    pub version: Version,
    /// The epoch of records read from now on, if it changed.
    pub epoch: Option<i64>,
}

/// Accepts all losses of a topic. `None` if there are none.
pub async fn accept(
    lake: &Lake,
    kafka: &Kafka,
    project: &Project,
    topic: &Topic,
    op: String,
) -> Result<Option<Accepted>, Error> {
    let asked = |source| Error::Stream { topic: topic.name.clone(), source };
    let failed = |source| Error::Lake { table: topic.table.clone(), source };
    let admin = Admin::try_new(kafka).map_err(asked)?;
    let found = admin.describe(&topic.name).await.map_err(asked)?;
    let id = found.ok_or_else(|| Error::NoTopic { topic: topic.name.clone() })?.id;
    let marks = admin.watermarks(&topic.name).await.map_err(asked)?;
    let table = lake.table(&topic.table).await.map_err(failed)?;
    let mut table = table.ok_or_else(|| Error::NoTable { table: topic.table.clone() })?;
    ours(&table, &project.name)?;
    let losses = losses(table.positions(), &id, table.property(ENDED), &marks);
    if losses.is_empty() {
        return Ok(None);
    }
    if let Some(loss) = losses.iter().find(|loss| matches!(loss, Loss::Truncated { .. })) {
        let (table, topic) = (topic.table.clone(), topic.name.clone());
        return Err(Error::NotAcceptable { table, topic, loss: loss.clone() });
    }
    let current = epoch_of(topic.epoch, table.property(EPOCH)).map_err(|source| bad_epoch(&table, source))?;
    let (commit, epoch) = commit(project, topic, &id, &table, current, &losses, op);
    match table.commit(&commit).await.map_err(failed)? {
        Landing::Landed(version) => Ok(Some(Accepted { losses, version, epoch })),
        Landing::Moved => Err(Error::Moved { table: topic.table.clone() }),
    }
}

/// Everything that a table can no longer read from its topic.
fn losses(positions: &Positions, now: &TopicId, ended: Option<&str>, marks: &Watermarks) -> Vec<Loss> {
    let former = former_topics(positions, now, ended);
    let recreated = former.into_iter().map(|before| Loss::Recreated { before, now: now.to_string() });
    let deleted = marks.iter().filter_map(|(partition, (low, high))| {
        let position = positions.get(&AppId::partition(now, *partition))?;
        let cause = Cause::of(Offset(position), *low, *high)?;
        Some(Loss::of(&cause, *partition, position, now))
    });
    recreated.chain(deleted).collect()
}

/// Builds the commit. Also returns the epoch after `current` if the topic was recreated.
fn commit(
    project: &Project,
    topic: &Topic,
    id: &TopicId,
    table: &Table,
    current: Option<i64>,
    losses: &[Loss],
    op: String,
) -> (Commit, Option<i64>) {
    let (mut ranges, mut properties, mut epoch) = (Vec::new(), BTreeMap::new(), None);
    let mut ended: Vec<&str> = table.property(ENDED).into_iter().collect();
    for loss in losses {
        match loss {
            Loss::Retention { partition, from, to } => {
                ranges.push(OffsetRange::passed_over(*partition, Offset(*from), Offset(*to)));
            }
            Loss::Recreated { before, .. } => ended.push(before),
            Loss::Truncated { .. } => {}
        }
    }
    if losses.iter().any(|loss| matches!(loss, Loss::Recreated { .. })) {
        let next = current.unwrap_or(0).saturating_add(1);
        properties.insert(ENDED.to_owned(), ended.join(","));
        properties.insert(EPOCH.to_owned(), next.to_string());
        epoch = Some(next);
    }
    let app = |range: &OffsetRange| AppId::partition(id, range.partition);
    let digests = vec![Sum::default(); ranges.len()];
    let mut info = info(&project.name, &topic.name, id, &ranges, &digests);
    info.accepted = losses.iter().map(ToString::to_string).collect();
    let commit = Commit {
        operation: "SET TBLPROPERTIES",
        op,
        expect: Expect::These(
            ranges.iter().map(|range| (app(range), range.position.map(|at| at.0))).collect(),
        ),
        set: ranges.iter().map(|range| (app(range), range.to.0)).collect(),
        append: Vec::new(),
        remove: Remove::Nothing,
        schema: None,
        properties,
        info: CommitInfo::Bronze(info).stored(),
    };
    (commit, epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TopicId {
        text.parse().expect("an id")
    }

    // Holds P5 (docs/invariants.md).
    #[test]
    fn what_the_broker_no_longer_has_is_lost_and_what_was_accepted_is_not_lost_again() {
        let positions = Positions::default()
            .with(AppId::partition(&id("old"), 0), 7)
            .with(AppId::partition(&id("older"), 0), 7)
            .with(AppId::partition(&id("now"), 0), 5)
            .with(AppId::partition(&id("now"), 1), 5)
            .with(AppId::partition(&id("now"), 2), 5);
        let marks = [(0, (2, 9)), (1, (6, 9)), (2, (0, 4)), (3, (3, 3))];
        let marks = marks.map(|(partition, (low, high))| (partition, (Offset(low), Offset(high)))).into();
        assert_eq!(
            losses(&positions, &id("now"), Some("older"), &marks),
            [
                Loss::Recreated { before: "old".to_owned(), now: "now".to_owned() },
                Loss::Retention { partition: 1, from: 5, to: 6 },
                Loss::Truncated { partition: 2, from: 5, end: 4 },
            ]
        );
    }
}
