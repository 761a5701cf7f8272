//! When a table halts.
//!
//! An error that each attempt would meet again halts the table at once. One that may differ gets a few
//! attempts. One that waits for an answer of the store or of Kafka is tried for ever. A table that halts for
//! its rows stays halted until its inputs change, so correcting a row at its source is enough. The reason is
//! stored in the lake, for `status`, `verify` and waiting processes.

use model::{Reaction, TableName};
use runtime::Retry;

use crate::error::Error;

/// Counts a failure. After the last attempt, returns an error that halts.
pub(crate) fn judge(retry: &mut Retry, table: &TableName, error: Error) -> Error {
    if !retry.spent(error.patience()) || error.reaction() == Reaction::Halt {
        return error;
    }
    let memory = matches!(&error, Error::Query { source, .. } if source.is_of_memory());
    Error::Stuck { table: table.clone(), tries: retry.counted(), memory, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stage::halts::chain;

    use super::*;

    fn name() -> TableName {
        "gold.t".parse().expect("a name")
    }
    fn memory() -> Error {
        let source = datafusion::error::DataFusionError::ResourcesExhausted("1 GiB".to_owned());
        let source = query::Error::Engine { doing: "run a refresh", source: Box::new(source) };
        Error::Query { table: name(), source: Box::new(source) }
    }

    #[test]
    fn what_always_fails_for_memory_halts_after_a_few_tries_and_says_what_to_do() {
        let mut retry = Retry::new(Duration::from_millis(1));
        let mut judged: Vec<Error> = (0..8).map(|_| judge(&mut retry, &name(), memory())).collect();
        let last = judged.pop().expect("eight");
        assert!(judged.iter().all(|error| error.reaction() == Reaction::Retry));
        assert_eq!(last.reaction(), Reaction::Halt);
        assert!(last.is_about_rows());
        let said = chain(&last);
        assert!(said.contains("8 times") && said.contains("memory") && said.contains("1 GiB"), "{said}");
        retry.reset();
        assert_eq!(judge(&mut retry, &name(), memory()).reaction(), Reaction::Retry);
    }

    #[test]
    fn what_waits_for_an_answer_is_tried_for_ever() {
        let away = || Error::NoInput { table: name(), input: name() };
        let mut retry = Retry::new(Duration::from_millis(1));
        assert!((0..1000).all(|_| judge(&mut retry, &name(), away()).reaction() == Reaction::Retry));
    }
}
