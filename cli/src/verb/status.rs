//! `lakepulse status`: versions, rows, positions and lag of every table.

use std::sync::Arc;

use model::Exit;
use ops::{status, wiring};

use crate::args::Common;
use crate::failure::Failure;
use crate::sound::sound;

/// Prints one line per table. Reads only the lake; no stage has to run.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let project = sound(common).await?.project;
    let lake = wiring::lake(&project, Arc::new(runtime::RandomIds)).await?;
    let tables = status::tables(&project, &lake).await?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&tables)?);
        return Ok(Exit::Done);
    }
    println!(
        "{:<38} {:<7} {:>8} {:>12} {:>7} {:>8} {:>12}",
        "table", "kind", "version", "rows", "files", "behind", "quarantined"
    );
    for table in &tables {
        let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
        println!(
            "{:<38} {:<7} {:>8} {:>12} {:>7} {:>8} {:>12}",
            table.table.to_string(),
            table.kind,
            number(table.version),
            number(table.rows),
            number(table.files.map(|n| n as u64)),
            number(table.behind.map(|n| n as u64)),
            number(table.quarantined)
        );
    }
    for table in &tables {
        for (stage, reason) in &table.halted {
            println!("HALTED {stage} of {}: {reason}", table.table);
        }
    }
    Ok(Exit::Done)
}
