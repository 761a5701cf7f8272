//! A declared schema reads a record as Avro's own resolution does; `apache-avro` is the reference.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use avro::timestamp_type;
use model::column;
use proptest::prelude::*;

use super::*;
use crate::testing::{arrow_text, avro_text, body, framed, schema, topic};

/// A field of the writer, and how the declared schema changes it.
#[derive(Debug, Clone)]
struct Evolved {
    /// Types as JSON: the writer's and the declared one.
    kinds: (&'static str, &'static str),
    /// The writer's value.
    value: Avro,
    /// Whether the declared schema keeps, renames or drops it.
    fate: Fate,
}
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Renamed,
    Gone,
}

const OLD_STATE: &str = r#"{"type":"enum","name":"E","symbols":["a","b","c"]}"#;
const NEW_STATE: &str = r#"{"type":"enum","name":"E","symbols":["b","a"],"default":"a"}"#;
const OLD_ROW: &str = r#"["null",{"type":"record","name":"Row","fields":[{"name":"k","type":"int"},{"name":"old","type":"int"}]}]"#;
const NEW_ROW: &str = r#"["null",{"type":"record","name":"Row","fields":[
    {"name":"more","type":["null",{"type":"array","items":"int"}],"default":null},{"name":"new","type":"long","aliases":["old"]},
    {"name":"k","type":"double"},{"name":"why","type":"string","default":"none"}]}]"#;
const OLD_LIST: &str =
    r#"{"type":"array","items":{"type":"record","name":"Item","fields":[{"name":"n","type":"int"}]}}"#;
const NEW_LIST: &str = r#"{"type":"array","items":{"type":"record","name":"Item","fields":[
    {"name":"at","type":{"type":"int","logicalType":"date"},"default":7},{"name":"n","type":"long"}]}}"#;

