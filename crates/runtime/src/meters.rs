//! Metrics, one registry a process. What the terminal view shows is read from here too, so that a
//! dashboard and the screen cannot disagree. Names end in their unit; labels have few values.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Version;
use parking_lot::Mutex;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Every metric there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Records read from the input.
    RecordsIn,
    /// Records or rows written to the output.
    RecordsOut,
    /// Rows that went to quarantine.
    Quarantined,
    /// Records that could not be decoded, by reason.
    DecodeErrors,
    /// Records the input has beyond the position.
    Lag,
    /// Age of the newest event that is in the output.
    Freshness,
    /// Duration of commits.
    CommitDuration,
    /// Commits that met another writer.
    Conflicts,
    /// Version of the table.
    TableVersion,
    /// Rows that came late or twice.
    Late,
    /// Schema changes, by decision.
    SchemaChanges,
    /// Rows judged by an expectation, by outcome.
    Expectations,
    /// What a measure of a table gave last, in the measure's own unit.
    Measure,
    /// Bytes of a source database's log that are not on the topics.
    SourceLag,
    /// Bytes of its log that a source database keeps for us.
    SlotSize,
    /// State of the pipeline: 0 starting, 1 running, 2 idle, 3 drained, 4 halted.
    State,
}
impl Metric {
    /// Name as scraped.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecordsIn => "lakepulse_records_in_total",
            Self::RecordsOut => "lakepulse_records_out_total",
            Self::Quarantined => "lakepulse_quarantined_records_total",
            Self::DecodeErrors => "lakepulse_decode_errors_total",
            Self::Lag => "lakepulse_consumer_lag_records",
            Self::Freshness => "lakepulse_freshness_seconds",
            Self::CommitDuration => "lakepulse_commit_duration_seconds",
            Self::Conflicts => "lakepulse_commit_conflicts_total",
            Self::TableVersion => "lakepulse_table_version",
            Self::Late => "lakepulse_late_records_total",
            Self::SchemaChanges => "lakepulse_schema_changes_total",
            Self::Expectations => "lakepulse_expectation_records_total",
            Self::Measure => "lakepulse_measure_value",
            Self::SourceLag => "lakepulse_source_lag_bytes",
            Self::SlotSize => "lakepulse_source_slot_bytes",
            Self::State => "lakepulse_pipeline_state",
        }
    }
    const fn help(self) -> &'static str {
        match self {
            Self::RecordsIn => "Records read from the input",
            Self::RecordsOut => "Records or rows written to the output",
            Self::Quarantined => "Rows that went to quarantine",
            Self::DecodeErrors => "Records that could not be decoded",
            Self::Lag => "Records the input holds beyond the position of the output",
            Self::Freshness => "Age of the newest event in the output when it was committed",
            Self::CommitDuration => "Duration of commits",
            Self::Conflicts => "Commits that met another writer",
            Self::TableVersion => "Version of the table",
            Self::Late => "Rows that came late or twice, by outcome",
            Self::SchemaChanges => "Schema changes met, by decision",
            Self::Expectations => "Rows judged by an expectation, by outcome",
            Self::Measure => "What a measure of the table gave last",
            Self::SourceLag => "Bytes of the source database's log that are not on the topics yet",
            Self::SlotSize => "Bytes of its log that the source database keeps for the replication slot",
            Self::State => "State of the pipeline: 0 starting, 1 running, 2 idle, 3 drained, 4 halted",
        }
    }
}

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum State {
    /// Opening its tables.
    Starting = 0,
    /// Moving records.
    Running = 1,
    /// Nothing new came.
    Idle = 2,
    /// Everything it was asked for has arrived.
    Drained = 3,
    /// Waits for a person.
    Halted = 4,
}

/// All metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Meters(Arc<Inner>);

