//! Gives a topic to another table.

use lake::Table;
use model::{ProjectName, TopicName};
use stream::Kafka;

use super::producer::Exclusive;
use super::progress::read;
use crate::Progress;
use crate::error::{OfTable as _, Result};

/// Gives a topic to a table, whatever it holds: a publisher then deletes what the table lacks and publishes
/// the whole table. Shuts out former publishers of the topic and deletes their progress.
pub async fn claim(kafka: &Kafka, project: &ProjectName, table: &Table, topic: &TopicName) -> Result<()> {
    let name = table.name();
    let mine = Exclusive::open(kafka, project, name).await?;
    for other in read(kafka, project).await.of(name)?.decoded()? {
        if other.destination != topic.as_str() || other.table == *name {
            continue;
        }
        let before = Exclusive::open(kafka, project, &other.table).await?;
        before.begin().await?;
        before.forget(&other)?;
        before.flush().await?;
        before.commit().await?;
        tracing::info!(topic = %topic, from = %other.table, to = %name, "topic changes hands");
    }
    mine.begin().await?;
    mine.note(&Progress::first(table.id().clone(), name.clone(), topic.to_string(), table.version()))?;
    mine.flush().await?;
    mine.commit().await
}
