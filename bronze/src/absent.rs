//! What stands for a column in records whose writer did not know it, where no contract says it: the default that
//! the column had when the table got it ([`lake::defaults`]).

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Fields, Float32Type, Float64Type, Int32Type, Int64Type, Schema,
    TimestampMicrosecondType,
};
use catalog::Topic;
use serde_json::Value;

use crate::conform::conform;
use crate::resolve::{self, Fill};

/// Defaults by dotted path, as JSON.
pub type Values = BTreeMap<String, String>;

/// The defaults that a schema gives columns, as the table stores them. One that is no value of its column is none.
pub fn of(schema: &str, columns: &Schema) -> Values {
    let stored = |(path, one): (String, ArrayRef)| {
        let mut misfits = Vec::new();
        let one = conform(&one, at(columns.fields(), &path)?, &mut misfits).ok()?;
        let text = lake::defaults::text(&one).filter(|_| misfits.is_empty())?;
        Some((path, text))
    };
    resolve::defaults(schema).into_iter().filter_map(stored).collect()
}

/// The property that a topic's table is created with. `None`: its schemas give no defaults.
pub fn property(topic: &Topic, columns: &Schema) -> Option<String> {
    let values = of(topic.value_schema.as_deref()?, columns);
    (!values.is_empty()).then(|| lake::defaults::offered(&values))
}

/// The Avro schema of these columns with their defaults in it.
pub fn declare(schema: &str, columns: &Fields, values: &Values) -> String {
    let Ok(mut root) = serde_json::from_str::<Value>(schema) else { return schema.to_owned() };
    declare_in(&mut root, columns, "", values);
    root.to_string()
}

fn declare_in(record: &mut Value, columns: &Fields, path: &str, values: &Values) {
    for field in record["fields"].as_array_mut().into_iter().flatten() {
        let Some((_, column)) = field["name"].as_str().and_then(|name| columns.find(name)) else { continue };
        let path = if path.is_empty() { column.name().clone() } else { format!("{path}.{}", column.name()) };
        let one = values.get(&path).and_then(|value| lake::defaults::one(value, column.data_type()));
        let branches = field["type"].as_array_mut();
        if let (DataType::Struct(within), Some([_, inner])) =
            (column.data_type(), branches.map(Vec::as_mut_slice))
        {
            declare_in(inner, within, &path, values);
        } else if let Some(default) = one.and_then(|one| of_avro(&one)) {
            // A default is of the first branch.
            field["type"].as_array_mut().into_iter().for_each(|branches| branches.reverse());
            field["default"] = default;
        }
    }
}

/// A column of one row as a default of Avro.
fn of_avro(one: &ArrayRef) -> Option<Value> {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    Some(match one.data_type() {
        DataType::Boolean => one.as_boolean().value(0).into(),
        DataType::Int32 => one.as_primitive::<Int32Type>().value(0).into(),
        DataType::Int64 => one.as_primitive::<Int64Type>().value(0).into(),
        DataType::Float32 => one.as_primitive::<Float32Type>().value(0).into(),
        DataType::Float64 => one.as_primitive::<Float64Type>().value(0).into(),
        DataType::Utf8 => one.as_string::<i32>().value(0).into(),
        DataType::Binary => text(one.as_binary::<i32>().value(0)).into(),
        DataType::Decimal128(..) => text(&one.as_primitive::<Decimal128Type>().value(0).to_be_bytes()).into(),
        DataType::Date32 => one.as_primitive::<Date32Type>().value(0).into(),
        DataType::Timestamp(..) => one.as_primitive::<TimestampMicrosecondType>().value(0).into(),
        // Items may be null, and a default is of the first branch, which null is: only an empty list is one.
        DataType::List(_) if one.as_list::<i32>().value(0).is_empty() => Value::Array(Vec::new()),
        _ => return None,
    })
}

/// What to put into columns that are not there.
pub fn fill(values: &Values, columns: &Fields) -> Fill {
    let ones = values.iter().filter_map(|(path, value)| {
        let one = lake::defaults::one(value, at(columns, path)?)?;
        Some((path.split('.').collect::<Vec<_>>(), one))
    });
    let mut root = Fill::Nothing;
    for (path, one) in ones {
        let Some((name, within)) = path.split_last() else { continue };
        let record = within.iter().fold(record(&mut root), |(fields, _), name| {
            record(fields.entry((*name).to_owned()).or_default())
        });
        record.1.push(((*name).to_owned(), one));
    }
    root
}

type Record<'a> = (&'a mut HashMap<String, Fill>, &'a mut Vec<(String, ArrayRef)>);

