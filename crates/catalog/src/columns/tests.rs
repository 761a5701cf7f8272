use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use avro::{Compat, Error, compatibility, from_arrow, is_ahead, timestamp_type};
use rstest::rstest;

use super::*;
use crate::{Envelope, Location, Topic, ValueFormat};

fn topic(envelope: Envelope, key: &[&str]) -> Topic {
    Topic {
        name: "shop.orders".parse().expect("a topic name"),
        table: "bronze.orders".parse().expect("a table name"),
        description: None,
        value: ValueFormat::Avro,
        envelope,
        decimals: model::text::DecimalForm::Text,
        bytes: model::text::BytesForm::Text,
        key_format: None,
        value_schema: None,
        declared: false,
        key_schema: None,
        key: key.iter().map(ToString::to_string).collect(),
        partition_by: Vec::new(),
        event_time: None,
        epoch: None,
        full_identity: false,
        snapshots: Default::default(),
        placeholder: None,
        partitions: 1,
        replication: 1,
        retention: None,
        compatibility: "BACKWARD".to_owned(),
        config: Default::default(),
        location: Location::new("topics.yaml", 1),
    }
}

fn record(fields: &str) -> String {
    format!("{{\"type\":\"record\",\"name\":\"R\",\"fields\":[{fields}]}}")
}
fn of(data_type: &str) -> String {
    record(&format!("{{\"name\":\"x\",\"type\":{data_type}}}"))
}
fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

#[rstest]
#[case::int("\"int\"", DataType::Int64)]
#[case::float("\"float\"", DataType::Float64)]
#[case::nullable("[\"null\",\"long\"]", DataType::Int64)]
#[case::null_second("[\"string\",\"null\"]", DataType::Utf8)]
#[case::decimal(
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":3}",
    DataType::Decimal128(38, 3)
)]
#[case::decimal_of_unknown_precision(
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":64,\"scale\":4,\"connect.name\":\"org.apache.kafka.connect.data.Decimal\"}",
    DataType::Decimal128(38, 4)
)]
#[case::date("{\"type\":\"int\",\"logicalType\":\"date\"}", DataType::Date32)]
#[case::millis("{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}", timestamp_type())]
#[case::local("{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}", timestamp_type())]
#[case::time("{\"type\":\"int\",\"logicalType\":\"time-millis\"}", DataType::Int64)]
#[case::uuid("{\"type\":\"string\",\"logicalType\":\"uuid\"}", DataType::Utf8)]
#[case::symbols("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", DataType::Utf8)]
#[case::fixed("{\"type\":\"fixed\",\"name\":\"F\",\"size\":4}", DataType::Binary)]
#[case::array("{\"type\":\"array\",\"items\":\"int\"}", list(DataType::Int64))]
fn bronze_stores_the_widest_type_of_each_family(#[case] avro: &str, #[case] stored: DataType) {
    let schema = bronze_schema(&topic(Envelope::None, &[]), &of(avro)).expect("storable");
    assert_eq!(schema.field(0).data_type(), &stored);
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
}

#[rstest]
#[case::union("[\"int\",\"string\"]", "a union of several types")]
#[case::wide(
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":40,\"scale\":39}",
    "more than 38 digits"
)]
#[case::null("\"null\"", "always null")]
#[case::itself("[\"null\",\"R\"]", "which it is part of")]
fn what_no_table_can_store_is_named_with_its_path(#[case] avro: &str, #[case] says: &str) {
    let schema = record(&format!(
        "{{\"name\":\"x\",\"type\":[\"null\",{{\"type\":\"record\",\"name\":\"I\",\"fields\":[{{\"name\":\"y\",\"type\":{avro}}}]}}]}}"
    ));
    let error = bronze_schema(&topic(Envelope::None, &[]), &schema).expect_err("not storable").to_string();
    assert!(error.contains("`x.y`") && error.contains(says), "{error}");
}

