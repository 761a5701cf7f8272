//! `lakepulse ingest`: what a source holds, onto a declared topic.

use std::time::Duration;

use anyhow::anyhow;
use ingest::files::Feed;
use model::{Exit, TopicName};

use crate::args::{Common, IngestSource};
use crate::failure::Failure;
use crate::wiring::Wiring;
use crate::{interrupt, sources};

/// Publishes until stopped, or until the folder has been published when so asked.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, source: IngestSource) -> Result<Exit, Failure> {
    let IngestSource::Files { dir, topic, dead_letters, until_drained } = source;
    let name = |text: String| text.parse::<TopicName>().map_err(|error| Failure::new(Exit::Usage, error));
    let dead_letters = dead_letters.unwrap_or_else(|| format!("{topic}.dlq"));
    let (topic, dead_letter) = (name(topic)?, name(dead_letters)?);
    let dir = if dir.is_absolute() { dir } else { common.project.join(dir) };
    let wiring = Wiring::open(common).await?;
    let declared = |topic: &TopicName| {
        let undeclared = || anyhow!("topic `{topic}` is not declared in topics.yaml");
        wiring.project.catalog.contract(topic).ok_or_else(|| Failure::new(Exit::Usage, undeclared()))
    };
    declared(&dead_letter)?;
    let poll = Duration::from_millis(200);
    let feed = Feed { dir, format: None, topic: declared(&topic)?, dead_letter, poll, once: until_drained };
    let quit = interrupt::token();
    if wiring.host.is_some() {
        super::apply::prepare(&wiring).await?;
    } else if !super::apply::applied(&wiring, "ingest", [&feed.topic.name, &feed.dead_letter], &quit).await? {
        return Ok(Exit::Done);
    }
    let published = ingest::files::run(sources::files(&wiring), feed, quit).await;
    wiring.close().await;
    let published = published.map_err(|error| Failure::new(Exit::Halted, error))?;
    println!(
        "{} files, {} rows published, {} lines to the dead letters",
        published.files, published.records, published.bad_lines
    );
    Ok(Exit::Done)
}
