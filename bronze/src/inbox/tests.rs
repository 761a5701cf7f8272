use proptest::prelude::*;
use stream::{Record, Records};

use super::*;
use crate::budget::{Budget, Share};
use model::Offset;

const MOST: usize = 5;

/// A message as the tests write it.
#[derive(Debug, Clone)]
enum Sent {
    Records { partition: i32, records: u8, generation: u64, topic: u8 },
    End(i32),
    Assigned,
    Revoked,
}

fn message(sent: &Sent, offset: &mut i64, share: &Share) -> Message {
    match *sent {
        Sent::Records { partition, records: count, generation, topic } => {
            let id = format!("id-{topic}").parse().expect("valid");
            let mut records = Records::new("t".parse().expect("valid"), id, partition);
            for _ in 0..count {
                let value = offset.to_string();
                let value = Some(value.as_bytes());
                let at = Offset(*offset);
                records.push(&Record { offset: at, timestamp: 0, key: None, value, headers: &[] });
                *offset += 1;
            }
            let permit = share.take(records.bytes());
            Message::Records { records, generation, permit }
        }
        Sent::End(partition) => Message::End { partition, offset: Offset(*offset), generation: 0 },
        Sent::Assigned => Message::Assigned(Vec::new()),
        Sent::Revoked => Message::Revoked(Vec::new()),
    }
}

/// The messages of one partition, record by record.
fn seen<'m>(messages: impl IntoIterator<Item = &'m Message>, by: i32) -> Vec<String> {
    let mut seen = Vec::new();
    for message in messages {
        match message {
            Message::Records { records, generation, .. } if records.partition == by => {
                for at in 0..records.len() {
                    let value = String::from_utf8_lossy(records.value(at).expect("set"));
                    let (id, offset) = (&records.topic_id, records.offset(at));
                    seen.push(format!("{offset:?} {value} of {generation} and {id}"));
                }
            }
            Message::End { partition, offset, .. } if *partition == by => {
                seen.push(format!("end {offset:?}"))
            }
            Message::Records { .. } | Message::End { .. } => {}
            all => seen.push(format!("{all:?}")),
        }
    }
    seen
}

fn sent() -> impl Strategy<Value = Sent> {
    let records =
        (0..3_i32, 1..4_u8, 0..2_u64, 0..2_u8).prop_map(|(partition, records, generation, topic)| {
            Sent::Records { partition, records, generation, topic }
        });
    prop_oneof![
        8 => records,
        1 => (0..3_i32).prop_map(Sent::End),
        1 => Just(Sent::Assigned),
        1 => Just(Sent::Revoked),
    ]
}

proptest! {
    #[test]
    fn a_partition_sees_the_same_in_fewer_batches(sent in prop::collection::vec(sent(), 0..40)) {
        let share = Budget::new(1 << 20, 1).share();
        let all = |offset: &mut i64| sent.iter().map(|sent| message(sent, offset, &share)).collect::<Vec<_>>();
        let plain = all(&mut 0);
        let mut gathered = VecDeque::new();
        gather(all(&mut 0).into_iter(), MOST, &mut gathered);
        for partition in 0..3 {
            prop_assert_eq!(seen(&gathered, partition), seen(&plain, partition));
        }
        for message in &gathered {
            if let Message::Records { records, .. } = message {
                prop_assert!(records.len() <= MOST);
            }
        }
        prop_assert!(gathered.len() <= plain.len());
    }
}

#[tokio::test]
async fn what_waits_together_is_one_batch_and_keeps_its_memory() {
    let budget = Budget::new(1 << 20, 1);
    let share = budget.share();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut inbox = Inbox::new(receiver, 1_000);
    let mut offset = 0;
    for partition in [0, 1, 0, 1, 0] {
        let sent = Sent::Records { partition, records: 2, generation: 0, topic: 0 };
        drop(sender.send(message(&sent, &mut offset, &share)));
    }
    let mut sizes = Vec::new();
    while !inbox.is_empty() {
        let Some(Message::Records { records, permit, .. }) = inbox.next().await else { panic!("records") };
        assert_eq!(permit.bytes(), records.bytes(), "held until its rows are durable");
        sizes.push((records.partition, records.len()));
    }
    assert_eq!(sizes, [(0, 6), (1, 4)]);
    drop(sender);
    assert!(inbox.next().await.is_none());
}
