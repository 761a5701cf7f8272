//! Debezium's envelope, from the bytes of a record to the events that silver folds.

use std::cell::RefCell;
use std::sync::Arc;

use bronze::assemble::{Layout, Origin};
use bronze::batch::{Format, Reader};
use bronze::json::{Dialect, Known};
use model::{ClockMs, Offset, Version};
use silver::judge::Rules;
use stream::{Record, Records};

use crate::parts;
use crate::project::{self, PROJECT};

thread_local! {
    static RULES: RefCell<Rules> = RefCell::new(rules());
    static READER: RefCell<Reader> = RefCell::new(reader());
}

fn rules() -> Rules {
    let topic = project::topic("fuzz.shop");
    let model = PROJECT.catalog.silver().next().expect("the project has one");
    let columns = project::columns(topic);
    project::block_on(Rules::compile(model, topic, &columns)).expect("it fits its topic")
}

fn reader() -> Reader {
    let topic = project::topic("fuzz.shop");
    let schema: Arc<str> = topic.value_schema.clone().expect("declared");
    let mut reader = Reader::new(Format::Json, Layout::new(project::columns(topic)));
    let dialect = Dialect::try_new(0, &schema, false, project::encodings(topic)).expect("a schema of ours");
    reader.value_parts.declare(Known::Ready(Box::new(dialect)));
    reader
}

/// Up to four records of one topic.
pub fn run(data: &[u8]) {
    let topic = project::topic("fuzz.shop");
    let mut records = Records::new(topic.name.clone(), "id".parse().expect("a topic id"), 0);
    for (at, value) in parts::<4>(data).into_iter().enumerate() {
        records.push(&Record {
            offset: Offset(at as i64),
            timestamp: 1_700_000_000_000,
            key: Some(br#"{"id":1}"#),
            value: (!value.is_empty()).then_some(value),
            headers: &[("__debezium.oldkey", Some(value)), ("__debezium.newkey", Some(value))],
        });
    }
    let kept: Vec<u32> = (0..records.len() as u32).collect();
    let origin = Origin { topic_id: "id", partition: 0, epoch: Some(1), ingested_at: ClockMs(0) };
    let read = READER.with_borrow_mut(|reader| reader.read(origin, &records, &kept));
    assert_eq!(read.batch.num_rows(), kept.len(), "every record is a row");
    RULES.with_borrow(|rules| {
        let mut desk = rules.desk().expect("keys of ours");
        let judged = rules.judge(&read.batch, &mut desk, Some(Version(1)));
        let judged = judged.expect("whatever a record holds, it is judged");
        assert!(judged.events.len() <= kept.len());
    });
}
