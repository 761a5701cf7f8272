//! Records of a topic as bronze is handed them: keys and values behind the registry's frame, or not.

use std::cell::RefCell;
use std::sync::Arc;

use bronze::assemble::{Layout, Origin};
use bronze::batch::{Format, Known, Reader};
use bronze::decode::Decoder;
use model::{ClockMs, Offset};
use stream::{Record, Records};

use crate::parts;
use crate::project::{self, EVERY_TYPE};

thread_local! {
    static READER: RefCell<Reader> = RefCell::new(reader());
}

fn reader() -> Reader {
    let columns = project::columns(project::topic("fuzz.avro"));
    let mut reader = Reader::new(Format::Avro, Layout::new(columns));
    let schema: Arc<str> = EVERY_TYPE.into();
    let decoder = Decoder::try_new(1, schema).expect("a schema of ours");
    reader.values.put(1, Known::Ready(Box::new(decoder)));
    reader
}

/// Records of the topic, one behind the other; each a key and a value.
pub fn run(data: &[u8]) {
    if let Ok(frame) = avro::Frame::decode(data) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, data);
    }
    let topic = project::topic("fuzz.avro");
    let mut records = Records::new(topic.name.clone(), "id".parse().expect("a topic id"), 0);
    let halves = parts::<8>(data);
    for (at, pair) in halves.chunks(2).enumerate() {
        let (key, value) = (pair[0], pair[1]);
        records.push(&Record {
            offset: Offset(at as i64),
            timestamp: 0,
            key: (!key.is_empty()).then_some(key),
            value: (value != b"null").then_some(value),
            headers: &[("h", Some(key)), ("lp.epoch", Some(value)), ("n", None)],
        });
    }
    let kept: Vec<u32> = (0..records.len() as u32).collect();
    let origin = Origin { topic_id: "id", partition: 0, epoch: None, ingested_at: ClockMs(0) };
    let read = READER.with_borrow_mut(|reader| {
        drop(reader.fresh(&records, &kept));
        reader.read(origin, &records, &kept)
    });
    assert_eq!(read.batch.num_rows(), kept.len(), "every record is a row");
}
