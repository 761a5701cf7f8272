//! All metrics: the name as scraped, the help text, and the labels besides stage and table.

/// A metric.
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
    /// Records that the input holds beyond the position.
    Lag,
    /// Age of the newest record in the output.
    Freshness,
    /// When the newest record in the output was put on its topic.
    NewestRecord,
    /// Age of the newest event by its own time.
    EventTimeLag,
    /// Duration of commits.
    CommitDuration,
    /// Commits that lost a race against another writer.
    Conflicts,
    /// Assignments of partitions.
    Rebalances,
    /// Version of the table.
    TableVersion,
    /// Rows of the table.
    TableRows,
    /// Files of the table.
    TableFiles,
    /// Bytes of the table's files.
    TableBytes,
    /// Rows that arrived late or twice.
    Late,
    /// Schema changes, by decision.
    SchemaChanges,
    /// Rows by the outcome of an expectation.
    Expectations,
    /// The last value of a measure, in the measure's own unit.
    Measure,
    /// Bytes of a source database's log that are not on the topics yet.
    SourceLag,
    /// Bytes of its log that a source database retains for our slot.
    SlotSize,
    /// State of the pipeline: 0 starting, 1 running, 2 idle, 3 drained, 4 halted.
    State,
}
impl Metric {
    /// Counters.
    pub(super) const COUNTERS: [Self; 9] = [
        Self::RecordsIn,
        Self::RecordsOut,
        Self::Quarantined,
        Self::Conflicts,
        Self::Rebalances,
        Self::DecodeErrors,
        Self::Late,
        Self::SchemaChanges,
        Self::Expectations,
    ];
    /// Integer gauges.
    pub(super) const WHOLE: [Self; 8] = [
        Self::Lag,
        Self::TableVersion,
        Self::TableRows,
        Self::TableFiles,
        Self::TableBytes,
        Self::SourceLag,
        Self::SlotSize,
        Self::State,
    ];
    /// Floating point gauges.
    pub(super) const NUMBERS: [Self; 4] =
        [Self::Freshness, Self::NewestRecord, Self::EventTimeLag, Self::Measure];

    /// Name as scraped.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecordsIn => "lakepulse_records_in_total",
            Self::RecordsOut => "lakepulse_records_out_total",
            Self::Quarantined => "lakepulse_quarantined_records_total",
            Self::DecodeErrors => "lakepulse_decode_errors_total",
            Self::Lag => "lakepulse_consumer_lag_records",
            Self::Freshness => "lakepulse_freshness_seconds",
            Self::NewestRecord => "lakepulse_newest_record_timestamp_seconds",
            Self::EventTimeLag => "lakepulse_event_time_lag_seconds",
            Self::CommitDuration => "lakepulse_commit_duration_seconds",
            Self::Conflicts => "lakepulse_commit_conflicts_total",
            Self::Rebalances => "lakepulse_rebalance_total",
            Self::TableVersion => "lakepulse_table_version",
            Self::TableRows => "lakepulse_table_rows",
            Self::TableFiles => "lakepulse_table_files",
            Self::TableBytes => "lakepulse_table_bytes",
            Self::Late => "lakepulse_late_records_total",
            Self::SchemaChanges => "lakepulse_schema_changes_total",
            Self::Expectations => "lakepulse_expectation_records_total",
            Self::Measure => "lakepulse_measure_value",
            Self::SourceLag => "lakepulse_source_lag_bytes",
            Self::SlotSize => "lakepulse_source_slot_bytes",
            Self::State => "lakepulse_pipeline_state",
        }
    }
    pub(super) const fn help(self) -> &'static str {
        match self {
            Self::RecordsIn => "Records read from the input",
            Self::RecordsOut => "Records or rows written to the output",
            Self::Quarantined => "Rows that went to quarantine",
            Self::DecodeErrors => "Records that could not be decoded",
            Self::Lag => "Records the input holds beyond the position of the output",
            Self::Freshness => "Age of the newest record in the output when it was committed",
            Self::NewestRecord => "Kafka's time of the newest record that is in the output",
            Self::EventTimeLag => {
                "Age of the newest event in the output by its own time, when it was committed"
            }
            Self::CommitDuration => "Duration of commits",
            Self::Conflicts => "Commits that met another writer",
            Self::Rebalances => "Times that partitions were assigned",
            Self::TableVersion => "Version of the table",
            Self::TableRows => "Rows of the table",
            Self::TableFiles => "Files of the table",
            Self::TableBytes => "Bytes of the table's files",
            Self::Late => "Rows that came late or twice, by outcome",
            Self::SchemaChanges => "Schema changes met, by decision",
            Self::Expectations => "Rows judged by an expectation, by outcome",
            Self::Measure => "What a measure of the table gave last",
            Self::SourceLag => "Bytes of the source database's log that are not on the topics yet",
            Self::SlotSize => "Bytes of its log that the source database keeps for the replication slot",
            Self::State => "State of the pipeline: 0 starting, 1 running, 2 idle, 3 drained, 4 halted",
        }
    }
    /// Its labels.
    pub(super) const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::DecodeErrors => &["stage", "table", "reason"],
            Self::Late => &["stage", "table", "outcome"],
            Self::SchemaChanges => &["stage", "table", "decision"],
            Self::Expectations => &["stage", "table", "expectation", "outcome"],
            Self::Measure => &["stage", "table", "measure"],
            _ => &["stage", "table"],
        }
    }
}
