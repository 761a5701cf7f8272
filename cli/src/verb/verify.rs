//! `lakepulse verify`: one line per table. Exits with 4 if a claim does not hold, or with 3 if all hold but
//! models with a fault were left out.

use model::Exit;
use ops::verify::duckdb::DuckDb;
use ops::verify::{Finding, Scope, run as verify};
use ops::{Wiring, select};

use crate::args::{Common, Second};
use crate::failure::Failure;
use crate::sound::sound;

/// Checks every table and topic of the project, even after faults.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, deep: bool, with: Option<Second>) -> Result<Exit, Failure> {
    let duckdb = match with {
        Some(Second::Duckdb) => Some(DuckDb::find()?),
        None => None,
    };
    let sound = sound(common).await?;
    let wiring = Wiring::open_sound(&common.location(), &sound).await?;
    let select = select::tables(&wiring.project.catalog, &common.select)?;
    let scope = Scope { deep, with: duckdb.as_ref(), select: &select, ..Scope::of(&wiring) };
    let print = |finding: &Finding| {
        if !common.json {
            lines(finding).iter().for_each(|line| println!("{line}"));
        }
    };
    let findings = verify(&scope, print).await;
    wiring.close().await;
    let faults = findings.iter().filter(|finding| !finding.faults.is_empty()).count();
    let empty = findings.iter().filter(|finding| finding.is_empty()).count();
    if common.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else if empty == findings.len() {
        println!("nothing to verify: no topic holds a record, and the lake is empty");
    } else {
        let checked = findings.len() - empty;
        let rest = if empty == 0 { String::new() } else { format!(", {empty} with nothing to check") };
        println!("{checked} checked, {faults} with faults{rest}");
    }
    // Models that were left out are not proven.
    Ok(match (faults, sound.left_out.is_empty()) {
        (0, true) => Exit::Done,
        (0, false) => Exit::InvalidProject,
        _ => Exit::Violation,
    })
}

/// The lines of a finding: the verdict, then every other fault, then what was not checked.
fn lines(finding: &Finding) -> Vec<String> {
    let (word, mut rest) = match (finding.faults.as_slice(), finding.checked.is_empty()) {
        ([], true) => ("-", finding.unchecked.as_slice()),
        ([], false) => ("ok", &[][..]),
        (faults, _) => ("FAULT", faults),
    };
    let first = rest.split_off_first().map_or(finding.checked.as_str(), String::as_str);
    let mut lines = vec![format!("{word:<5} {:<42} {first}", finding.name)];
    lines.extend(rest.iter().map(|more| format!("      {more}")));
    if word != "-" {
        lines.extend(finding.unchecked.iter().map(|left| format!("      not checked: {left}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_without_a_check_is_never_ok() {
        let mut finding = Finding::new("silver.a");
        finding.leave_out("there is no such table");
        assert!(lines(&finding)[0].starts_with("-     silver.a"), "{:?}", lines(&finding));
        finding.fault("one");
        finding.fault("two");
        let text = lines(&finding).join("\n");
        assert!(text.starts_with("FAULT silver.a") && text.contains("two") && text.contains("not checked"));
    }
}
