//! `lakepulse accept-loss`: continues without the records that a topic has lost, and records that decision.

use anyhow::anyhow;
use model::{Exit, TopicName};
use ops::Wiring;
use ops::loss::{self, Accepted};
use serde_json::json;

use crate::args::Common;
use crate::failure::Failure;

/// Accepts the losses of the topic and prints them.
pub async fn run(common: &Common, topic: &str) -> Result<Exit, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, anyhow!(why));
    let name: TopicName = topic.parse().map_err(|error| usage(format!("`{topic}`: {error}")))?;
    let wiring = Wiring::open(&common.location()).await?;
    let done = loss::accept(&wiring, &name).await;
    wiring.close().await;
    print(common, &name, done?);
    Ok(Exit::Done)
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
