//! Damage to the topic of a gold table, and to its publisher's progress.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use avro::Frame;
use model::{TopicName, header};
use serde_json::{Value, json};
use testkit::mutants::{self, Sent};
use testkit::registry::Schemas;

use super::finished::{Project, block_on};
use super::{append, faults};
use crate::verify::{Finding, topic};
use crate::wiring::Wiring;

const TABLE: &str = "gold.totals";

fn topic() -> TopicName {
    "d.totals".parse().expect("a name")
}

/// Sends another record to the topic; `make` is given those that are there.
fn send(project: &Project, make: impl FnOnce(&[Sent]) -> Sent) {
    block_on(project.with(async |wiring: &Wiring| {
        let all = mutants::sent(&wiring.kafka, &topic()).await.expect("read");
        mutants::send(&wiring.kafka, &topic(), None, &make(&all)).await.expect("sent");
    }));
}

/// A row's record of the newest version.
fn newest(all: &[Sent]) -> Sent {
    let rows = all.iter().filter(|sent| sent.value.is_some());
    rows.max_by_key(|sent| sent.version()).expect("a row").clone()
}

/// The newest record of a name's row.
fn of(all: &[Sent], name: &str) -> Sent {
    let is_its = |key: &[u8]| key.ends_with(name.as_bytes());
    all.iter().rfind(|sent| sent.key.as_deref().is_some_and(is_its)).expect("a record").clone()
}

/// The record as one of another version, and not as its last one.
fn at(record: Sent, version: u64) -> Sent {
    let mut headers = record.headers;
    headers.retain(|(name, _)| name != header::LAST);
    for (_, text) in headers.iter_mut().filter(|(name, _)| name == header::VERSION) {
        *text = version.to_string().into_bytes();
    }
    Sent { headers, ..record }
}

/// Replaces the progress record of the table, which is the only one. Returns the version that it named.
fn note(project: &Project, change: impl FnOnce(Sent) -> Sent) -> u64 {
    block_on(project.with(async |wiring: &Wiring| {
        let topic = stream::internal::progress(&wiring.project.name);
        let held = stream::latest(&wiring.kafka, &topic).await.expect("read");
        let (key, value) = held.into_iter().next().expect("the table is published");
        let version = serde_json::from_slice::<Value>(&value).expect("JSON")["version"].as_u64();
        let held = Sent { key: Some(key), value: Some(value), headers: Vec::new() };
        mutants::send(&wiring.kafka, &topic, None, &change(held)).await.expect("sent");
        version.expect("a version")
    }))
}

/// The progress record with another value in a field.
fn with(record: Sent, field: &str, to: impl Into<Value>) -> Sent {
    let mut said: Value = serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
    said[field] = to.into();
    Sent { value: Some(said.to_string().into_bytes()), ..record }
}

/// Changes the actions of all versions of the table.
fn actions(project: &Project, change: impl Fn(&mut Value)) {
    for version in 0..project.versions(TABLE) {
        let mut actions = project.actions(TABLE, version);
        actions.iter_mut().for_each(&change);
        project.write(TABLE, version, &actions);
    }
}

/// Asserts that these are the faults, and that they are the topic's.
fn assert_faults(project: &Project, told: &[&str]) {
    let findings = block_on(project.verify());
    let told: Vec<String> = told.iter().map(|fault| format!("d.totals (topic): {fault}")).collect();
    assert_eq!(faults(&findings), told, "{findings:#?}");
}

#[test]
fn rows_that_no_version_brings_and_that_were_never_published_are_a_fault() {
    let project = Project::copy();
    note(&project, |held| Sent { value: None, ..held });
    actions(&project, |action| {
        for said in action.as_object_mut().expect("an object").values_mut() {
            if let Some(change) = said.get_mut("dataChange") {
                *change = json!(false);
            }
        }
    });
    assert_faults(&project, &["nothing was ever published, and `gold.totals` holds rows"]);
}

#[test]
fn a_version_that_is_published_in_part_is_a_fault() {
    let project = Project::copy();
    let version = note(&project, |held| with(held, "last", false));
    let told = format!("version {version} is published in part; `lakepulse gold` goes on with it");
    assert_faults(&project, &[&told]);
}

