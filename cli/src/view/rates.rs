//! Pipelines as shown: totals become rates between two looks.

use std::collections::BTreeMap;

use runtime::meters::{Metric, State};
use runtime::{Meter, Meters};

/// How long a pipeline is shown as running after its last record. Stages commit about once a second, so a
/// busy one always moves within this time.
const RECENT: i64 = 3_000;

/// The state of a pipeline in the words of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Starting,
    /// Records have just moved.
    Running,
    /// There are no new records.
    Idle,
    Drained,
    /// A person has to act.
    Halted,
}
impl Doing {
    /// A table counts as running while its records move, even if it reports itself idle between two commits.
    fn of(state: i64, recently: bool) -> Self {
        match state {
            s if s == State::Halted as i64 => Self::Halted,
            _ if recently => Self::Running,
            s if s == State::Drained as i64 => Self::Drained,
            s if s == State::Running as i64 || s == State::Idle as i64 => Self::Idle,
            _ => Self::Starting,
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Halted => "HALTED",
        }
    }
}

/// One pipeline as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub stage: &'static str,
    pub table: String,
    pub doing: Doing,
    pub per_second: f64,
    pub rows: u64,
    pub version: i64,
    pub lag: i64,
    pub freshness: f64,
    pub quarantined: u64,
}
impl Shown {
    /// Whether it has not moved since `before`.
    pub fn stands_where(&self, before: &Self) -> bool {
        let halted = |shown: &Self| shown.doing == Doing::Halted;
        self.table == before.table
            && self.stage == before.stage
            && self.rows == before.rows
            && halted(self) == halted(before)
    }
    /// As a line of plain text.
    pub fn line(&self) -> String {
        format!(
            "{:<8} {:<34} {:<8} {:>9.0}/s {:>10} rows  v{:<5} lag {:<8} fresh {:>6.1}s  quarantined {}",
            self.stage,
            self.table,
            self.doing.name(),
            self.per_second,
            self.rows,
            self.version,
            self.lag,
            self.freshness,
            self.quarantined
        )
    }
}

/// What is remembered of a pipeline between two looks.
#[derive(Debug, Clone, Copy)]
struct Last {
    total: u64,
    moved_at: Option<i64>,
}

/// Turns totals into rates between two looks.
#[derive(Default)]
pub struct Rates {
    last: BTreeMap<(&'static str, String), Last>,
    /// When it looked last.
    pub at: i64,
}
impl Rates {
    /// All pipelines, from the source to the end.
    pub fn look(&mut self, meters: &Meters, now: i64) -> Vec<Shown> {
        let seconds = ((now - self.at).max(1) as f64) / 1e3;
        self.at = now;
        let shown = meters.pipelines().into_iter().map(|meter| self.shown(&meter, seconds));
        let (streams, mut all): (Vec<Shown>, Vec<Shown>) = shown.partition(|shown| shown.stage == "source");
        all.extend(together(&streams));
        all.sort_by_key(|shown| (order(shown.stage), shown.table.clone()));
        all
    }
    fn shown(&mut self, meter: &Meter, seconds: f64) -> Shown {
        let (taken, written) = (meter.total(Metric::RecordsIn), meter.total(Metric::RecordsOut));
        // A source and a publisher do not count the records they take.
        let total = taken.max(written);
        let place = (meter.stage(), meter.table().to_owned());
        let before = self.last.get(&place).copied().unwrap_or(Last { total, moved_at: None });
        let moved_at = if total > before.total { Some(self.at) } else { before.moved_at };
        self.last.insert(place, Last { total, moved_at });
        Shown {
            stage: meter.stage(),
            table: meter.table().to_owned(),
            doing: Doing::of(
                meter.gauge(Metric::State),
                moved_at.is_some_and(|moved| self.at - moved < RECENT),
            ),
            per_second: total.saturating_sub(before.total) as f64 / seconds,
            rows: written,
            version: meter.gauge(Metric::TableVersion),
            lag: meter.gauge(Metric::Lag),
            freshness: meter.freshness_seconds(),
            quarantined: meter.total(Metric::Quarantined),
        }
    }
}

/// The streams of the simulated source as one line, because the tables below them matter more.
fn together(streams: &[Shown]) -> Option<Shown> {
    let mut all = streams.iter().max_by_key(|stream| stream.doing == Doing::Running)?.clone();
    all.table = format!("{} streams", streams.len());
    all.per_second = streams.iter().map(|stream| stream.per_second).sum();
    all.rows = streams.iter().map(|stream| stream.rows).sum();
    Some(all)
}

/// The order on the screen: data flows from top to bottom.
fn order(stage: &str) -> usize {
    ["source", "ingest", "bronze", "silver", "gold", "publish"].iter().position(|s| *s == stage).unwrap_or(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_difference_between_two_looks() {
        let (meters, mut rates) = (Meters::new(), Rates::default());
        let meter = meters.stage("bronze", "t");
        meter.records_in(100);
        rates.look(&meters, 1_000);
        meter.records_in(500);
        assert!((rates.look(&meters, 3_000)[0].per_second - 250.0).abs() < 1e-9);
    }

    #[test]
    fn sources_and_publishers_have_the_rate_of_what_they_write() {
        let (meters, mut rates) = (Meters::new(), Rates::default());
        let all = [("source", "a"), ("source", "b"), ("ingest", "t"), ("publish", "gold.t")];
        for (stage, table) in all {
            meters.stage(stage, table).records_out(10);
        }
        rates.look(&meters, 1_000);
        for (stage, table) in all {
            meters.stage(stage, table).records_out(30);
        }
        let shown = rates.look(&meters, 2_000);
        let rate = |stage| shown.iter().find(|s| s.stage == stage).expect("shown").per_second.round();
        assert_eq!([rate("source"), rate("ingest"), rate("publish")], [60.0, 30.0, 30.0]);
    }

    #[test]
    fn a_table_is_running_while_its_records_move_and_not_longer() {
        let (meters, mut rates) = (Meters::new(), Rates::default());
        let meter = meters.stage("silver", "silver.t");
        meter.records_in(1);
        rates.look(&meters, 1_000);
        let mut look = |records, state, now| {
            meter.records_in(records);
            meter.state(state);
            rates.look(&meters, now)[0].doing
        };
        // It reports itself as idle between two commits.
        assert_eq!(look(5, State::Idle, 2_000), Doing::Running);
        assert_eq!(look(0, State::Idle, 4_000), Doing::Running);
        assert_eq!(look(0, State::Idle, 6_000), Doing::Idle);
        // A pipeline that never reports idle is still shown as idle.
        assert_eq!(look(0, State::Running, 7_000), Doing::Idle);
        assert_eq!(look(5, State::Halted, 8_000), Doing::Halted);
    }
}
