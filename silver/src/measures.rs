//! The time that the measures of a silver table use.
//!
//! It is the project's time: the wall clock's, or with `clock: events` that of the newest event that the
//! table has seen, rounded down to the model's `tick`.

use std::borrow::Cow;

use catalog::{ClockKind, Measure, Model, Otherwise};
use lake::Table;
use model::{ClockMs, Millis, Version};
use stage::CommitInfo;

use crate::error::{OfTable as _, Result};

/// How many commits are searched for the newest event. Events are late by minutes, not by this many commits.
const COMMITS: u64 = 100;

/// What can be measured at a version of a table.
pub struct Timed<'a> {
    /// The model with the measures that can be taken.
    pub model: Cow<'a, Model>,
    /// The time for them.
    pub as_of: ClockMs,
    /// Whether a measure that can halt the table is not among them.
    pub lacks: bool,
}

/// What can be measured at this version of the table. While nothing says what time it is, no measure that uses the
/// time can.
pub async fn timed<'a>(clock: ClockKind, now: ClockMs, model: &'a Model, table: &Table) -> Result<Timed<'a>> {
    let all = |as_of| Timed { model: Cow::Borrowed(model), as_of, lacks: false };
    if !model.measures.iter().any(uses_time) {
        return Ok(all(ClockMs(0)));
    }
    let time = match clock {
        ClockKind::Wall => Some(now),
        ClockKind::Events => newest(table).await.of(&model.name)?.map(Millis::on_clock),
    };
    let Some(time) = time else {
        let mut model = model.clone();
        let lacks = model.measures.iter().any(|rule| uses_time(rule) && rule.otherwise == Otherwise::Fail);
        model.measures.retain(|rule| !uses_time(rule));
        return Ok(Timed { model: Cow::Owned(model), as_of: ClockMs(0), lacks });
    };
    Ok(all(time.floor(model.tick)))
}

/// The newest event of the last commits that the log still has. `None`: they say none.
async fn newest(table: &Table) -> lake::Result<Option<Millis>> {
    let from = table.version().0.checked_sub(COMMITS).map(Version);
    let log = table.kept_log(from, table.version()).await?;
    let said: Vec<CommitInfo> = log.entries.iter().filter_map(CommitInfo::parse_lossy).collect();
    let event = said.iter().filter_map(CommitInfo::newest_event_ms).max();
    // Records without an event time use the time of their arrival.
    Ok(event.or_else(|| said.iter().filter_map(CommitInfo::newest_arrival_ms).max()))
}

fn uses_time(rule: &Measure) -> bool {
    query::sql::parse(&rule.query).is_ok_and(|parsed| parsed.uses_as_of)
}
