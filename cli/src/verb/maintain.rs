//! `lakepulse maintain`: runs the upkeep of the selected tables now.

use model::Exit;
use ops::maintain::{UpkeepReport, tables};
use ops::{Wiring, select};

use crate::args::Common;
use crate::failure::Failure;

/// Prints one line per table.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let wiring = Wiring::open(&common.location()).await?;
    let done = match select::tables(&wiring.project.catalog, &common.select) {
        Ok(select) => tables(&wiring, &select).await,
        Err(error) => Err(error),
    };
    wiring.close().await;
    let done = done?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
        return Ok(Exit::Done);
    }
    println!(
        "{:<38} {:>9} {:>7} {:>13} {:>8} {:>10}",
        "table", "compacted", "files", "bytes", "entries", "kept from"
    );
    for UpkeepReport { table, compacted, files, bytes, entries, kept_from } in done {
        let kept_from = kept_from.map_or_else(|| "–".to_owned(), |version| version.to_string());
        println!(
            "{:<38} {compacted:>9} {files:>7} {bytes:>13} {entries:>8} {kept_from:>10}",
            table.to_string()
        );
    }
    Ok(Exit::Done)
}