struct Inner {
    registry: Registry,
    counters: BTreeMap<Metric, IntCounterVec>,
    gauges: BTreeMap<Metric, IntGaugeVec>,
    freshness: GaugeVec,
    measures: GaugeVec,
    commits: HistogramVec,
    pipelines: Mutex<BTreeMap<(&'static str, String), Meter>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}
impl Meters {
    /// An empty registry.
    pub fn new() -> Self {
        let registry = Registry::new();
        let plain: &[&str] = &["stage", "table"];
        let by = |extra: &'static str| vec!["stage", "table", extra];
        let counter = |metric: Metric, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(metric.name(), metric.help()), labels)
                .expect("names and labels above are legal");
            registry.register(Box::new(vec.clone())).expect("each name is registered once");
            (metric, vec)
        };
        let gauge = |metric: Metric| {
            let vec = IntGaugeVec::new(Opts::new(metric.name(), metric.help()), plain)
                .expect("names and labels above are legal");
            registry.register(Box::new(vec.clone())).expect("each name is registered once");
            (metric, vec)
        };
        let counters = BTreeMap::from([
            counter(Metric::RecordsIn, plain),
            counter(Metric::RecordsOut, plain),
            counter(Metric::Quarantined, plain),
            counter(Metric::Conflicts, plain),
            counter(Metric::DecodeErrors, &by("reason")),
            counter(Metric::Late, &by("outcome")),
            counter(Metric::SchemaChanges, &by("decision")),
            counter(Metric::Expectations, &["stage", "table", "expectation", "outcome"]),
        ]);
        let gauges = BTreeMap::from([
            gauge(Metric::Lag),
            gauge(Metric::TableVersion),
            gauge(Metric::SourceLag),
            gauge(Metric::SlotSize),
            gauge(Metric::State),
        ]);
        let number = |metric: Metric, labels: &[&str]| {
            let vec = GaugeVec::new(Opts::new(metric.name(), metric.help()), labels)
                .expect("names and labels above are legal");
            registry.register(Box::new(vec.clone())).expect("each name is registered once");
            vec
        };
        let (freshness, measures) =
            (number(Metric::Freshness, plain), number(Metric::Measure, &by("measure")));
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let commits = HistogramVec::new(
            HistogramOpts::new(Metric::CommitDuration.name(), Metric::CommitDuration.help()).buckets(buckets),
            plain,
        )
        .expect("names and labels above are legal");
        registry.register(Box::new(commits.clone())).expect("each name is registered once");
        let info = IntGaugeVec::new(Opts::new("lakepulse_build_info", "Version of the binary"), &["version"])
            .expect("names and labels above are legal");
        registry.register(Box::new(info.clone())).expect("each name is registered once");
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let pipelines = Mutex::default();
        Self(Arc::new(Inner { registry, counters, gauges, freshness, measures, commits, pipelines }))
    }
    /// The meter of one pipeline; the same one for the same names.
    pub fn stage(&self, stage: &'static str, table: &str) -> Meter {
        let mut pipelines = self.0.pipelines.lock();
        let make = || Meter { all: self.clone(), stage, table: table.into() };
        pipelines.entry((stage, table.to_owned())).or_insert_with(make).clone()
    }
    /// All meters, ordered by stage and table.
    pub fn pipelines(&self) -> Vec<Meter> {
        self.0.pipelines.lock().values().cloned().collect()
    }
    /// The registry's text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.0.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# cannot encode metrics: {error}\n"),
        }
    }
}