/// The place of a record, made where it is not there yet.
fn record(fill: &mut Fill) -> Record<'_> {
    if *fill == Fill::Nothing {
        *fill = Fill::Record { fields: HashMap::new(), absent: Vec::new() };
    }
    match fill {
        Fill::Record { fields, absent } => (fields, absent),
        _ => unreachable!("paths of defaults name records, and nothing else was put here"),
    }
}

/// Whether there is a column at a dotted path.
pub fn has(columns: &Schema, path: &str) -> bool {
    at(columns.fields(), path).is_some()
}

/// The type of the column at a dotted path.
fn at<'a>(fields: &'a Fields, path: &str) -> Option<&'a DataType> {
    let mut parts = path.split('.');
    let mut kind = fields.find(parts.next()?)?.1.data_type();
    for part in parts {
        let DataType::Struct(fields) = kind else { return None };
        kind = fields.find(part)?.1.data_type();
    }
    Some(kind)
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value as Avro;
    use catalog::avro::{avro_from_arrow, bronze_schema};
    use rstest::rstest;

    use super::*;
    use crate::decode::{Decoder, Wanted};
    use crate::testing::{arrow_text, avro_text, body, framed, schema, topic};

    const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"id","type":"int"}}{fields}]}}"#)
    }

    /// A record whose writer lacks a field has the field's default, as Avro's own resolution says, at the top and
    /// in a record within; and the default is the same once it was written into a property, or into a schema.
    #[rstest]
    #[case::text(r#""string""#, r#""new \" \u00e9""#)]
    #[case::text_or_null(r#"["string","null"]"#, r#""x""#)]
    #[case::long(r#""long""#, "9007199254740993")]
    #[case::int(r#""int""#, "-7")]
    #[case::double(r#""double""#, "0.1")]
    #[case::boolean(r#""boolean""#, "true")]
    // The library takes a default of bytes for text in UTF-8, where the specification has one byte a character.
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
        let payload = framed(7, &datum);
        let mut decoder = Decoder::try_new(7, old.as_str().into()).expect("a schema");
        let absent = fill(&values, &own);
        let decoded =
            decoder.decode(&[0], |_| &payload, Wanted { columns: &own, absent: &absent }).expect("fits");
        assert!(decoded.refused.is_empty());
        let at = |name: &str| own.find(name).expect("a column").0;
        let top = arrow_text(&decoded.columns[at("c")], 0);
        assert_eq!(top, avro_text(&judged["c"]));
        let after = decoded.columns[at("after")].as_struct();
        assert_eq!(arrow_text(after.column_by_name("c").expect("there"), 0), top);
        assert_eq!(arrow_text(after.column_by_name("k").expect("there"), 0), "1");

        let plain = avro_from_arrow("V", "n", &Schema::new(own.clone()), &[]).expect("a schema");
        assert_eq!(of(&declare(&plain, &own, &values), &columns), values);
        let property = lake::defaults::parse(Some(&lake::defaults::offered(&values))).expect("JSON");
        assert_eq!(property["c"].value, values["c"]);
    }

    /// What a writer has stays what it is, null too, and a row that is not there gets no field.
    #[test]
    fn what_a_writer_has_stays() {
        let row =
            r#"["null",{"type":"record","name":"Row","fields":[{"name":"c","type":["null","string"]}]}]"#;
        let old = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"after","type":{row}}}]}}"#);
        let new = old.replace(r#"["null","string"]"#, r#"["string","null"],"default":"x""#);
        let columns = bronze_schema(&topic(), &new).expect("storable");
        let own: Fields = columns.fields().iter().take(1).cloned().collect();
        let absent = fill(&of(&new, &columns), &own);
        assert_ne!(absent, Fill::Nothing);
        let null = Avro::Union(0, Box::new(Avro::Null));
        let there = Avro::Record(vec![("c".to_owned(), null.clone())]);
        let from = schema(&old);
        let payloads = [null, Avro::Union(1, Box::new(there))]
            .map(|after| framed(7, &body(&from, Avro::Record(vec![("after".to_owned(), after)]))));
        let mut decoder = Decoder::try_new(7, old.as_str().into()).expect("a schema");
        let wanted = Wanted { columns: &own, absent: &absent };
        let decoded = decoder.decode(&[0, 1], |at| &payloads[at as usize], wanted).expect("fits");
        let after = decoded.columns[0].as_struct();
        assert!(after.is_null(0) && after.is_valid(1));
        assert_eq!(after.column(0).null_count(), 2);
    }
}
