//! Whether a schema may follow others: Avro's resolution rules, applied in the direction that the level
//! demands.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

/// A compatibility level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    direction: Direction,
    transitive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    None,
    /// Readers of the new schema can read what was written with the old one.
    Backward,
    /// Readers of the old schema can read what is written with the new one.
    Forward,
    Full,
}

impl Default for Level {
    fn default() -> Self {
        Self { direction: Direction::Backward, transitive: false }
    }
}

impl Level {
    /// Parses Confluent's name of a level, in any case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = name.to_uppercase();
        let (base, transitive) = match name.strip_suffix("_TRANSITIVE") {
            Some(base) => (base, true),
            None => (name.as_str(), false),
        };
        let direction = match base {
            "NONE" if !transitive => Direction::None,
            "BACKWARD" => Direction::Backward,
            "FORWARD" => Direction::Forward,
            "FULL" => Direction::Full,
            _ => return None,
        };
        Some(Self { direction, transitive })
    }

    /// Confluent's name.
    pub(super) fn name(self) -> &'static str {
        match (self.direction, self.transitive) {
            (Direction::None, _) => "NONE",
            (Direction::Backward, false) => "BACKWARD",
            (Direction::Backward, true) => "BACKWARD_TRANSITIVE",
            (Direction::Forward, false) => "FORWARD",
            (Direction::Forward, true) => "FORWARD_TRANSITIVE",
            (Direction::Full, false) => "FULL",
            (Direction::Full, true) => "FULL_TRANSITIVE",
        }
    }

    /// The reasons why `new` may not follow `old`; empty if it may. `old` has (version, schema) pairs, oldest
    /// first.
    pub(super) fn check(self, new: &Schema, old: &[(u32, Schema)]) -> Vec<String> {
        let old = if self.transitive { old } else { &old[old.len().saturating_sub(1)..] };
        let mut reasons = Vec::new();
        for (version, schema) in old.iter().rev() {
            if matches!(self.direction, Direction::Backward | Direction::Full)
                && let Some(reason) = obstacle(schema, new)
            {
                reasons.push(format!(
                    "the new schema cannot read what was written with version {version}: {reason}"
                ));
            }
            if matches!(self.direction, Direction::Forward | Direction::Full)
                && let Some(reason) = obstacle(new, schema)
            {
                reasons.push(format!(
                    "version {version} cannot read what is written with the new schema: {reason}"
                ));
            }
        }
        reasons
    }
}

/// Why `reader` cannot read all data of `writer`.
fn obstacle(writer: &Schema, reader: &Schema) -> Option<String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => Some(
            "an enum symbol or a branch of a union that may be written is unknown to the reader".to_owned(),
        ),
        // The debug form has the message and the messages of its causes.
        Err(error) => Some(format!("{error:?}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn record(fields: &str) -> Schema {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        Schema::parse_str(&text).expect("valid")
    }

    const A: &str = r#"{"name":"a","type":"int"}"#;

    #[rstest]
    #[case::same("BACKWARD", A, A, true)]
    #[case::new_nullable_with_default(
        "BACKWARD",
        A,
        r#"{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}"#,
        true
    )]
    #[case::new_without_default(
        "BACKWARD",
        A,
        r#"{"name":"a","type":"int"},{"name":"b","type":"string"}"#,
        false
    )]
    #[case::new_without_default_forward(
        "FORWARD",
        A,
        r#"{"name":"a","type":"int"},{"name":"b","type":"string"}"#,
        true
    )]
    #[case::removed_is_backward("BACKWARD", A, "", true)]
    #[case::removed_is_not_forward("FORWARD", A, "", false)]
    #[case::removed_is_not_full("FULL", A, "", false)]
    #[case::promoted("BACKWARD", A, r#"{"name":"a","type":"long"}"#, true)]
    #[case::promoted_to_double("BACKWARD", A, r#"{"name":"a","type":"double"}"#, true)]
    #[case::promoted_is_not_forward("FORWARD", A, r#"{"name":"a","type":"long"}"#, false)]
    #[case::made_nullable("BACKWARD", A, r#"{"name":"a","type":["null","int"]}"#, true)]
    #[case::nullable_promoted(
        "BACKWARD",
        r#"{"name":"a","type":["null","int"]}"#,
        r#"{"name":"a","type":["null","long"]}"#,
        true
    )]
    #[case::made_not_null("BACKWARD", r#"{"name":"a","type":["null","int"]}"#, A, false)]
    #[case::other_type("BACKWARD", A, r#"{"name":"a","type":"string"}"#, false)]
    #[case::other_type_none("NONE", A, r#"{"name":"a","type":"string"}"#, true)]
    #[case::symbol_added(
        "BACKWARD",
        r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#,
        r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#,
        true
    )]
    #[case::symbol_removed(
        "BACKWARD",
        r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#,
        r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#,
        false
    )]
    fn one_step(#[case] level: &str, #[case] old: &str, #[case] new: &str, #[case] allowed: bool) {
        let level = Level::parse(level).expect("a level");
        let reasons = level.check(&record(new), &[(1, record(old))]);
        assert_eq!(reasons.is_empty(), allowed, "{reasons:?}");
    }

    #[test]
    fn transitive_looks_at_every_version() {
        let versions = [(1, record(r#"{"name":"b","type":"string"}"#)), (2, record(""))];
        let new = record(r#"{"name":"b","type":"int","default":0}"#);
        assert!(Level::parse("backward").expect("a level").check(&new, &versions).is_empty());
        let reasons = Level::parse("BACKWARD_TRANSITIVE").expect("a level").check(&new, &versions);
        assert_eq!(reasons.len(), 1);
        assert!(reasons[0].contains("version 1") && reasons[0].contains('b'), "{reasons:?}");
    }

    #[test]
    fn names_are_confluents() {
        for name in [
            "NONE",
            "BACKWARD",
            "BACKWARD_TRANSITIVE",
            "FORWARD",
            "FORWARD_TRANSITIVE",
            "FULL",
            "FULL_TRANSITIVE",
        ] {
            assert_eq!(Level::parse(&name.to_lowercase()).map(Level::name), Some(name));
        }
        assert_eq!(Level::parse("NONE_TRANSITIVE"), None);
        assert_eq!(Level::parse("strict"), None);
    }
}
