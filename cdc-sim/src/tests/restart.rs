//! Claims about continuing at the end of a log.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fold::{Reader, fold};
use super::{PARTITIONS, Sent, ids, log, plain, spoiled};
use crate::generator::Generator;
use crate::resume::{Mismatch, Resume, Tail, Verdict};
use crate::settings::Settings;
use crate::tables::SourceTable;

/// The records of each partition.
type Topics = BTreeMap<(SourceTable, i32), Vec<Sent>>;

fn topics(log: Vec<Sent>) -> Topics {
    let mut topics = Topics::new();
    for sent in log {
        topics.entry((sent.table, sent.partition)).or_default().push(sent);
    }
    topics
}

/// Sends the log to its end over what the partitions have; afterwards they have all of it.
fn go_on(settings: &Settings, topics: &mut Topics) -> Result<(), Mismatch> {
    let name = "t".parse().expect("a topic name");
    let mut resume = Resume::default();
    for ((table, partition), held) in &*topics {
        if let Some(last) = held.last().cloned() {
            let tail = Tail { number: last.number, key: Some(last.key), value: last.value };
            resume.hold(*table, &name, *partition, tail);
        }
    }
    let mut generator = Generator::new(settings.clone(), ids(), PARTITIONS);
    while let Some(block) = generator.next_block() {
        for (number, index) in block.numbered(|table, partition| resume.last(table, partition)) {
            let record = block.record(index);
            if resume.judge(&block, number, record)? == Verdict::Send {
                topics.entry((record.table, record.partition)).or_default().push(Sent {
                    number,
                    table: record.table,
                    partition: record.partition,
                    what: record.what,
                    key: block.key(record).to_vec(),
                    value: block.value(record).map(<[u8]>::to_vec),
                });
            }
        }
    }
    resume.end()
}

fn cut(topics: &mut Topics, parts: &[u16]) {
    for ((_, held), part) in topics.iter_mut().zip(parts.iter().cycle()) {
        held.truncate(held.len() * usize::from(*part) / usize::from(u16::MAX));
    }
}

proptest! {
    #![proptest_config(cases::few(24))]

    #[test]
    fn a_run_goes_on_where_each_partition_ends(parts in prop::collection::vec(any::<u16>(), 1..40)) {
        let settings = spoiled(4_500);
        let whole = topics(log(&settings));
        let mut held = whole.clone();
        cut(&mut held, &parts);
        go_on(&settings, &mut held).expect("the same log");
        held.retain(|_, records| !records.is_empty());
        prop_assert_eq!(held, whole);
    }

    #[test]
    fn a_longer_run_loses_and_doubles_nothing_wherever_the_first_one_ended(
        first in 1_u64..4_000,
        more in 1_u64..3_000,
        parts in prop::collection::vec(any::<u16>(), 1..40),
        whole in any::<bool>(),
    ) {
        let schema_change = spoiled(6_000).schema_change;
        let of = |events| Settings { schema_change, ..spoiled(events) };
        let mut held = topics(log(&of(first)));
        if !whole {
            cut(&mut held, &parts);
        }
        go_on(&of(first + more), &mut held).expect("the same log, longer");
        let records: Vec<Sent> = held.into_values().flatten().collect();
        let straight = log(&of(first + more));
        prop_assert_eq!(records.len(), straight.len());
        let messages = |records: &[Sent]| {
            let mut messages: BTreeMap<_, usize> = BTreeMap::new();
            for sent in records {
                *messages.entry((sent.table, sent.key.clone(), sent.value.clone())).or_default() += 1;
            }
            messages
        };
        prop_assert_eq!(messages(&records), messages(&straight));
        let reader = Reader::new();
        prop_assert_eq!(fold(&reader.changes(&records)), fold(&reader.changes(&straight)));
    }
}

#[test]
fn a_finished_run_sends_nothing_more() {
    let whole = topics(log(&spoiled(3_210)));
    let mut held = whole.clone();
    go_on(&spoiled(3_210), &mut held).expect("the same log");
    assert_eq!(held, whole);
}

#[test]
fn the_log_of_another_seed_is_refused() {
    let mut held = topics(log(&plain(3_000)));
    assert!(go_on(&Settings { seed: 8, ..plain(4_000) }, &mut held).is_err());
}

#[test]
fn a_log_longer_than_asked_for_is_refused() {
    for events in [1_500, 2_000, 2_500] {
        let mut held = topics(log(&plain(3_000)));
        assert!(go_on(&plain(events), &mut held).is_err(), "{events}");
    }
}

#[test]
fn a_log_with_other_injections_is_refused() {
    let mut held = topics(log(&plain(3_000)));
    assert!(go_on(&spoiled(3_000), &mut held).is_err());
    let partitions: BTreeSet<_> = topics(log(&spoiled(3_000))).into_keys().collect();
    assert!(partitions.len() > 20, "the test covers many partitions");
}
