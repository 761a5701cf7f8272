//! Proves from the data alone that nothing was lost or doubled.
//!
//! Nothing is read from the stages' own counters: offsets, rows, hashes, folds and query results are
//! computed again from what is stored, and compared. One finding a table; each fault names the
//! offsets, keys or versions that break the claim.
//!
//! | module | claim |
//! | --- | --- |
//! | [`bronze`] | every offset range is there, once, with the rows and the digest its commit stated |
//! | [`silver`] | every bronze row is accounted for, and the table equals the fold of bronze |
//! | [`gold`] | the table equals its SQL over the versions it pins |
//! | [`topic`] | the compacted topic equals the table |

pub mod bronze;
pub mod compare;
pub mod gold;
pub mod silver;
pub mod topic;

use serde::Serialize;

/// What was found about one table or topic.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Table or topic.
    pub name: String,
    /// What was compared, in one line.
    pub checked: String,
    /// What does not hold. Empty: proven.
    pub faults: Vec<String>,
}
impl Finding {
    /// A finding about `name` with nothing wrong so far.
    pub fn new(name: impl ToString) -> Self {
        Self { name: name.to_string(), checked: String::new(), faults: Vec::new() }
    }
    /// A finding that could not even begin because the data cannot be read.
    pub fn unreadable(name: impl ToString, error: &anyhow::Error) -> Self {
        let faults = vec![format!("cannot be read: {error:#}")];
        Self { name: name.to_string(), checked: "nothing".to_owned(), faults }
    }
    /// Adds a fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }
}

/// Adds what differs to a finding.
fn report(difference: &compare::Difference, finding: &mut Finding) {
    if difference.is_empty() {
        return;
    }
    finding.fault(format!(
        "{} rows missing, {} too many, {} with another value",
        difference.missing, difference.extra, difference.changed
    ));
    for named in &difference.named {
        finding.fault(named.clone());
    }
}

/// Positions of a table rise from version to version, and versions have no hole.
async fn never_falls(table: &lake::Table, finding: &mut Finding) -> anyhow::Result<()> {
    let mut held: Option<(model::Version, model::Positions)> = None;
    for entry in table.log(None, table.version()).await? {
        if let Some((before, positions)) = &held {
            if entry.version != before.next() {
                finding
                    .fault(format!("versions between {before} and {} are gone from the log", entry.version));
            }
            for (app, position) in entry.positions.0.iter().filter(|(app, _)| **app != model::AppId::plan()) {
                if positions.get(app).is_some_and(|earlier| earlier > *position) {
                    finding
                        .fault(format!("version {} sets position `{app}` back to {position}", entry.version));
                }
            }
        }
        let positions = held.map(|(_, positions)| positions).unwrap_or_default().then(&entry.positions);
        held = Some((entry.version, positions));
    }
    Ok(())
}
