//! Alerts on pipelines. Each has a line in docs/runbook.md and a case in compose/prometheus/tests/.

use super::Severity::{Critical, Warning};
use super::declared::{AT_LEAST, AT_MOST, EXPECTED, FRESHNESS, RETENTION};
use super::{Kind, Rule, Severity};

fn alert(
    name: &'static str,
    severity: Severity,
    hold: Option<&'static str>,
    expr: impl Into<String>,
    summary: &'static str,
) -> Rule {
    Rule { kind: Kind::Alert { name, hold, severity, summary }, expr: expr.into(), labels: Vec::new() }
}

/// Rows counted in the last ten minutes. `increase` ignores the first sample of a series, and a series with
/// its own label only begins with its first row. The second half adds those rows.
fn counted(by: &str, series: &str) -> String {
    format!(
        "sum by ({by}) (increase({series}[10m])) > 0\n  \
         or sum by ({by}) ({series} unless {series} offset 10m) > 0"
    )
}

/// All alerts whose limits are among the recorded series in `declared`.
pub fn rules(declared: &[Rule]) -> Vec<Rule> {
    let has = |name| declared.iter().any(|rule| matches!(rule.kind, Kind::Record(n) if n == name));
    let mut rules = running();
    rules.extend(moving());
    if has(FRESHNESS) {
        rules.push(alert(
            "LakePulseNotFresh",
            Warning,
            Some("1m"),
            format!(
                "max by (table) (stage_table:lakepulse_freshness_seconds:now{{stage=~\"silver|gold\"}})\n  \
                 > on (table) {FRESHNESS}"
            ),
            "{{ $labels.table }} shows records of {{ $value | humanizeDuration }} ago: longer than its `freshness`",
        ));
    }
    // A commit sets the gauge, which then keeps its value. So it counts only while new versions arrive.
    let behind = "max by (stage, table) (lakepulse_freshness_seconds) > 300\n  \
                  and stage_table:lakepulse_table_version:changes5m > 0";
    rules.push(alert(
        "LakePulseBehind",
        Warning,
        Some("5m"),
        if has(FRESHNESS) { format!("{behind}\n  unless on (table) {FRESHNESS}") } else { behind.to_owned() },
        "{{ $labels.stage }} of {{ $labels.table }} commits records of {{ $value | humanizeDuration }} ago",
    ));
    if has(RETENTION) {
        rules.push(alert(
            "LakePulseRetentionNear",
            Critical,
            Some("5m"),
            format!(
                "stage_table:lakepulse_freshness_seconds:now{{stage=\"bronze\"}} > on (table) group_left () 0.5 * {RETENTION}\n  \
                 and stage_table:lakepulse_consumer_lag_records:sum > 0"
            ),
            "{{ $labels.table }} has not read for {{ $value | humanizeDuration }}: its topic will delete what waits",
        ));
    }
    rules.extend(quality());
    let bounds: Vec<String> = [(AT_LEAST, "<"), (AT_MOST, ">")]
        .into_iter()
        .filter(|(name, _)| has(name))
        .map(|(name, beyond)| {
            format!("max by (table, measure) (lakepulse_measure_value) {beyond} on (table, measure) {name}")
        })
        .collect();
    if !bounds.is_empty() {
        rules.push(alert(
            "LakePulseMeasure",
            Warning,
            None,
            bounds.join("\n  or "),
            "measure {{ $labels.measure }} of {{ $labels.table }} is {{ printf \"%.4g\" $value }}: out of its bounds",
        ));
    }
    rules
}

/// Whether everything runs.
fn running() -> Vec<Rule> {
    vec![
        alert(
            "LakePulseHalted",
            Critical,
            None,
            "max by (stage, table) (lakepulse_pipeline_state) == 4",
            "{{ $labels.stage }} of {{ $labels.table }} has halted and waits for a person",
        ),
        alert(
            "LakePulseDown",
            Critical,
            Some("1m"),
            "up{job=\"lakepulse\"} == 0",
            "{{ $labels.instance }} does not serve its metrics",
        ),
        alert(
            "LakePulseNotRunning",
            Critical,
            Some("5m"),
            format!("{EXPECTED} unless on (stage, table) lakepulse_pipeline_state"),
            "no process runs {{ $labels.stage }} of {{ $labels.table }}",
        ),
        alert(
            "LakePulseRebalancing",
            Warning,
            None,
            "sum by (table) (increase(lakepulse_rebalance_total[10m])) > 20",
            "partitions of {{ $labels.table }} go from one process to the other and back",
        ),
    ]
}

