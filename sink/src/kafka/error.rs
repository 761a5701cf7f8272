//! Errors of Kafka and of the registry, as the loop needs them.

use model::{Reaction, TableName};
use stream::registry::RegistryError;

use crate::error::{Error, OfTable, Result, SystemError};

impl<T> OfTable<T> for Result<T, stream::Error> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| kafka(format!("kafka failed while `{table}` was published"), source))
    }
}
impl<T> OfTable<T> for Result<T, RegistryError> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| {
            let what = format!("table `{table}`: its schemas cannot be registered");
            let reaction = source.reaction();
            SystemError { what, reaction, fenced: false, answered: false, source: source.into() }.into()
        })
    }
}

/// Progress could not be read.
pub(super) fn unread(source: stream::Error) -> Error {
    kafka("kafka failed while the progress of gold topics was read".to_owned(), source)
}

/// Rows do not fit the Avro schema of the topic.
pub(super) fn unfit(table: &TableName, source: arrow::error::ArrowError) -> Error {
    let what = format!("rows of `{table}` cannot be written as Avro");
    let reaction = Reaction::Halt;
    SystemError { what, reaction, fenced: false, answered: false, source: source.into() }.into()
}

fn kafka(what: String, source: stream::Error) -> Error {
    let fenced = matches!(source, stream::Error::Fenced { .. });
    let (reaction, answered) = (source.reaction(), is_too_large(&source));
    SystemError { what, reaction, fenced, answered, source: source.into() }.into()
}

/// True if the broker rejects records of that size, as it would the next time.
fn is_too_large(error: &stream::Error) -> bool {
    matches!(error, stream::Error::NotDelivered { reason, .. } if reason.contains("too large"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::{After, Retry};

    use super::*;

    fn failed(source: stream::Error) -> Error {
        Err::<(), _>(source).of(&"gold.t".parse().expect("a name")).expect_err("failed")
    }

    #[test]
    fn a_record_that_the_broker_never_takes_halts_and_a_broker_that_is_away_is_waited_for() {
        let halts = |error: &dyn Fn() -> stream::Error| {
            let mut retry = Retry::new(Duration::from_millis(1));
            (0..100).any(|_| matches!(retry.after(&failed(error())), After::Halt { .. }))
        };
        let (topic, reason) = ("gold.t.v1".to_owned(), "Broker: Message size too large".to_owned());
        let large =
            || stream::Error::NotDelivered { failed: 1, topic: topic.clone(), reason: reason.clone() };
        let away = || stream::Error::Indefinite { action: "a call", reason: "no answer".to_owned() };
        assert!(halts(&large) && !halts(&away));
    }

    #[test]
    fn a_producer_that_was_shut_out_is_fenced() {
        let away = stream::Error::Indefinite { action: "a call", reason: "no answer".to_owned() };
        assert!(!failed(away).is_fenced());
        assert!(failed(stream::Error::Fenced { id: "lp".to_owned() }).is_fenced());
    }
}
