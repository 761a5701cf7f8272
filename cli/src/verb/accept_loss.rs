//! `lakepulse accept-loss`: go on without what a topic has lost, and record that a person said so.

use anyhow::anyhow;
use bronze::Accepted;
use model::{Exit, TopicName};
use serde_json::json;

use crate::args::Common;
use crate::failure::Failure;
use crate::wiring::Wiring;

/// Accepts what is lost of the topic, and prints it.
pub async fn run(common: &Common, topic: &str) -> Result<Exit, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, anyhow!(why));
    let name: TopicName = topic.parse().map_err(|error| usage(format!("`{topic}`: {error}")))?;
    let wiring = Wiring::open(common).await?;
    let done = accept(&wiring, &name).await;
    wiring.close().await;
    print(common, &name, done?);
    Ok(Exit::Done)
}

async fn accept(wiring: &Wiring, name: &TopicName) -> Result<Option<Accepted>, Failure> {
    let Some(topic) = wiring.project.catalog.topics.get(name) else {
        let why = anyhow!("topic `{name}` is not declared; `lakepulse status` lists what is");
        return Err(Failure::new(Exit::Usage, why));
    };
    let (lake, kafka, project) = (&wiring.lake, &wiring.kafka, &wiring.project);
    let accepted = bronze::accept(lake, kafka, project, topic, wiring.ids.ulid()).await;
    accepted.map_err(|error| Failure::of(error.reaction(), error))
}

#[allow(clippy::print_stdout, reason = "this is the verb's output")]
fn print(common: &Common, topic: &TopicName, accepted: Option<Accepted>) {
    let losses: Vec<String> =
        accepted.iter().flat_map(|accepted| &accepted.losses).map(ToString::to_string).collect();
    if common.json {
        let version = accepted.as_ref().map(|accepted| accepted.version.0);
        let epoch = accepted.as_ref().and_then(|accepted| accepted.epoch);
        println!("{}", json!({ "topic": topic, "accepted": losses, "version": version, "epoch": epoch }));
        return;
    }
    let Some(Accepted { version, epoch, .. }) = accepted else {
        return println!("nothing of `{topic}` is lost");
    };
    for loss in losses {
        println!("accepted: {loss}");
    }
    print!("version {version} of its table says so");
    match epoch {
        Some(epoch) => println!(", and what comes is of epoch {epoch}: newer than all that came before"),
        None => println!(),
    }
    println!("a stage that halted goes on when it is started again");
}
