//! `lakepulse doctor`: checks every service of the target.

use model::Exit;
use ops::doctor::{self, Check, Verdict};
use ops::wiring;

use crate::args::Common;
use crate::failure::Failure;

/// Prints one line per check as soon as it is known, or all as JSON. Exits with 1 if one fails.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let project = wiring::project(&common.location()).await?;
    let say = |check: &Check| {
        if !common.json {
            println!("{check}");
        }
    };
    let checks = doctor::examine(&project, say).await;
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
    if common.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        println!(
            "{} checks on `{}`: {failed} failed, {warned} to look at",
            checks.len(),
            project.target.name
        );
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}
