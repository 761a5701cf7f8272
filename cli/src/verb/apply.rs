//! `lakepulse apply`: brings topics, subjects, tables and models to what the project declares.

use anyhow::anyhow;
use model::Exit;
use ops::Wiring;
use ops::apply::{Applied, StepProgress, apply};
use ops::plan::text;

use crate::args::Common;
use crate::failure::Failure;

/// Runs the steps that `plan` prints.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let wiring = Wiring::open(&common.location()).await?;
    let done = apply(&wiring, |progress| println!("{}", line(&progress))).await;
    wiring.close().await;
    let Applied { steps, failed } = done?;
    match steps {
        0 if failed.is_empty() => println!("nothing to apply"),
        steps => println!("{steps} steps applied"),
    }
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(Exit::Failed, anyhow!("{} steps failed:\n{}", failed.len(), failed.join("\n"))))
}

/// The printed line of a step.
pub fn line(progress: &StepProgress<'_>) -> String {
    match progress {
        StepProgress::Begins(step) => text(step),
        StepProgress::Left(why) => format!("    left as it is: {why}"),
    }
}
