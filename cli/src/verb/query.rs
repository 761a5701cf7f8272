//! `lakepulse query`: SQL over the lake, at the current or an earlier version.

use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use model::Exit;
use ops::{query, wiring};

use crate::args::{Common, Format};
use crate::failure::Failure;
use crate::sound::sound;
use crate::{out, print};

/// Runs `sql` and prints its rows.
pub async fn run(common: &Common, sql: &str, format: Format) -> Result<Exit, Failure> {
    let project = sound(common).await?.project;
    let lake = wiring::lake(&project, Arc::new(runtime::RandomIds)).await?;
    let batches = query::rows(&project, &lake, sql).await?;
    let format = if common.json { Format::Json } else { format };
    let mut report = BufWriter::with_capacity(1 << 16, out::Report);
    print::rows(&mut report, &batches, format)?;
    report.flush()?;
    Ok(Exit::Done)
}