/// The metrics of one pipeline: a stage and the table it writes.
#[derive(Clone)]
pub struct Meter {
    all: Meters,
    stage: &'static str,
    table: Arc<str>,
}
impl Meter {
    /// `bronze`, `silver`, `gold`, `publish`, or a source.
    pub fn stage(&self) -> &'static str {
        self.stage
    }
    /// The table (or topic) written.
    pub fn table(&self) -> &str {
        &self.table
    }
    /// Counts records read.
    pub fn records_in(&self, n: u64) {
        self.count(Metric::RecordsIn, n);
    }
    /// Counts records or rows written.
    pub fn records_out(&self, n: u64) {
        self.count(Metric::RecordsOut, n);
    }
    /// Counts quarantined rows.
    pub fn quarantined(&self, n: u64) {
        self.count(Metric::Quarantined, n);
    }
    /// Counts undecodable records.
    pub fn decode_errors(&self, reason: &str, n: u64) {
        self.count_by(Metric::DecodeErrors, reason, n);
    }
    /// Counts rows that came late (`superseded`) or twice (`repeat`).
    pub fn late(&self, outcome: &str, n: u64) {
        self.count_by(Metric::Late, outcome, n);
    }
    /// Counts a schema change.
    pub fn schema_change(&self, decision: &str) {
        self.count_by(Metric::SchemaChanges, decision, 1);
    }
    /// Counts rows that an expectation was asked about: `passed`, `failed`.
    pub fn expectation(&self, name: &str, outcome: &str, n: u64) {
        if let Some(vec) = self.all.0.counters.get(&Metric::Expectations) {
            vec.with_label_values(&[self.stage, &*self.table, name, outcome]).inc_by(n);
        }
    }
    /// Sets what a measure of the table gave.
    pub fn measured(&self, name: &str, value: f64) {
        self.all.0.measures.with_label_values(&[self.stage, &*self.table, name]).set(value);
    }
    /// Counts a commit that met another writer.
    pub fn conflict(&self) {
        self.count(Metric::Conflicts, 1);
    }
    /// Observes one commit.
    pub fn commit(&self, seconds: f64) {
        self.all.0.commits.with_label_values(&[self.stage, &self.table]).observe(seconds);
    }
    /// Sets the version of the table.
    pub fn version(&self, version: Version) {
        self.set(Metric::TableVersion, version.position());
    }
    /// Sets how many records wait in the input.
    pub fn lag(&self, records: i64) {
        self.set(Metric::Lag, records);
    }
    /// Sets how many bytes of a source's log are not on the topics.
    pub fn source_lag(&self, bytes: u64) {
        self.set(Metric::SourceLag, bytes.cast_signed());
    }
    /// Sets how many bytes of its log a source keeps for us.
    pub fn slot_size(&self, bytes: i64) {
        self.set(Metric::SlotSize, bytes);
    }
    /// Sets the age of the newest event committed.
    pub fn freshness(&self, seconds: f64) {
        self.all.0.freshness.with_label_values(&[self.stage, &self.table]).set(seconds);
    }
    /// Sets what the pipeline is doing.
    pub fn state(&self, state: State) {
        self.set(Metric::State, state as i64);
    }
    /// Value of a counter without a further label.
    pub fn total(&self, metric: Metric) -> u64 {
        self.all
            .0
            .counters
            .get(&metric)
            .map_or(0, |vec| vec.with_label_values(&[self.stage, &*self.table]).get())
    }
    /// Value of a gauge.
    pub fn gauge(&self, metric: Metric) -> i64 {
        self.all
            .0
            .gauges
            .get(&metric)
            .map_or(0, |vec| vec.with_label_values(&[self.stage, &*self.table]).get())
    }
    /// Age of the newest event committed, seconds.
    pub fn freshness_seconds(&self) -> f64 {
        self.all.0.freshness.with_label_values(&[self.stage, &self.table]).get()
    }

    fn count(&self, metric: Metric, n: u64) {
        if let Some(vec) = self.all.0.counters.get(&metric) {
            vec.with_label_values(&[self.stage, &*self.table]).inc_by(n);
        }
    }
    fn count_by(&self, metric: Metric, label: &str, n: u64) {
        if let Some(vec) = self.all.0.counters.get(&metric) {
            vec.with_label_values(&[self.stage, &*self.table, label]).inc_by(n);
        }
    }
    fn set(&self, metric: Metric, value: i64) {
        if let Some(vec) = self.all.0.gauges.get(&metric) {
            vec.with_label_values(&[self.stage, &*self.table]).set(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_is_scraped() {
        let meters = Meters::new();
        let meter = meters.stage("bronze", "bronze.cdc_orders");
        meter.records_in(3);
        meter.version(Version(7));
        meter.decode_errors("truncated", 2);
        meter.expectation("has_id", "failed", 4);
        let text = meters.text();
        assert!(
            text.contains(r#"lakepulse_records_in_total{stage="bronze",table="bronze.cdc_orders"} 3"#),
            "{text}"
        );
        assert!(text.contains(r#"reason="truncated""#), "{text}");
        assert!(text.contains(r#"expectation="has_id",outcome="failed""#), "{text}");
        assert_eq!((meter.total(Metric::RecordsIn), meter.gauge(Metric::TableVersion)), (3, 7));
    }
}
