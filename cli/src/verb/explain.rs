//! `lakepulse explain`: how a table is maintained, and why in that way.

use anyhow::anyhow;
use catalog::Kind;
use model::{Exit, TableName};

use crate::args::Common;
use crate::failure::Failure;
use crate::sound::sound;

/// Prints what the model means for its stage.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, table: &str) -> Result<Exit, Failure> {
    let project = sound(common).await?.project;
    let name: TableName =
        table.parse().map_err(|error| Failure::new(Exit::Usage, anyhow::Error::from(error)))?;
    if let Some(topic) = project.catalog.topic_of(&name) {
        println!("{name}: append only, every record of topic `{}`, one Delta commit a batch", topic.name);
        println!("  positions: one `txn` per (topic id, partition); nothing else remembers them");
        return Ok(Exit::Done);
    }
    let model = project
        .catalog
        .models
        .get(&name)
        .ok_or_else(|| Failure::new(Exit::Usage, anyhow!("no table `{name}` in the project")))?;
    let inputs = model.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    println!("{name}: {} over {inputs}", model.kind.as_str());
    println!("  model: {}", model.location);
    match model.kind {
        Kind::Scd1 => {
            println!("  upsert by key ({}): the newest event in sequence order wins", model.keys.join(", "))
        }
        Kind::Scd2 => println!("  a version a change of key ({}), in sequence order", model.keys.join(", ")),
        Kind::Append => println!("  every event once"),
        Kind::View => println!("  not stored: expanded where it is used"),
        Kind::Table => {
            let method = gold::method(&project.catalog, model).await?;
            println!("  refresh: {}", method.explain());
        }
    }
    for expectation in &model.expectations {
        println!(
            "  expect {}: {} else {}",
            expectation.name,
            expectation.predicate,
            expectation.otherwise.as_str()
        );
    }
    if let Some(topic) = &model.publish {
        println!("  published on `{topic}`, keyed, one Kafka transaction a version");
    }
    println!("  fingerprint {:016x}", model.fingerprint);
    Ok(Exit::Done)
}