#[test]
fn a_record_of_a_version_above_the_progress_is_a_fault() {
    let project = Project::copy();
    let version = note(&project, |held| held);
    let above = version + 1;
    send(&project, |all| at(newest(all), above));
    let told = format!("a record is of version {above}, and progress says that {version} is the last");
    assert_faults(&project, &[&told]);
}

#[test]
fn a_version_without_its_last_record_is_a_fault() {
    let project = Project::copy();
    append(&project, TABLE, &[]);
    let version = project.versions(TABLE) as u64 - 1;
    note(&project, |held| with(held, "version", version));
    send(&project, |all| at(newest(all), version));
    let told = format!("the last record of version {version} (header `lp.last`) is missing");
    assert_faults(&project, &[&told]);
}

#[test]
fn a_topic_whose_records_are_all_of_another_table_is_a_fault() {
    let project = Project::copy();
    let id = "0b5e0b5e-0b5e-4b5e-8b5e-0b5e0b5e0b5e";
    actions(&project, |action| {
        if let Some(table) = action.get_mut("metaData") {
            table["id"] = json!(id);
        }
    });
    note(&project, |held| Sent { key: Some(id.as_bytes().to_vec()), ..held });
    assert_faults(&project, &[&format!("no record is of the table {id}")]);
}

#[test]
fn a_record_of_an_earlier_version_behind_a_later_one_is_a_fault() {
    let project = Project::copy();
    let (mut key, mut version) = (None, 0);
    send(&project, |all| {
        let newest = newest(all);
        version = newest.version().expect("a version") - 1;
        key.clone_from(&newest.key);
        at(newest, version)
    });
    let last = block_on(project.with(async |wiring: &Wiring| stream::tail(&wiring.kafka, &topic()).await));
    let last = last.expect("read");
    let (partition, sent) = last.iter().find(|(_, sent)| sent.key == key).expect("it was sent");
    let told = format!(
        "1 records are of a version below that of a record before them, the first at partition {partition}, \
         offset {}: version {version}",
        sent.offset
    );
    assert_faults(&project, &[&told]);
}

#[test]
fn a_record_without_a_key_is_a_fault() {
    let project = Project::copy();
    send(&project, |all| Sent { key: None, ..newest(all) });
    assert_faults(&project, &["1 records have no key"]);
}

#[test]
fn a_record_with_another_key_than_its_value_says_is_a_fault() {
    let project = Project::copy();
    send(&project, |all| Sent { key: of(all, "a").key, value: of(all, "b").value, ..newest(all) });
    let told = [
        "the record with the key (a) has a value of name=b",
        "1 records have another key than their value says",
        "1 rows missing, 1 too many, 0 with another value",
        "name=b is there and must not be (or is there twice)",
        "name=a is missing",
    ];
    assert_faults(&project, &told);
}

#[test]
fn a_value_that_is_no_datum_of_its_schema_is_a_fault() {
    let project = Project::copy();
    let mut id = 0;
    send(&project, |all| {
        let newest = newest(all);
        let (mut key, mut value) = (newest.key.clone().expect("a key"), newest.value.clone().expect("a row"));
        id = Frame::decode(&value).expect("a frame").id;
        // A name that the table lacks, so that no row is expected: the second branch of the union, one byte.
        key.truncate(Frame::LEN);
        key.extend([2, 2, b'x']);
        value.truncate(Frame::LEN + 1);
        Sent { key: Some(key), value: Some(value), ..newest }
    });
    let told = format!("record 3 of schema {id} cannot be decoded: the record ends inside a value");
    assert_faults(&project, &[&told]);
}

#[tokio::test]
async fn a_value_that_another_library_reads_otherwise_is_a_fault() {
    let registry = Schemas::new().registry();
    let schema = r#"{"type":"record","name":"total","fields":[{"name":"n","type":"long"}]}"#;
    let id = registry.register("d.totals-value", schema).await.expect("registered");
    let mut value = Vec::new();
    Frame { id, body: &[2] }.encode(&mut value);
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let rows = RecordBatch::try_from_iter([("n", counts)]).expect("columns fit");
    let mut finding = Finding::new("d.totals");
    let looked = topic::twice(&registry, id, &[value.as_slice()], &rows, &mut finding).await;
    assert_eq!(looked.expect("the registry has it"), 1);
    assert_eq!(finding.faults, [format!("record 0 of schema {id}: `n` is 2 where 1 is right")]);
}