#[test]
fn a_record_that_holds_itself_is_refused() {
    let error = bronze_schema(
        &topic(Envelope::None, &[]),
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"i\",\"type\":[\"null\",\"I\"]}]}}]}",
    );
    assert!(matches!(error, Err(Error::Recursive { path, .. }) if path == "a.i"));
}

#[test]
fn columns_that_delta_cannot_tell_apart_are_refused() {
    for fields in [
        "{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"A\",\"type\":\"int\"}",
        "{\"name\":\"_Offset\",\"type\":\"int\"}",
    ] {
        let error = bronze_schema(&topic(Envelope::None, &[]), &record(fields));
        assert!(matches!(error, Err(Error::Twice { .. })), "{error:?}");
    }
}

#[test]
fn coordinates_stand_behind_the_value_in_a_fixed_order() {
    let schema = bronze_schema(&topic(Envelope::None, &["x"]), &of("\"int\"")).expect("storable");
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "x",
            "_keys",
            "_key",
            "_topic_id",
            "_partition",
            "_offset",
            "_timestamp",
            "_headers",
            "_schema_id",
            "_epoch",
            "_redrive",
            "_ingested_at",
            "_error",
            "_raw",
            "_ingested_date"
        ]
    );
    assert_eq!(&names[2..], meta_names());
    assert_eq!(&names[1..], model::column::OF_BRONZE, "the list that the stages tell them by");
}

#[test]
fn a_key_schema_gives_the_keys_types_and_a_bare_key_the_one_columns() {
    let mut topic = topic(Envelope::None, &["id"]);
    topic.key_schema = Some("\"string\"".into());
    let schema = bronze_schema(&topic, &of("\"int\"")).expect("storable");
    let keys = DataType::Struct(vec![Field::new("id", DataType::Utf8, true)].into());
    assert_eq!(schema.field_with_name("_keys").expect("there").data_type(), &keys);
    // The value has no such column: the key's own is what a model sees.
    let changes = changes_schema(&topic, &schema).expect("columns");
    assert_eq!(changes.field(1).name(), "id");
}

#[test]
fn a_flat_envelope_hides_its_own_columns() {
    let fields = "{\"name\":\"id\",\"type\":\"int\"},{\"name\":\"__op\",\"type\":\"string\"},{\"name\":\"__deleted\",\"type\":\"string\"}";
    let topic = topic(Envelope::DebeziumFlat, &["id"]);
    let bronze = bronze_schema(&topic, &record(fields)).expect("storable");
    let changes = changes_schema(&topic, &bronze).expect("columns");
    let names: Vec<&str> = changes.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "_op", "_epoch", "_lsn", "_tx_order", "_offset", "_ts", "_unchanged"]);
}

#[test]
fn learning_a_topic_fills_in_its_key_from_either_side() {
    let value = record(
        "{\"name\":\"id\",\"type\":[\"null\",\"long\"]},{\"name\":\"day\",\"type\":{\"type\":\"int\",\"logicalType\":\"date\"}}",
    );
    let declared = topic(Envelope::None, &["day", "id"]).learn(&value, None).expect("storable");
    let key = declared.key_schema.expect("derived");
    assert!(
        key.contains("\"namespace\":\"shop.orders\"") && key.contains("\"logicalType\":\"date\""),
        "{key}"
    );
    assert_eq!(declared.partition_by, ["day", "id"]);
    let learned = topic(Envelope::None, &[]).learn(&value, Some(&key)).expect("storable");
    assert_eq!(learned.key, ["day", "id"]);
}

