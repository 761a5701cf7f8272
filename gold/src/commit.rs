//! One commit of a gold table: rows and pins together.
//!
//! Order of writes: (1) the files of new and changed rows are staged; nothing names them. (2) One
//! commit takes the old rows of their keys out, names the files, and sets **all** positions of the
//! table: the pins, `as_of`, the fingerprint. It lands only while all of them still are what the
//! refresh was computed from.
//!
//! A crash before (1) leaves nothing, between the two orphans for vacuum, after (2) a complete
//! version. Whoever comes next reads the pins and computes the refresh again from there: the same
//! rows, as they are a function of the pins. An error of (2) does not say whether it landed; the
//! *same* commit is given again and lands once at most.

use std::time::Duration;

use lake::{Commit, Expect, Landing, Remove, Table};
use model::{Positions, ProjectName, Reaction, TableName};
use runtime::Backoff;
use runtime::traces::{Cause, TRACEPARENT};
use serde_json::{Map, json};

use crate::difference::Difference;
use crate::error::{OfTable as _, Result};
use crate::inputs::NEWEST_ARRIVAL;
use crate::judge::Verdict;
use crate::refresh::Input;

/// How often one commit is tried before its loop starts over from the table.
const TRIES: usize = 5;

/// What a commit says about itself, for people.
#[derive(Debug, Clone)]
pub struct Story<'a> {
    /// Whose table it is.
    pub project: &'a ProjectName,
    /// ULID of the operation.
    pub op: String,
    /// How the rows were found.
    pub method: String,
    /// What they were computed from.
    pub inputs: &'a [Input],
    /// The pinned time.
    pub as_of: model::ClockMs,
    /// The newest Kafka timestamp behind the rows, milliseconds.
    pub arrived: Option<i64>,
    /// What was found of the rows it writes.
    pub verdicts: Vec<Verdict>,
    /// The span of this commit.
    pub cause: Option<Cause>,
}

/// Writes a difference, or with none the pins alone, and sets the positions.
pub async fn commit(
    table: &mut Table,
    difference: Option<Difference>,
    set: Positions,
    story: &Story<'_>,
) -> Result<Landing> {
    let name = table.name().clone();
    let expect = Expect::All(table.positions().clone());
    let mut commit = base(table.positions().then(&set), expect, story);
    if let Some(difference) = difference.filter(|d| !d.is_empty()) {
        commit.operation = "MERGE";
        for (word, rows) in [
            ("inserted", difference.inserted()),
            ("updated", difference.changed),
            ("deleted", difference.deleted()),
        ] {
            commit.info.insert(word.to_owned(), json!(rows));
        }
        if difference.append.num_rows() > 0 {
            commit.append = table.stage(vec![difference.append]).await.of(&name)?;
        }
        if difference.remove.rows.num_rows() > 0 {
            commit.remove = Remove::Keys(difference.remove);
        }
    }
    land(table, &commit, &name).await
}

/// A commit without rows.
pub(crate) fn base(set: Positions, expect: Expect, story: &Story<'_>) -> Commit {
    let pins: Map<String, serde_json::Value> = story
        .inputs
        .iter()
        .map(|i| (i.name.to_string(), json!({ "id": i.id.to_string(), "version": i.version.0 })))
        .collect();
    let mut info = Map::new();
    info.insert("stage".to_owned(), json!("gold"));
    info.insert("project".to_owned(), json!(story.project.as_str()));
    info.insert("pins".to_owned(), pins.into());
    info.insert("as_of".to_owned(), json!(story.as_of.0));
    info.insert("method".to_owned(), json!(story.method));
    if story.arrived.is_some() {
        info.insert(NEWEST_ARRIVAL.to_owned(), json!(story.arrived));
    }
    if let Some(cause) = &story.cause {
        info.insert(TRACEPARENT.to_owned(), cause.to_string().into());
    }
    let broken: Map<String, serde_json::Value> =
        story.verdicts.iter().filter(|v| v.failed > 0).map(|v| (v.name.clone(), json!(v.failed))).collect();
    if !broken.is_empty() {
        info.insert("broken".to_owned(), broken.into());
    }
    Commit {
        operation: "WRITE",
        op: story.op.clone(),
        expect,
        set,
        append: Vec::new(),
        remove: Remove::Nothing,
        schema: None,
        properties: Default::default(),
        info,
    }
}

/// Commits, the same again after errors that do not say whether it landed.
pub(crate) async fn land(table: &mut Table, commit: &Commit, name: &TableName) -> Result<Landing> {
    let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    for _ in 1..TRIES {
        match table.commit(commit).await {
            Err(error) if error.reaction() == Reaction::Retry => {
                tracing::debug!(table = %name, %error, "commit is tried again");
                tokio::time::sleep(pauses.pause()).await;
            }
            decided => return decided.of(name),
        }
    }
    table.commit(commit).await.of(name)
}
