//! A column's default for rows whose writers did not know the column: the one it was added with
//! ([`lake::defaults`]). The rows keep null, because a writer that dropped the column leaves null too.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{Fields, Schema};
use catalog::Topic;
use lake::defaults::at;

use crate::conform::conform;

/// Default values as JSON, by the column's dotted path.
pub type Values = BTreeMap<String, String>;

/// The defaults in a schema, as the table stores them. Leaves out a default that its column cannot hold.
pub fn of(schema: &str, columns: &Schema) -> Values {
    let stored = |(path, one): (String, ArrayRef)| {
        let mut misfits = Vec::new();
        let one = conform(&one, at(columns.fields(), &path)?, &mut misfits).ok()?;
        let text = lake::defaults::text(&one).filter(|_| misfits.is_empty())?;
        Some((path, text))
    };
    avro::defaults(schema).into_iter().filter_map(stored).collect()
}

/// The property that a topic's new table gets. `None` if its schema has no defaults.
pub fn property(topic: &Topic, columns: &Schema) -> Option<String> {
    let values = of(topic.value_schema.as_deref()?, columns);
    (!values.is_empty()).then(|| lake::defaults::offered(&values))
}

/// Adds the defaults to the Avro schema of these columns.
pub fn declare(schema: &str, columns: &Fields, values: &Values) -> String {
    avro::declare(schema, columns, |path, kind| lake::defaults::one(values.get(path)?, kind))
}

/// Whether there is a column at a dotted path.
pub fn has(columns: &Schema, path: &str) -> bool {
    at(columns.fields(), path).is_some()
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value as Avro;
    use avro::from_arrow;
    use catalog::columns::bronze_schema;
    use rstest::rstest;

    use super::*;
    use crate::testing::{arrow_text, avro_text, body, schema, topic};

    const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"id","type":"int"}}{fields}]}}"#)
    }

    /// A field's default, at the top level or in a nested record, equals what Avro's own resolution gives a
    /// record whose writer lacks the field. Writing it into a property or a schema does not change it.
    #[rstest]
    #[case::text(r#""string""#, r#""new \" \u00e9""#)]
    #[case::text_or_null(r#"["string","null"]"#, r#""x""#)]
    #[case::long(r#""long""#, "9007199254740993")]
    #[case::int(r#""int""#, "-7")]
    #[case::double(r#""double""#, "0.1")]
    #[case::boolean(r#""boolean""#, "true")]
    // The library reads a default of bytes as UTF-8 text; the specification has one byte per character.
    #[case::bytes(r#""bytes""#, r#""\u0000\u007f""#)]
    #[case::decimal(DECIMAL, r#""\u0004\u00d2""#)]
    #[case::date(r#"{"type":"int","logicalType":"date"}"#, "19000")]
    #[case::instant(r#"{"type":"long","logicalType":"timestamp-micros"}"#, "1700000000123456")]
    #[case::symbol(r#"{"type":"enum","name":"E","symbols":["a","b"]}"#, r#""b""#)]
    #[case::empty_list(r#"{"type":"array","items":"int"}"#, "[]")]
    fn what_a_writer_lacks_is_what_avros_resolution_says(#[case] kind: &str, #[case] default: &str) {
        let field = format!(r#",{{"name":"c","type":{kind},"default":{default}}}"#);
        let within = |fields: &str| {
            let row = format!(
                r#"{{"type":"record","name":"Row","fields":[{{"name":"k","type":"int"}}{}]}}"#,
                fields.replace("\"E\"", "\"F\"")
            );
            format!(r#",{{"name":"after","type":["null",{row}],"default":null}}"#)
        };
        let old = record(&within(""));
        let new = record(&format!("{field}{}", within(&field)));
        let columns = bronze_schema(&topic(), &new).expect("storable");
        let own: Fields = columns.fields().iter().take(3).cloned().collect();
        let values = of(&new, &columns);
        assert_eq!(values.keys().collect::<Vec<_>>(), ["after.c", "c"]);

        let row = Avro::Record(vec![("k".to_owned(), Avro::Int(1))]);
        let fields =
            vec![("id".to_owned(), Avro::Int(1)), ("after".to_owned(), Avro::Union(1, Box::new(row)))];
        let (from, to) = (schema(&old), schema(&new));
        let datum = body(&from, Avro::Record(fields));
        let judge = GenericDatumReader::builder(&from).reader_schema(&to).build().expect("a reader");
        let Avro::Record(judged) = judge.read_value(&mut datum.as_slice()).expect("resolves") else {
            panic!("a record")
        };
        let judged: BTreeMap<_, _> = judged.into_iter().collect();
        let right = avro_text(&judged["c"]);
        for path in ["c", "after.c"] {
            let kind = at(&own, path).expect("a column");
            let one = lake::defaults::one(&values[path], kind).expect("a value of the column");
            assert_eq!(arrow_text(&one, 0), right, "{path}");
        }

        let plain = from_arrow("V", "n", &Schema::new(own.clone()), &[]).expect("a schema");
        assert_eq!(of(&declare(&plain, &own, &values), &columns), values);
        let property = lake::defaults::parse(Some(&lake::defaults::offered(&values))).expect("JSON");
        assert_eq!(property["c"].value, values["c"]);
    }

    /// For `now()` Debezium writes the epoch, and for a function that generates a UUID the nil UUID.
    #[rstest]
    #[case(r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#, "0")]
    #[case(r#"{"type":"int","connect.name":"org.apache.kafka.connect.data.Date"}"#, "0")]
    #[case(
        r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}"#,
        r#""1970-01-01T00:00:00.000000Z""#
    )]
    #[case(
        r#"{"type":"string","connect.name":"io.debezium.data.Uuid"}"#,
        r#""00000000-0000-0000-0000-000000000000""#
    )]
    fn what_stands_for_a_default_that_is_computed_is_none(#[case] kind: &str, #[case] default: &str) {
        let of = |default: &str| {
            let schema = record(&format!(r#",{{"name":"c","type":[{kind},"null"],"default":{default}}}"#));
            of(&schema, &bronze_schema(&topic(), &schema).expect("storable")).len()
        };
        assert_eq!(of(default), 0);
        let another =
            default.replace("1970", "1971").replace("-000000000000", "-000000000001").replace("\"0\"", "1");
        assert_eq!(of(if another == "0" { "1" } else { &another }), 1, "{another}");
    }
}
