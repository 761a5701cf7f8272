//! Another library reads back any value of any stored type as it was written.

use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use arrow::array::{Array, Int64Builder};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use proptest::prelude::*;

use super::*;

/// A column of two rows, the second null, and its first value in Avro.
type Sample = (ArrayRef, Value);

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), any::<String>(), Just("\u{0}\u{10ffff}é".to_owned())]
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let numbers = (any::<bool>(), any::<i8>(), any::<i16>(), any::<i32>(), any::<i64>()).prop_map(
        |(truth, tiny, small, int, long)| -> Vec<Sample> {
            vec![
                (Arc::new(BooleanArray::from(vec![Some(truth), None])), Value::Boolean(truth)),
                (Arc::new(Int8Array::from(vec![Some(tiny), None])), Value::Int(tiny.into())),
                (Arc::new(Int16Array::from(vec![Some(small), None])), Value::Int(small.into())),
                (Arc::new(Int32Array::from(vec![Some(int), None])), Value::Int(int)),
                (Arc::new(Int64Array::from(vec![Some(long), None])), Value::Long(long)),
                (Arc::new(Date32Array::from(vec![Some(int), None])), Value::Date(int)),
                (
                    Arc::new(TimestampMicrosecondArray::from(vec![Some(long), None]).with_timezone("UTC")),
                    Value::TimestampMicros(long),
                ),
            ]
        },
    );
    let real = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE / 4.0)
    ];
    let reals = (real, any::<u32>().prop_map(f32::from_bits)).prop_map(|(double, float)| -> Vec<Sample> {
        vec![
            (Arc::new(Float64Array::from(vec![Some(double), None])), Value::Double(double)),
            (Arc::new(Float32Array::from(vec![Some(float), None])), Value::Float(float)),
        ]
    });
    let most = 10_i128.pow(38) - 1;
    let unscaled = prop_oneof![-most..=most, -300_i128..300, Just(most), Just(-most), Just(-128), Just(128)];
    let decimals = (unscaled, 0_i8..=38).prop_map(|(unscaled, scale)| -> Vec<Sample> {
        let array = Decimal128Array::from(vec![Some(unscaled), None]);
        let array = array.with_precision_and_scale(38, scale).expect("fits");
        vec![(Arc::new(array), Value::Decimal(unscaled.to_be_bytes().to_vec().into()))]
    });
    let words = (text(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(text, raw)| -> Vec<Sample> {
        let bytes = BinaryArray::from(vec![Some(raw.as_slice()), None]);
        vec![
            (Arc::new(StringArray::from(vec![Some(text.as_str()), None])), Value::String(text)),
            (Arc::new(bytes), Value::Bytes(raw)),
        ]
    });
    let nested = prop::collection::vec((text(), prop::option::of(any::<i64>())), 0..4).prop_map(nested);
    (numbers, reals, decimals, words, nested).prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat())
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}
fn optional(value: Option<i64>) -> Value {
    value.map_or(Value::Union(0, Box::new(Value::Null)), |value| some(Value::Long(value)))
}

fn nested(entries: Vec<(String, Option<i64>)>) -> Vec<Sample> {
    let element = Field::new("element", DataType::Int64, true);
    let mut list = ListBuilder::new(Int64Builder::new()).with_field(element);
    entries.iter().for_each(|(_, value)| list.values().append_option(*value));
    list.append(true);
    list.append(false);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    let mut unique = std::collections::HashMap::new();
    for (key, value) in &entries {
        if unique.insert(key.clone(), optional(*value)).is_none() {
            map.keys().append_value(key);
            map.values().append_option(*value);
        } else {
            unique
                .insert(key.clone(), optional(entries.iter().find(|(k, _)| k == key).and_then(|(_, v)| *v)));
        }
    }
    map.append(true).expect("keys are as many as values");
    map.append(false).expect("keys are as many as values");
    let first = entries.first().cloned();
    let name = first.as_ref().map(|(name, _)| name.clone());
    let inner: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![name.clone(), None])),
        ),
        (
            Arc::new(Field::new("n", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![first.and_then(|(_, n)| n), None])),
        ),
    ];
    let n = entries.first().and_then(|(_, n)| *n);
    let (fields, columns): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
    let row = StructArray::new(Fields::from(fields), columns, Some(vec![true, false].into()));
    let name = name.map_or(Value::Union(0, Box::new(Value::Null)), |name| some(Value::String(name)));
    vec![
        (Arc::new(list.finish()), Value::Array(entries.iter().map(|(_, value)| optional(*value)).collect())),
        (Arc::new(map.finish()), Value::Map(unique)),
        (Arc::new(row), Value::Record(vec![("name".to_owned(), name), ("n".to_owned(), optional(n))])),
    ]
}

/// Equal bit by bit; decimals by their number.
fn same(a: &Value, b: &Value) -> bool {
    let number = |decimal: &apache_avro::Decimal| {
        let raw: Vec<u8> = decimal.try_into().expect("a decimal is bytes");
        let fill = if raw.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 32];
        wide[32 - raw.len()..].copy_from_slice(&raw);
        wide
    };
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Decimal(a), Value::Decimal(b)) => number(a) == number(b),
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(cases::few(128))]
    #[test]
    fn a_value_in_is_the_value_out(samples in samples()) {
        let names: Vec<String> = (0..samples.len()).map(|at| format!("c{at}")).collect();
        let field = |(name, (array, _)): (&String, &Sample)| Field::new(name, array.data_type().clone(), true);
        let schema: SchemaRef = Arc::new(Schema::new(names.iter().zip(&samples).map(field).collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema.clone(), samples.iter().map(|(array, _)| array.clone()).collect());
        let rows = rows.expect("columns of the schema");
        // Every column that may be a key is one here.
        let keys: Vec<String> = names.iter().zip(&samples).filter(|(_, (a, _))| !a.data_type().is_nested()).map(|(n, _)| n.clone()).collect();
        let json: Arc<str> = avro::from_arrow("t", "gold", &schema, &[]).expect("a schema").into();
        let key: Arc<str> = avro::from_arrow("t_key", "gold", &schema, &keys).expect("a schema").into();
        let registered = |id, json: &Arc<str>| Registered { id, json: json.clone() };
        let encoders = Encoders::try_new(&schema, &keys, &registered(1, &key), &registered(2, &json)).expect("encoders");
        for (json, encoded, columns) in [
            (&json, encoders.values(&rows).expect("encoded"), &names),
            (&key, encoders.keys(&rows).expect("encoded"), &keys),
        ] {
            let avro = Avro::parse_str(json).expect("a schema");
            let reader = GenericDatumReader::builder(&avro).build().expect("a reader");
            for (row, framed) in encoded.iter().enumerate() {
                let mut body = &framed[5..];
                let read = reader.read_value(&mut body).expect("a datum of its schema");
                prop_assert!(body.is_empty(), "nothing is left over");
                let Value::Record(fields) = read else { panic!("a record") };
                for (name, (column, value)) in columns.iter().zip(fields) {
                    prop_assert_eq!(name, &column);
                    let Value::Union(branch, inner) = value else { panic!("a union") };
                    let at = names.iter().position(|known| *known == column).expect("a column");
                    if row == 1 {
                        prop_assert_eq!(branch, 0, "{} is null", column);
                    } else {
                        prop_assert!(same(&inner, &samples[at].1), "{}: {:?} of {:?}", column, inner, samples[at].1);
                    }
                }
            }
        }
    }
}
