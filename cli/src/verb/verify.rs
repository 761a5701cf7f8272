//! `lakepulse verify`: one line a table; exit 4 when a claim does not hold.

use std::sync::Arc;

use anyhow::Result as Anyhow;
use model::Exit;

use crate::args::Common;
use crate::failure::Failure;
use crate::verify::{Finding, bronze, gold, silver, topic};
use crate::wiring::Wiring;

/// Checks every table and topic of the project, whatever else is found.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let wiring = Wiring::open(common).await?;
    let (project, lake) = (Arc::clone(&wiring.project), wiring.lake.clone());
    let mut findings = Vec::new();
    let mut take = |name: String, found: Anyhow<Option<Finding>>| {
        let finding = match found {
            Ok(None) => return,
            Ok(Some(finding)) => finding,
            Err(error) => Finding::unreadable(name, &error),
        };
        if !common.json {
            println!("{}", line(&finding));
            finding.faults.iter().skip(1).for_each(|fault| println!("{:>6} {fault}", ""));
        }
        findings.push(finding);
    };
    for declared in project.catalog.topics.values() {
        take(declared.table.to_string(), bronze::check(&lake, &wiring.kafka, declared).await);
    }
    for model in project.catalog.models.values() {
        if model.kind.is_silver() {
            take(model.name.to_string(), silver::check(&project, &lake, model).await);
        }
        if model.kind.is_gold() {
            take(model.name.to_string(), gold::check(&project, &lake, model).await);
            if let Some(name) = &model.publish {
                let reader = topic::Reader { kafka: &wiring.kafka, registry: &wiring.registry };
                take(name.to_string(), topic::check(&project, &lake, model, name, &reader).await);
            }
        }
    }
    wiring.close().await;
    let faults = findings.iter().filter(|finding| !finding.faults.is_empty()).count();
    if common.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else if findings.is_empty() {
        println!("nothing to verify: the lake is empty");
    } else {
        println!("{} checked, {faults} with faults", findings.len());
    }
    Ok(if faults == 0 { Exit::Done } else { Exit::Violation })
}

fn line(finding: &Finding) -> String {
    match finding.faults.first() {
        None => format!("ok    {:<42} {}", finding.name, finding.checked),
        Some(first) => format!("FAULT {:<42} {first}", finding.name),
    }
}
