use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use bytes::Bytes;

use super::super::schema::{self, Column};
use super::*;

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind, nullable: true }
}

/// Orders: `id` is the key, `note` may be TOASTed, `total` is a decimal.
fn columns() -> [Column; 3] {
    [
        column("id", Kind::Int),
        column("note", Kind::Text(None)),
        column("total", Kind::Decimal { precision: 18, scale: 2 }),
    ]
}
fn made() -> Json {
    schema::value("shop", "public.orders", &columns(), &["id".to_owned()])
}
fn form(value: Option<Json>) -> Arc<Form> {
    let columns = columns();
    let shape = |json: &Json| Shape::lenient(&json.to_string()).expect("an Avro schema");
    let value = value.unwrap_or_else(made);
    let key_form = Written { id: 7, shape: shape(&schema::key("shop", "public.orders", &[&columns[0]])) };
    Arc::new(Form {
        topic: "shop.orders".parse().expect("a topic name"),
        partitions: 6,
        server: "shop".to_owned(),
        database: "db".to_owned(),
        schema: "public".to_owned(),
        table: "orders".to_owned(),
        columns: columns.into_iter().map(|column| (column.name, column.kind)).collect(),
        key: vec![0],
        partition_by: Vec::new(),
        key_form: Some(key_form),
        value_form: Written { id: 9, shape: shape(&value) },
    })
}

fn cell(text: &str) -> Cell {
    match text {
        "~" => Cell::Null,
        "=" => Cell::Unchanged,
        text => Cell::Text(Bytes::copy_from_slice(text.as_bytes())),
    }
}
fn tuple(id: &str, note: &str, total: &str) -> Tuple {
    [id, note, total].map(cell).to_vec()
}
fn event(form: &Arc<Form>, change: Operation) -> ChangeEvent {
    let origin = Origin::Transaction { xid: 77, total: 2, of_table: 1 };
    ChangeEvent { form: form.clone(), change, place: Place { epoch: 3, lsn: 900, at_ms: 5, origin } }
}

/// The value of a record of [`made`] as JSON.
fn read(record: &EncodedRecord) -> Json {
    read_as(&made(), record)
}
fn read_as(schema: &Json, record: &EncodedRecord) -> Json {
    let value = record.value.as_deref().expect("no tombstone");
    assert_eq!(value[..5], [0, 0, 0, 0, 9], "a registry frame");
    let schema = Schema::parse(schema).expect("an Avro schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a schema");
    let mut rest = &value[5..];
    let value = reader.read_value(&mut rest).expect("a datum of its schema");
    assert!(rest.is_empty(), "bytes are left over");
    value.try_into().expect("JSON")
}
fn header<'a>(record: &'a EncodedRecord, name: &str) -> Option<&'a str> {
    let found = record.headers.iter().find(|(found, _)| *found == name);
    found.map(|(_, value)| std::str::from_utf8(value).expect("text"))
}

#[test]
fn an_insert_is_the_envelope_with_its_place() {
    let form = form(None);
    let sent = records(&event(&form, Operation::Insert { new: tuple("1", "a", "~"), moved_from: None }), 11);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].key.as_deref(), Some(&[0, 0, 0, 0, 7, 2][..]));
    assert_eq!(header(&sent[0], "lp.epoch"), Some("3"));
    let json = read(&sent[0]);
    assert_eq!((&json["op"], &json["ts_ms"], &json["before"]), (&json!("c"), &json!(11), &Json::Null));
    assert_eq!(json["after"], json!({ "id": 1, "note": "a", "total": null }));
    let source = &json["source"];
    assert_eq!((&source["lsn"], &source["txId"], &source["ts_ms"]), (&json!(900), &json!(77), &json!(5)));
    assert_eq!(
        (&source["db"], &source["table"], &source["snapshot"]),
        (&json!("db"), &json!("orders"), &json!("false"))
    );
    let place = json!({ "id": "77:900", "total_order": 2, "data_collection_order": 1 });
    assert_eq!(json["transaction"], place);
}

#[test]
fn a_snapshot_row_has_no_transaction() {
    let form = form(None);
    let mut event = event(&form, Operation::Insert { new: tuple("1", "a", "~"), moved_from: None });
    event.place.origin = Origin::Snapshot("true");
    let json = read(&records(&event, 11)[0]);
    assert_eq!((&json["op"], &json["transaction"]), (&json!("r"), &Json::Null));
    assert_eq!(json["source"]["snapshot"], "true");
}

