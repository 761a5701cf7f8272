//! Metrics, one registry per process. The terminal view reads the same registry, so it cannot disagree with a
//! dashboard. Names end in their unit; labels have few values.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ClockMs, Millis, Version};
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::Traces;

mod names;
mod process;

pub use names::Metric;

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum State {
    /// Opening its tables.
    Starting = 0,
    /// Moving records.
    Running = 1,
    /// No new input.
    Idle = 2,
    /// Everything up to the requested end has arrived.
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
    numbers: BTreeMap<Metric, GaugeVec>,
    commits: HistogramVec,
    traces: Traces,
    pipelines: Mutex<BTreeMap<(&'static str, String), Meter>>,
    /// Why each halted pipeline halted.
    halts: Mutex<BTreeMap<(&'static str, String), String>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new()
    }
}
impl Meters {
    /// A registry with the metrics of the process, without traces.
    pub fn new() -> Self {
        Self::traced(Traces::default())
    }
    /// As [`Meters::new`], with traces.
    pub fn traced(traces: Traces) -> Self {
        let registry = Registry::new();
        let opts = |metric: Metric| Opts::new(metric.name(), metric.help());
        let counters = Metric::COUNTERS.map(|metric| {
            let made = IntCounterVec::new(opts(metric), metric.labels());
            (metric, registered(&registry, made))
        });
        let gauges = Metric::WHOLE.map(|metric| {
            let made = IntGaugeVec::new(opts(metric), metric.labels());
            (metric, registered(&registry, made))
        });
        let numbers = Metric::NUMBERS.map(|metric| {
            let made = GaugeVec::new(opts(metric), metric.labels());
            (metric, registered(&registry, made))
        });
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let commits = Metric::CommitDuration;
        let opts = HistogramOpts::new(commits.name(), commits.help()).buckets(buckets);
        let commits = registered(&registry, HistogramVec::new(opts, commits.labels()));
        let info = Opts::new("lakepulse_build_info", "Version of the binary");
        let info = registered(&registry, IntGaugeVec::new(info, &["version"]));
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(process::Process::new())).expect("each name is registered once");
        Self(Arc::new(Inner {
            registry,
            counters: counters.into(),
            gauges: gauges.into(),
            numbers: numbers.into(),
            commits,
            traces,
            pipelines: Mutex::default(),
            halts: Mutex::default(),
        }))
    }
    /// The meter of one pipeline. The same names give the same meter.
    pub fn stage(&self, stage: &'static str, table: &str) -> Meter {
        let mut pipelines = self.0.pipelines.lock();
        let make = || {
            let meter = Meter { all: self.clone(), stage, table: table.into() };
            // `increase` misses the first event of a counter that starts with it, so these counters start at
            // zero.
            for metric in [Metric::Quarantined, Metric::Conflicts, Metric::RecordsIn, Metric::RecordsOut] {
                meter.count(metric, 0);
            }
            meter
        };
        pipelines.entry((stage, table.to_owned())).or_insert_with(make).clone()
    }
    /// Where spans are sent.
    pub fn traces(&self) -> &Traces {
        &self.0.traces
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

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let made = made.expect("names and labels are legal");
    registry.register(Box::new(made.clone())).expect("each name is registered once");
    made
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
    /// Where this pipeline's spans are sent.
    pub fn traces(&self) -> &Traces {
        self.all.traces()
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
    /// Counts rows that arrived late (`superseded`) or twice (`repeat`).
    pub fn late(&self, outcome: &str, n: u64) {
        self.count_by(Metric::Late, outcome, n);
    }
    /// Counts a schema change.
    pub fn schema_change(&self, decision: &str) {
        self.count_by(Metric::SchemaChanges, decision, 1);
    }
    /// Counts rows by the outcome of an expectation: `passed`, `failed`, `dropped`, `quarantined`.
    pub fn expectation(&self, name: &str, outcome: &str, n: u64) {
        if let Some(vec) = self.all.0.counters.get(&Metric::Expectations) {
            vec.with_label_values(&[self.stage, &*self.table, name, outcome]).inc_by(n);
        }
    }
    /// Sets the value of a measure of the table.
    pub fn measured(&self, name: &str, value: f64) {
        if let Some(vec) = self.all.0.numbers.get(&Metric::Measure) {
            vec.with_label_values(&[self.stage, &*self.table, name]).set(value);
        }
    }
    /// Counts an assignment of partitions.
    pub fn rebalanced(&self) {
        self.count(Metric::Rebalances, 1);
    }
    /// Counts a commit that lost a race against another writer.
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
    /// Sets how many bytes of a source's log are not on the topics yet.
    pub fn source_lag(&self, bytes: u64) {
        self.set(Metric::SourceLag, bytes.cast_signed());
    }
    /// Sets how many bytes of its log a source database retains for our slot.
    pub fn slot_size(&self, bytes: i64) {
        self.set(Metric::SlotSize, bytes);
    }
    /// Sets the arrival time of the newest record in the output, and its age. Kafka's clock and ours count as one.
    pub fn fresh(&self, now: ClockMs, newest: Millis) {
        self.number(Metric::Freshness, now.seconds_since(newest.on_clock()));
        self.newest(newest);
    }
    /// Sets the arrival time alone, after input that changed no row of the output.
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of our time, for a metric")]
    pub fn newest(&self, newest: Millis) {
        self.number(Metric::NewestRecord, newest.0 as f64 / 1000.0);
    }
    /// Sets the age of the newest event by its own time.
    pub fn event_time_lag(&self, seconds: f64) {
        self.number(Metric::EventTimeLag, seconds);
    }
    /// Sets the size of the table. `rows` is `None` if a writer did not record how many rows it wrote.
    pub fn set_table_size(&self, rows: Option<u64>, (files, bytes): (usize, u64)) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.set(Metric::TableFiles, whole(files as u64));
        self.set(Metric::TableBytes, whole(bytes));
        if let Some(rows) = rows {
            self.set(Metric::TableRows, whole(rows));
        }
    }
    /// Another process owns the table now: removes the gauges that only the owner can know. The caller names
    /// the measures.
    pub fn released<'a>(&self, measures: impl IntoIterator<Item = &'a str>) {
        self.state(State::Idle);
        // A label that does not exist needs no removal.
        for metric in [Metric::Lag, Metric::TableRows, Metric::TableFiles, Metric::TableBytes] {
            drop(self.all.0.gauges[&metric].remove_label_values(&[self.stage, &*self.table]));
        }
        for metric in [Metric::Freshness, Metric::NewestRecord, Metric::EventTimeLag] {
            drop(self.all.0.numbers[&metric].remove_label_values(&[self.stage, &*self.table]));
        }
        for name in measures {
            let labels = [self.stage, &*self.table, name];
            drop(self.all.0.numbers[&Metric::Measure].remove_label_values(&labels));
        }
    }
    /// Sets what the pipeline is doing.
    pub fn state(&self, state: State) {
        if state != State::Halted {
            self.all.0.halts.lock().remove(&(self.stage, self.table.to_string()));
        }
        self.set(Metric::State, state as i64);
    }
    /// Sets the state to halted, with the reason.
    pub fn halt(&self, reason: String) {
        self.all.0.halts.lock().insert((self.stage, self.table.to_string()), reason);
        self.state(State::Halted);
    }
    /// Why the pipeline halted. `None`: it did not.
    pub fn halted(&self) -> Option<String> {
        if self.gauge(Metric::State) != State::Halted as i64 {
            return None;
        }
        let halts = self.all.0.halts.lock();
        let unsaid = || "its log says why".to_owned();
        Some(halts.get(&(self.stage, self.table.to_string())).cloned().unwrap_or_else(unsaid))
    }
    /// Value of a counter that has no further label.
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
        let freshness = self.all.0.numbers.get(&Metric::Freshness);
        freshness.map_or(0.0, |vec| vec.with_label_values(&[self.stage, &*self.table]).get())
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
    fn number(&self, metric: Metric, value: f64) {
        if let Some(vec) = self.all.0.numbers.get(&metric) {
            vec.with_label_values(&[self.stage, &*self.table]).set(value);
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
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        assert_eq!((meter.total(Metric::RecordsIn), meter.gauge(Metric::TableVersion)), (3, 7));
    }

    #[test]
    fn a_released_table_says_nothing_that_only_its_owner_knows() {
        let meters = Meters::new();
        let meter = meters.stage("gold", "gold.daily");
        meter.records_out(5);
        meter.lag(9);
        meter.fresh(ClockMs(5_000), Millis(3_000));
        meter.set_table_size(Some(7), (1, 100));
        meter.measured("revenue", 12.0);
        let said = |name: &str| meters.text().lines().any(|line| line.starts_with(name));
        let owners = [
            "lakepulse_consumer_lag",
            "lakepulse_newest_record",
            "lakepulse_table_rows",
            "lakepulse_measure",
        ];
        assert!(owners.into_iter().all(said), "{}", meters.text());
        meter.released(["revenue", "never taken"]);
        assert!(!owners.into_iter().any(said), "{}", meters.text());
        assert!(said("lakepulse_records_out_total"), "a counter of what was done stays");
    }
}
