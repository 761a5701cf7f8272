//! What librdkafka logs, as `tracing` events.

/// One line, with its syslog level. A lost connection is an error to the library; to us it is a
/// warning, because the client connects again and nothing is lost.
pub(crate) fn line(level: i32, facility: &str, detail: &str) {
    match level {
        0..=2 => tracing::error!(target: "kafka", facility, detail, "kafka client"),
        3 | 4 => tracing::warn!(target: "kafka", facility, detail, "kafka client"),
        5 | 6 => tracing::info!(target: "kafka", facility, detail, "kafka client"),
        _ => tracing::debug!(target: "kafka", facility, detail, "kafka client"),
    }
}

/// Context of a safe client that only logs.
pub(crate) struct Logged;

impl rdkafka::ClientContext for Logged {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, detail: &str) {
        line(level as i32, facility, detail);
    }
    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::warn!(target: "kafka", %error, reason, "kafka client error");
    }
}
