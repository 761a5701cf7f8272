//! One file per verb.

mod accept_loss;
mod apply;
mod doctor;
mod explain;
mod health;
mod ingest;
mod init;
mod maintain;
mod plan;
mod query;
mod register;
mod sim;
mod stage;
mod status;
mod up;
mod validate;
mod verify;

use model::Exit;
use ops::StageKind;

use crate::args::{Cli, Verb};
use crate::failure::Failure;

/// Runs the verb in the arguments.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let common = cli.common;
    match cli.verb {
        Verb::Init => init::run(&common),
        Verb::Validate { schemas, rules } => {
            validate::run(&common, schemas.as_deref(), rules.as_deref()).await
        }
        Verb::Plan { detailed_exitcode } => plan::run(&common, detailed_exitcode).await,
        Verb::Apply => apply::run(&common).await,
        Verb::Up { workload, until_drained, no_sources, plain } => {
            up::run(&common, up::Options { workload, until_drained, no_sources, plain }).await
        }
        Verb::Sim { workload, into, discard } => sim::run(&common, &workload, into.as_deref(), discard).await,
        Verb::Ingest { source } => ingest::run(&common, source).await,
        Verb::Bronze(options) => stage::run(&common, StageKind::Bronze, &options).await,
        Verb::Silver(options) => stage::run(&common, StageKind::Silver, &options).await,
        Verb::Gold(options) => stage::run(&common, StageKind::Gold, &options).await,
        Verb::Health => health::run(&common).await,
        Verb::Status => status::run(&common).await,
        Verb::Verify { deep, with } => verify::run(&common, deep, with).await,
        Verb::Doctor => doctor::run(&common).await,
        Verb::AcceptLoss { topic } => accept_loss::run(&common, &topic).await,
        Verb::Maintain => maintain::run(&common).await,
        Verb::Explain { table } => explain::run(&common, &table).await,
        Verb::Register { engine, catalog } => register::run(&common, engine, &catalog).await,
        Verb::Query { sql, format } => query::run(&common, &sql, format).await,
    }
}
