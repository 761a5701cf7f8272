//! `lakepulse plan`: what `apply` would do, and what it affects downstream.

use model::Exit;
use ops::{Wiring, plan, status};

use crate::args::Common;
use crate::failure::Failure;

/// Prints the steps. Changes nothing.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, detailed_exitcode: bool) -> Result<Exit, Failure> {
    let wiring = Wiring::open(&common.location()).await?;
    let (steps, gone) = (plan::steps(&wiring).await, status::gone(&wiring.project, &wiring.lake).await);
    wiring.close().await;
    let (steps, gone) = (steps?, gone?);
    if common.json {
        println!("{}", serde_json::to_string_pretty(&steps)?);
    } else if steps.is_empty() {
        println!("nothing to apply");
    } else {
        for step in &steps {
            println!("{}", plan::text(step));
        }
        println!("{} steps; `lakepulse apply` does them", steps.len());
    }
    if !common.json {
        for table in gone {
            println!(
                "table `{table}` is declared by no file any more: it stays as it is, and nobody writes to it"
            );
        }
    }
    let changes = !steps.is_empty() && detailed_exitcode;
    Ok(if changes { Exit::Violation } else { Exit::Done })
}
