//! The last step of a refresh: reports a version in metrics and the log.

use std::fmt;

use lake::Table;
use model::{Millis, Version};

use super::{Keeper, Refresh};
use crate::judge::Verdict;
use crate::refresh::Input;

/// The facts about a version.
pub(super) struct Report {
    op: String,
    pub method: String,
    rows_in: u64,
    rows_out: u64,
    verdicts: Vec<Verdict>,
    arrival: Arrival,
}

/// The time of the newest record behind a version, on Kafka's clock.
pub(super) enum Arrival {
    /// A changed row depends on it.
    OfRows(Millis),
    /// The pins cover it, but it changed no row.
    Seen(Millis),
    /// No commit has a time.
    Unknown,
}

impl Report {
    /// The report of a refresh that will be committed.
    pub fn of(refresh: &Refresh, op: String, method: String, arrival: Arrival) -> Self {
        let (mut rows_in, mut rows_out, mut verdicts) = (0, 0, Vec::new());
        if let Some(computed) = &refresh.computed {
            let difference = &computed.difference;
            rows_out = difference.append.num_rows() as u64;
            rows_in = rows_out + difference.deleted() as u64;
            verdicts.clone_from(&computed.verdicts);
        }
        Self { op, method, rows_in, rows_out, verdicts, arrival }
    }
}

impl Keeper {
    /// Reports a version that has landed.
    pub(super) fn report(&self, table: &Table, version: Version, refresh: &Refresh, report: &Report) {
        let (meter, name) = (&self.meter, &self.model.name);
        meter.version(version);
        meter.records_in(report.rows_in);
        meter.records_out(report.rows_out);
        let now = self.ctx.clock.now();
        meter.commit(now.seconds_since(refresh.started));
        match report.arrival {
            Arrival::OfRows(arrived) => meter.fresh(now, arrived),
            // A pins-only commit still advances freshness.
            Arrival::Seen(seen) => meter.newest(seen),
            Arrival::Unknown => {}
        }
        meter.set_table_size(table.rows(), table.files());
        for Verdict { name: expectation, passed, failed } in &report.verdicts {
            meter.expectation(expectation, "passed", *passed);
            meter.expectation(expectation, "failed", *failed);
            if *failed > 0 {
                tracing::warn!(table = %name, expectation, rows = failed, "expectation does not hold");
            }
        }
        let Report { op, method, rows_out, .. } = report;
        let pins = Pins(&refresh.inputs);
        tracing::info!(table = %name, version = version.0, op, rows = rows_out, method, %pins, "gold committed");
    }
}

/// The versions that a commit was computed from, for a log line.
struct Pins<'a>(&'a [Input]);
impl fmt::Display for Pins<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Input { name, version, .. }) in self.0.iter().enumerate() {
            write!(f, "{}{name}@{}", if at == 0 { "" } else { ", " }, version.0)?;
        }
        Ok(())
    }
}