#[test]
fn a_gold_schema_is_avro_and_a_new_column_in_it_is_compatible() {
    let decimal = Field::new("revenue", DataType::Decimal128(38, 2), true);
    let inner = DataType::Struct(vec![Field::new("city", DataType::Utf8, true)].into());
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        decimal,
        Field::new("day", DataType::Date32, true),
        Field::new("seen", timestamp_type(), true),
        Field::new("home", inner.clone(), true),
        Field::new("work", inner, true),
        Field::new("tags", list(DataType::Utf8), true),
    ];
    let schema = Schema::new(fields.clone());
    let json = from_arrow("Value", "shop.gold", &schema, &[]).expect("legal");
    let stored = bronze_schema(&topic(Envelope::None, &[]), &json).expect("reads back");
    assert_eq!(stored.fields()[..fields.len()], schema.fields()[..], "the same columns come back");
    let wider = Schema::new([fields, vec![Field::new("note", DataType::Utf8, true)]].concat());
    let wider = from_arrow("Value", "shop.gold", &wider, &[]).expect("legal");
    assert_eq!(
        compatibility(&json, &wider).expect("avro"),
        Compat::Additive(vec!["`note` is new".to_owned()])
    );
    let key = from_arrow("Key", "shop.gold", &schema, &["day".to_owned(), "id".to_owned()]).expect("legal");
    assert_eq!(record_columns(&key).expect("avro"), ["day", "id"]);
    let bad = Schema::new(vec![Field::new("sum(x)", DataType::Int64, true)]);
    assert!(matches!(from_arrow("V", "n", &bad, &[]), Err(Error::BadName { .. })));
}

#[rstest]
#[case::same("\"int\"", "\"int\"", "same")]
#[case::int_to_long("\"int\"", "\"long\"", "promoted")]
#[case::made_nullable("\"int\"", "[\"null\",\"int\"]", "same")]
#[case::no_longer_nullable("[\"null\",\"int\"]", "\"int\"", "incompatible")]
#[case::int_to_double("\"int\"", "\"double\"", "incompatible")]
#[case::text_to_bytes("\"string\"", "\"bytes\"", "incompatible")]
#[case::more_digits(
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}",
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":12,\"scale\":2}",
    "promoted"
)]
#[case::more_digits_behind_the_point(
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":2}",
    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":9,\"scale\":4}",
    "incompatible"
)]
#[case::new_symbol(
    "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}",
    "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}",
    "promoted"
)]
#[case::lost_symbol(
    "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}",
    "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}",
    "incompatible"
)]
fn a_changed_type_has_a_class(#[case] old: &str, #[case] new: &str, #[case] class: &str) {
    let found = match compatibility(&of(old), &of(new)).expect("avro") {
        Compat::Same => "same",
        Compat::Additive(_) => "additive",
        Compat::Promoted(_) => "promoted",
        Compat::Incompatible(_) => "incompatible",
    };
    assert_eq!(found, class);
}

#[test]
fn a_new_field_needs_a_default_and_a_lost_one_does_not() {
    let one = "{\"name\":\"a\",\"type\":\"int\"}";
    let two =
        |default: &str| record(&format!("{one},{{\"name\":\"b\",\"type\":[\"null\",\"int\"]{default}}}"));
    let (one, with, without) = (record(one), two(",\"default\":null"), two(""));
    assert!(matches!(compatibility(&one, &with).expect("avro"), Compat::Additive(_)));
    assert!(matches!(compatibility(&one, &without).expect("avro"), Compat::Incompatible(_)));
    assert!(matches!(compatibility(&with, &one).expect("avro"), Compat::Additive(_)));
    assert!(is_ahead(&with, &one).expect("avro") && !is_ahead(&one, &with).expect("avro"));
    assert!(!is_ahead(&one, &one).expect("avro"));
}

#[test]
fn a_gold_schema_with_unusual_types_is_stored_as_one_text_and_one_timestamp_type() {
    use arrow::datatypes::TimeUnit;
    let given = Schema::new(vec![
        Field::new("a", DataType::Utf8View, false),
        Field::new("b", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("c", DataType::UInt32, true),
        Field::new("d", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
    ]);
    let types: Vec<DataType> =
        storable(&given).expect("storable").fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, timestamp_type(), DataType::Int64, DataType::Utf8]);
    let time = Schema::new(vec![Field::new("t", DataType::Time64(TimeUnit::Microsecond), true)]);
    assert!(matches!(storable(&time), Err(Error::Unsupported { .. })));
}
