//! When a table is not tried any more.
//!
//! An error that will be the same at the next try halts the table at once; one that may be another is
//! tried a few times; one that only waits for an answer of the store or of Kafka is tried for ever. A
//! table that halts for its rows stays where it is until its inputs move, so that a row corrected at its
//! source is all it needs. What halts it stands in the lake, for `status`, `verify` and whoever waits.

use model::{Reaction, TableName};

use crate::error::Error;

/// Tries in a row that failed.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);
impl Tries {
    /// Counts a failure. One that came as often as it is worth trying comes back as an error that halts.
    pub fn judge(&mut self, table: &TableName, error: Error) -> Error {
        let Some(most) = error.patience() else { return error };
        self.0 += 1;
        if error.reaction() == Reaction::Halt || self.0 < most {
            return error;
        }
        let memory = matches!(&error, Error::Query { source, .. } if source.is_of_memory());
        Error::Stuck { table: table.clone(), tries: self.0, memory, source: Box::new(error) }
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
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
        let mut tries = Tries::default();
        let mut judged: Vec<Error> = (0..8).map(|_| tries.judge(&name(), memory())).collect();
        let last = judged.pop().expect("eight");
        assert!(judged.iter().all(|error| error.reaction() == Reaction::Retry));
        assert_eq!(last.reaction(), Reaction::Halt);
        assert!(last.is_about_rows());
        let said = chain(&last);
        assert!(said.contains("8 times") && said.contains("memory") && said.contains("1 GiB"), "{said}");
        tries.reset();
        assert_eq!(tries.judge(&name(), memory()).reaction(), Reaction::Retry);
    }

    #[test]
    fn what_waits_for_an_answer_is_tried_for_ever() {
        let away = || Error::NoInput { table: name(), input: name() };
        let mut tries = Tries::default();
        assert!((0..1000).all(|_| tries.judge(&name(), away()).reaction() == Reaction::Retry));
    }
}