/// Whether data moves.
fn moving() -> Vec<Rule> {
    vec![
        alert(
            "LakePulseLag",
            Warning,
            Some("5m"),
            "stage_table:lakepulse_consumer_lag_records:sum > 100000",
            "{{ $labels.stage }} of {{ $labels.table }} is {{ $value | humanize }} records behind",
        ),
        // Input waits and no version came. (A freshness that is no longer updated would not show it.)
        alert(
            "LakePulseStalled",
            Critical,
            Some("5m"),
            "stage_table:lakepulse_consumer_lag_records:sum > 0\n  \
             unless stage_table:lakepulse_table_version:changes5m > 0",
            "{{ $labels.stage }} of {{ $labels.table }} has not moved though records wait",
        ),
        // Bronze turns every record that it reads into one row.
        alert(
            "LakePulseNothingLands",
            Critical,
            Some("5m"),
            "sum by (table) (increase(lakepulse_records_in_total{stage=\"bronze\"}[5m])) > 0\n  \
             unless sum by (table) (increase(lakepulse_records_out_total{stage=\"bronze\"}[5m])) > 0",
            "bronze of {{ $labels.table }} reads records and none of them lands",
        ),
        alert(
            "LakePulseConflicts",
            Warning,
            Some("5m"),
            "sum by (stage, table) (rate(lakepulse_commit_conflicts_total[5m])) > 0.1",
            "{{ $labels.table }} is being written by more than one",
        ),
        alert(
            "LakePulseSlowCommits",
            Warning,
            Some("10m"),
            "stage_table:lakepulse_commit_duration_seconds:p99_10m > 10",
            "commits of {{ $labels.stage }} of {{ $labels.table }} take {{ $value | humanizeDuration }}",
        ),
        alert(
            "LakePulseManyFiles",
            Warning,
            Some("30m"),
            "max by (stage, table) (lakepulse_table_files) > 2000",
            "{{ $labels.table }} has {{ $value | humanize }} files: compaction does not keep up",
        ),
    ]
}

/// Whether the data is good.
fn quality() -> Vec<Rule> {
    let failed = "lakepulse_expectation_records_total{outcome=\"failed\"}";
    vec![
        alert(
            "LakePulseQuarantine",
            Warning,
            None,
            counted("stage, table", "lakepulse_quarantined_records_total"),
            "{{ $labels.table }} put rows into quarantine",
        ),
        alert(
            "LakePulseUndecodable",
            Warning,
            None,
            counted("stage, table, reason", "lakepulse_decode_errors_total"),
            "{{ $labels.table }} met records that cannot be decoded: {{ $labels.reason }}",
        ),
        alert(
            "LakePulseSchemaRefused",
            Critical,
            None,
            counted("table", "lakepulse_schema_changes_total{decision=\"refused\"}"),
            "{{ $labels.table }} met a schema that its columns cannot take: such records are kept as error rows",
        ),
        alert(
            "LakePulseSentTwice",
            Warning,
            None,
            counted("table", "lakepulse_late_records_total{outcome=\"sent_twice\"}"),
            "{{ $labels.table }} dropped records that a source of files sent twice",
        ),
        alert(
            "LakePulseExpectation",
            Warning,
            None,
            counted("stage, table, expectation", failed),
            "rows of {{ $labels.table }} break {{ $labels.expectation }}",
        ),
        alert(
            "LakePulseExpectationShare",
            Critical,
            Some("10m"),
            "table_expectation:lakepulse_expectation_records:invalid_ratio10m > 0.1",
            "{{ $value | humanizePercentage }} of the rows of {{ $labels.table }} break {{ $labels.expectation }}",
        ),
    ]
}
