//! Commits rows and pins of a gold table together.
//!
//! Order of writes: (1) the files of new and changed rows are staged; no version refers to them. (2) One
//! commit removes the old rows of their keys, adds the files, and sets **all** positions of the table: the
//! pins, `as_of`, the fingerprint. It lands only if they still equal those that the refresh was computed
//! from.
//!
//! A crash before (1) leaves nothing, between the two orphans for vacuum, after (2) a complete version. The
//! next process reads the pins and computes the refresh again from there, with the same rows, because they
//! depend only on the pins. After an error of (2) it is unknown whether it landed; the *same* commit is tried
//! again and lands at most once ([`stage::commit`]).

use std::collections::BTreeMap;

use lake::{Commit, Expect, Landing, Remove, Table};
use model::{ClockMs, Positions, ProjectName};
use runtime::CancellationToken;
use stage::{CommitInfo, info};

use crate::difference::Difference;
use crate::error::{OfTable as _, Result};
use crate::judge::Verdict;
use crate::refresh::Input;

/// The commit's info, before it is known which rows change.
pub fn info(project: &ProjectName, inputs: &[Input], as_of: ClockMs, method: &str) -> info::GoldCommit {
    let pin = |input: &Input| {
        (input.name.to_string(), info::Pin { id: input.id.to_string(), version: input.version.0 })
    };
    info::GoldCommit {
        project: project.to_string(),
        pins: inputs.iter().map(pin).collect(),
        as_of,
        method: method.to_owned(),
        inserted: None,
        updated: None,
        deleted: None,
        newest_arrival_ms: None,
        broken: BTreeMap::new(),
        traceparent: None,
    }
}

/// The number of rows that break each expectation, by its name.
pub fn broken(verdicts: &[Verdict]) -> BTreeMap<String, u64> {
    verdicts.iter().filter(|v| v.failed > 0).map(|v| (v.name.clone(), v.failed)).collect()
}

/// Writes a difference, or only the pins if there is none, and sets the positions. `op`: ULID of the
/// operation.
pub async fn commit(
    table: &mut Table,
    op: String,
    difference: Option<Difference>,
    set: Positions,
    mut info: info::GoldCommit,
    stop: &CancellationToken,
) -> Result<Landing> {
    let name = table.name().clone();
    let expect = Expect::All(table.positions().clone());
    let mut commit = base(op, table.positions().then(&set), expect);
    if let Some(difference) = difference.filter(|d| !d.is_empty()) {
        commit.operation = "MERGE";
        info.inserted = Some(difference.inserted() as u64);
        info.updated = Some(difference.changed as u64);
        info.deleted = Some(difference.deleted() as u64);
        if difference.append.num_rows() > 0 {
            commit.append = table.stage(vec![difference.append]).await.of(&name)?;
        }
        if difference.remove.rows.num_rows() > 0 {
            commit.remove = Remove::Keys(difference.remove);
        }
    }
    commit.info = CommitInfo::Gold(info).stored();
    stage::commit(table, &commit, stop).await.of(&name)
}

/// A commit without rows or info.
pub(crate) fn base(op: String, set: Positions, expect: Expect) -> Commit {
    Commit {
        operation: "WRITE",
        op,
        expect,
        set,
        append: Vec::new(),
        remove: Remove::Nothing,
        schema: None,
        properties: BTreeMap::new(),
        info: serde_json::Map::new(),
    }
}
