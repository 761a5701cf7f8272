//! Expressions that several alerts and panels use, computed once. Names follow Prometheus' convention,
//! `level:metric:operation`.

use super::Rule;

/// The rules; they are the same for every project.
pub fn rules() -> Vec<Rule> {
    vec![
        // Bronze instances share the partitions of a topic, so the topic's lag is their sum.
        Rule::record(
            "stage_table:lakepulse_consumer_lag_records:sum",
            "sum by (stage, table) (lakepulse_consumer_lag_records)",
        ),
        Rule::record(
            "stage_table:lakepulse_freshness_seconds:now",
            "time() - max by (stage, table) (lakepulse_newest_record_timestamp_seconds)",
        ),
        Rule::record(
            "stage:lakepulse_records_in:rate1m",
            "sum by (stage) (rate(lakepulse_records_in_total[1m]))",
        ),
        Rule::record(
            "stage:lakepulse_records_out:rate1m",
            "sum by (stage) (rate(lakepulse_records_out_total[1m]))",
        ),
        Rule::record(
            "stage_table:lakepulse_table_version:changes5m",
            "sum by (stage, table) (changes(lakepulse_table_version[5m]))",
        ),
        Rule::record(
            "stage_table:lakepulse_commit_duration_seconds:p99_10m",
            "histogram_quantile(0.99, sum by (stage, table, le) (rate(lakepulse_commit_duration_seconds_bucket[10m])))",
        ),
        Rule::record(
            "table_expectation:lakepulse_expectation_records:invalid_ratio10m",
            "sum by (table, expectation) (rate(lakepulse_expectation_records_total{outcome!=\"passed\"}[10m]))\n  \
             / (sum by (table, expectation) (rate(lakepulse_expectation_records_total[10m])) > 0)",
        ),
    ]
}