fn evolved() -> impl Strategy<Value = Evolved> {
    let int = || (-1_000_000_i32..1_000_000).prop_map(Avro::Int);
    let some = |value| Avro::Union(1, Box::new(value));
    let row = move |k: i32, old: i32| {
        some(Avro::Record(vec![("k".to_owned(), Avro::Int(k)), ("old".to_owned(), Avro::Int(old))]))
    };
    let item = |n: i32| Avro::Record(vec![("n".to_owned(), Avro::Int(n))]);
    let of = |old: &'static str, new: &'static str| move |value: Avro| ((old, new), value);
    let kinds = prop_oneof![
        int().prop_map(of(r#""int""#, r#""long""#)),
        int().prop_map(of(r#""int""#, r#""double""#)),
        int().prop_map(of(r#""int""#, r#"["null","int"]"#)),
        any::<i32>().prop_map(|n| Avro::Long(n.into())).prop_map(of(r#""long""#, r#""double""#)),
        (-1e30_f32..1e30).prop_map(Avro::Float).prop_map(of(r#""float""#, r#""double""#)),
        any::<String>().prop_map(Avro::String).prop_map(of(r#""string""#, r#""bytes""#)),
        any::<String>().prop_map(|s| Avro::Bytes(s.into_bytes())).prop_map(of(r#""bytes""#, r#""string""#)),
        (0_u32..3)
            .prop_map(|at| Avro::Enum(at, ["a", "b", "c"][at as usize].to_owned()))
            .prop_map(of(OLD_STATE, NEW_STATE)),
        prop_oneof![
            Just(Avro::Union(0, Box::new(Avro::Null))),
            (-9_i32..9, any::<i32>()).prop_map(move |(k, old)| row(k, old))
        ]
        .prop_map(of(OLD_ROW, NEW_ROW)),
        prop::collection::vec(any::<i32>().prop_map(item), 0..4)
            .prop_map(Avro::Array)
            .prop_map(of(OLD_LIST, NEW_LIST)),
    ];
    let fate = prop_oneof![3 => Just(Fate::Kept), 1 => Just(Fate::Renamed), 1 => Just(Fate::Gone)];
    (kinds, fate).prop_map(|((kinds, value), fate)| Evolved { kinds, value, fate })
}

/// Renames the named types after the field, so that no two fields share one.
fn own(kind: &str, at: usize) -> String {
    ["E", "Row", "Item"].iter().fold(kind.to_owned(), |kind, name| {
        kind.replace(&format!(r#""name":"{name}""#), &format!(r#""name":"{name}{at}""#))
    })
}

fn stored(declared: &str) -> Fields {
    let topic = topic();
    let schema = catalog::columns::bronze_schema(&topic, declared).expect("storable");
    schema
        .fields()
        .iter()
        .filter(|field| !column::OF_BRONZE.contains(&field.name().as_str()))
        .cloned()
        .collect()
}

proptest! {
    #![proptest_config(cases::few(256))]
    #[test]
    fn a_record_is_read_as_avro_resolves_it(fields in prop::collection::vec(evolved(), 1..6), turn in any::<prop::sample::Index>()) {
        let writer: Vec<String> = fields.iter().enumerate().map(|(at, field)| {
            format!(r#"{{"name":"f{at}","type":{}}}"#, own(field.kinds.0, at))
        }).collect();
        let mut declared: Vec<String> = fields.iter().enumerate().filter_map(|(at, field)| {
            let kind = own(field.kinds.1, at);
            match field.fate {
                Fate::Kept => Some(format!(r#"{{"name":"f{at}","type":{kind}}}"#)),
                Fate::Renamed => Some(format!(r#"{{"name":"g{at}","aliases":["x","f{at}"],"type":{kind}}}"#)),
                Fate::Gone => None,
            }
        }).collect();
        declared.extend([
            r#"{"name":"added","type":"string","default":"é"}"#.to_owned(),
            r#"{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"},"default":86400000}"#.to_owned(),
            r#"{"name":"raw","type":"bytes","default":"ab"}"#.to_owned(),
            r#"{"name":"none","type":["null","int"],"default":null}"#.to_owned(),
        ]);
        let turn = turn.index(declared.len());
        declared.rotate_left(turn);
        // The library ignores aliases of fields, so it gets the writer's names.
        let by_own_names = |field: &String| {
            let field = field.replace(r#""name":"new","type":"long","aliases":["old"]"#, r#""name":"old","type":"long""#);
            match field.split_once(r#"","aliases":["x",""#) {
                Some((_, rest)) => format!(r#"{{"name":"{}"#, rest.replacen(r#""],"#, r#"","#, 1)),
                None => field,
            }
        };
        let known: Vec<String> = declared.iter().map(by_own_names).collect();
        let record = |fields: &[String]| format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
        let (writer, declared, known) = (record(&writer), record(&declared), record(&known));
        let values: Vec<(String, Avro)> = fields.iter().enumerate().map(|(at, field)| (format!("f{at}"), field.value.clone())).collect();
        let (from, to) = (schema(&writer), schema(&known));
        let datum = body(&from, Avro::Record(values));
        let judge = GenericDatumReader::builder(&from).reader_schema(&to).build().expect("a reader");
        let Avro::Record(judged) = judge.read_value(&mut datum.as_slice()).expect("resolves") else { panic!("a record") };
        let wanted = stored(&declared);
        let mut decoder = Decoder::resolving(7, writer.as_str().into(), Some(&declared)).expect("a schema");
        let payload = framed(7, &datum);
        let decoded = decoder.decode(&[0], |_| &payload, &wanted).expect("types fit");
        prop_assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
        for ((name, value), (field, column)) in judged.iter().zip(wanted.iter().zip(&decoded.columns)) {
            prop_assert_eq!(name.replacen('f', "g", 1), field.name().replacen('f', "g", 1));
            // The library returns days and instants in the unit of the default.
            let expected = match (field.data_type(), value) {
                (kind, Avro::TimestampMillis(ms)) if *kind == timestamp_type() => (ms * 1_000).to_string(),
                (_, value) => avro_text(value).replace("old:", "new:"),
            };
            prop_assert_eq!(arrow_text(column, 0), expected, "{}", name);
        }
    }
}

#[test]
fn a_field_that_goes_by_an_alias_makes_no_second_column_and_one_that_is_new_does() {
    let writer = r#"{"type":"record","name":"R","fields":[{"name":"old","type":"int"},{"name":"extra","type":"int"}]}"#;
    let declared =
        r#"{"type":"record","name":"R","fields":[{"name":"new","type":"long","aliases":["old"]}]}"#;
    let decoder = Decoder::resolving(1, writer.into(), Some(declared)).expect("a schema");
    let columns = catalog::columns::bronze_schema(&topic(), decoder.writer()).expect("storable");
    let names: Vec<_> = columns.fields().iter().take(2).map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["new", "extra"]);
}
