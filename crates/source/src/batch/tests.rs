use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;

/// Value and headers of what was sent.
type Record = (Vec<u8>, Vec<(String, Vec<u8>)>);

#[derive(Default)]
struct Kept(Mutex<Vec<Record>>);
#[async_trait]
impl Log for Kept {
    async fn begin(&self) -> stream::Result<()> {
        Ok(())
    }
    fn send(&self, record: Outgoing<'_>) -> stream::Result<()> {
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        self.0.lock().push((record.value.unwrap_or_default().to_vec(), headers.collect()));
        Ok(())
    }
    async fn flush(&self) -> stream::Result<()> {
        Ok(())
    }
    async fn commit(&self) -> stream::Result<()> {
        Ok(())
    }
}

fn letter(raw: Vec<u8>, length: u64) -> (Sent, Record) {
    let kept = Kept::default();
    let batch = Batch::new(move |outbox| {
        let (topic, meant_for): (TopicName, TopicName) =
            ("dead".parse().expect("a name"), "rows".parse().expect("a name"));
        let letter = DeadLetter {
            topic: &topic,
            meant_for: &meant_for,
            key: b"a.csv",
            place: &[("lp.line", b"7")],
            raw: &raw,
            length,
            reason: "no number",
        };
        outbox.dead_letter(&letter).map_err(|error| Error::new(error.reaction(), error))
    });
    let sent = batch.send(&kept).expect("kept");
    (sent, kept.0.into_inner().remove(0))
}

#[test]
fn a_dead_letter_says_where_it_comes_from_and_why_and_counts_as_bad() {
    let (sent, (value, headers)) = letter(b"1,x".to_vec(), 3);
    assert_eq!((sent, value.as_slice()), (Sent { records: 0, bad: 1 }, &b"1,x"[..]));
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let expected: [(&str, &[u8]); 3] =
        [("lp.line", b"7"), ("error", b"no number"), ("source_topic", b"rows")];
    assert_eq!(headers, expected);
}

#[test]
fn of_a_long_dead_letter_the_first_bytes_are_kept_and_it_says_so() {
    let (_, (value, headers)) = letter(vec![b'x'; KEPT + 1], 9_999_999);
    assert_eq!(value.len(), KEPT);
    let reason = String::from_utf8_lossy(&headers[1].1).into_owned();
    assert_eq!(reason, "no number (the first 524288 of its 9999999 bytes are kept here)");
}