#[test]
fn what_the_log_left_out_comes_from_the_row_before_or_is_marked() {
    let form = form(None);
    let new = tuple("1", "=", "~");
    let after = |old| {
        read(&records(&event(&form, Operation::Update { old, new: new.clone() }), 0)[0])["after"]["note"]
            .clone()
    };
    assert_eq!(after(Some(Old::Full(tuple("1", "long", "~")))), "long");
    assert_eq!(after(None), kind::UNAVAILABLE);
}

#[test]
fn a_delete_is_followed_by_a_tombstone_in_its_partition() {
    let form = form(None);
    let old = Old::Key(tuple("1", "~", "~"));
    let sent = records(&event(&form, Operation::Delete { old, moved_to: None }), 0);
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (sent[1].value.as_ref(), &sent[1].key, sent[1].partition),
        (None, &sent[0].key, sent[0].partition)
    );
    let json = read(&sent[0]);
    assert_eq!((&json["op"], &json["after"]), (&json!("d"), &Json::Null));
    assert_eq!(json["before"], json!({ "id": 1, "note": null, "total": null }));
}

#[test]
fn a_delete_makes_up_what_a_declared_schema_has_no_null_for() {
    let columns = [column("id", Kind::Int), column("note", Kind::Text(None))];
    let mut declared = schema::value("shop", "public.orders", &columns, &["id".to_owned()]);
    declared["fields"][0]["type"][1]["fields"][1] = json!({ "name": "note", "type": "string" });
    let form = form(Some(declared.clone()));
    let old = Old::Key(tuple("1", "~", "~"));
    let sent = records(&event(&form, Operation::Delete { old, moved_to: None }), 0);
    assert_eq!(read_as(&declared, &sent[0])["before"], json!({ "id": 1, "note": "" }));
}

#[test]
fn a_changed_key_names_the_other_one() {
    let form = form(None);
    let (old, new) = (Old::Key(tuple("1", "~", "~")), tuple("2", "=", "~"));
    let gone = records(&event(&form, Operation::Delete { old: old.clone(), moved_to: Some(new.clone()) }), 0);
    assert_eq!(header(&gone[0], "__debezium.newkey"), Some(r#"{"id":2}"#));
    let come = records(&event(&form, Operation::Insert { new, moved_from: Some(old) }), 0);
    assert_eq!(header(&come[0], "__debezium.oldkey"), Some(r#"{"id":1}"#));
    assert_eq!(read(&come[0])["after"]["note"], kind::UNAVAILABLE);
}

#[test]
fn a_value_that_its_schema_cannot_hold_goes_out_as_it_is_with_the_reason() {
    let form = form(None);
    let sent = records(&event(&form, Operation::Insert { new: tuple("1", "a", "NaN"), moved_from: None }), 0);
    assert!(sent[0].is_bad);
    let reason = header(&sent[0], "lp.error").expect("a reason");
    assert!(reason.contains("`total`: `NaN` is no decimal"), "{reason}");
    let kept: Json = serde_json::from_slice(sent[0].value.as_deref().expect("a value")).expect("JSON");
    assert_eq!(
        (&kept["op"], &kept["after"]["total"], &kept["lsn"]),
        (&json!("c"), &json!("NaN"), &json!(900))
    );
    assert_eq!(sent[0].key.as_deref(), Some(&[0, 0, 0, 0, 7, 2][..]), "the key is whole");
}

#[test]
fn a_new_version_of_the_keys_schema_moves_no_key() {
    let (old, mut new) = (form(None), form(None));
    let sent = |form: &Arc<Form>| {
        let change = Operation::Insert { new: tuple("1", "a", "~"), moved_from: None };
        records(&event(form, change), 0).remove(0)
    };
    Arc::get_mut(&mut new).and_then(|form| form.key_form.as_mut()).expect("alone").id = 8;
    let (old, new) = (sent(&old), sent(&new));
    assert_ne!(old.key, new.key);
    assert_eq!(old.partition, new.partition);
}

#[test]
fn a_truncate_has_no_key_and_no_row() {
    let form = form(None);
    let sent = records(&event(&form, Operation::Truncate), 0);
    assert_eq!((sent.len(), &sent[0].key, sent[0].partition), (1, &None, Some(0)));
    let json = read(&sent[0]);
    assert_eq!((&json["op"], &json["before"], &json["after"]), (&json!("t"), &Json::Null, &Json::Null));
}
