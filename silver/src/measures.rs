//! The time that the measures of a silver table use.
//!
//! It is the project's time: the wall clock's, or with `clock: events` that of the newest event that the
//! table has seen, rounded down to the model's `tick`.

use catalog::ClockKind;
use catalog::Model;
use lake::Table;
use model::{ClockMs, Millis, Version};
use stage::CommitInfo;

use crate::error::{OfTable as _, Result};

/// How many commits are searched for the newest event. Events are late by minutes, not by this many commits.
const COMMITS: u64 = 100;

/// The time for the measures of `model` at this version of its table.
pub async fn as_of(clock: ClockKind, now: ClockMs, model: &Model, table: &Table) -> Result<ClockMs> {
    let timed = |query: &str| query::sql::parse(query).is_ok_and(|parsed| parsed.uses_as_of);
    if !model.measures.iter().any(|rule| timed(&rule.query)) {
        return Ok(ClockMs(0));
    }
    let time = match clock {
        ClockKind::Wall => now,
        ClockKind::Events => {
            let from = table.version().0.checked_sub(COMMITS).map(Version);
            let entries = match table.log(from, table.version()).await {
                Err(lake::Error::LogGone { .. }) => Vec::new(),
                entries => entries.of(&model.name)?,
            };
            let said: Vec<CommitInfo> = entries.iter().filter_map(CommitInfo::parse_lossy).collect();
            let event = said.iter().filter_map(CommitInfo::newest_event_ms).max();
            // Records without an event time use the time of their arrival.
            let newest = event.or_else(|| said.iter().filter_map(CommitInfo::newest_arrival_ms).max());
            newest.map_or(ClockMs(0), Millis::on_clock)
        }
    };
    let tick = i64::try_from(model.tick.as_millis()).unwrap_or(i64::MAX).max(1);
    Ok(ClockMs(time.0.div_euclid(tick).saturating_mul(tick)))
}
