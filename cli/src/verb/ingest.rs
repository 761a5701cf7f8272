//! `lakepulse ingest`: publishes the content of a source on a declared topic.

use std::time::Duration;

use model::{Exit, TopicName};
use ops::Wiring;
use ops::apply::prepare;
use ops::sources::{self, Asked};
use runtime::{Phase, Tasks};

use crate::args::{Common, IngestSource};
use crate::failure::Failure;
use crate::interrupt;
use crate::launch::{self, Ended, Show};
use crate::view::{Preview, View};

/// Publishes until stopped; with `--until-drained`, until everything has been published.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, source: IngestSource) -> Result<Exit, Failure> {
    let (dir, topic, dead_letters, until_drained) = match source {
        IngestSource::Files { dir, topic, dead_letters, until_drained } => {
            (dir, topic, dead_letters, until_drained)
        }
        IngestSource::Postgres { source, snapshot, new_epoch, until_drained } => {
            let asked = Asked { snapshot: snapshot.into_iter().collect(), new_epoch };
            return database(common, source.as_deref(), asked, until_drained).await;
        }
    };
    let name = |text: String| text.parse::<TopicName>().map_err(|error| Failure::new(Exit::Usage, error));
    let dead_letters = dead_letters.unwrap_or_else(|| format!("{topic}.dlq"));
    let (topic, dead_letter) = (name(topic)?, name(dead_letters)?);
    let dir = if dir.is_absolute() { dir } else { common.project.join(dir) };
    let wiring = Wiring::open(&common.location()).await?;
    let quit = interrupt::token();
    let published = sources::publish_folder(&wiring, dir, &topic, &dead_letter, until_drained, &quit).await;
    wiring.close().await;
    let Some(published) = published? else { return Ok(Exit::Done) };
    let aside = match published.aside {
        0 => String::new(),
        aside => format!(", {aside} set aside and not read"),
    };
    println!(
        "{} files, {} rows published, {} lines to the dead letters{aside}",
        published.files, published.rows, published.bad_lines
    );
    Ok(Exit::Done)
}

/// How long each phase may take to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Publishes the changes of a database.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
async fn database(
    common: &Common,
    name: Option<&str>,
    asked: Asked,
    until_drained: bool,
) -> Result<Exit, Failure> {
    let wiring = Wiring::open(&common.location()).await?;
    let quit = interrupt::token();
    let mut tasks: Tasks<Ended> = Tasks::default();
    let published = async {
        let mut connector = sources::database(&wiring, name, asked, until_drained)?;
        if wiring.host.is_some() {
            prepare(&wiring).await?;
        }
        // Serve metrics, because a source that runs for months needs monitoring: its lag and the size of its
        // slot.
        let show = Show { title: "ingest", view: View::Plain, preview: Preview::default() };
        launch::telemetry(common, &wiring, show, &quit, &mut tasks).await?;
        let stop = tasks.stop(Phase::Sources);
        let following = sources::run(&mut connector, &stop);
        tokio::pin!(following);
        let published = tokio::select! {
            published = &mut following => published,
            () = quit.cancelled() => {
                stop.cancel();
                following.await
            }
        };
        Ok::<_, Failure>(published?)
    }
    .await;
    let _ = tasks.shut_down(GRACE).await;
    wiring.close().await;
    let published = published?;
    println!(
        "{} records published, {} changes that their schema cannot hold",
        published.records, published.bad
    );
    Ok(Exit::Done)
}
