use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const LIMITS: Limits = Limits { age: Duration::from_secs(1), rows: 10, bytes: 1_000 };

fn decider(position: Option<i64>) -> Decider<Vec<i64>> {
    let mut decider = Decider::new(LIMITS);
    decider.start(0, 1, position.map(Offset));
    decider
}

fn batch(generation: u64, offsets: std::ops::Range<i64>) -> PartitionBatch<Vec<i64>> {
    let rows = (offsets.end - offsets.start) as u64;
    let (first, next) = (Offset(offsets.start), Offset(offsets.end));
    PartitionBatch { partition: 0, generation, first, next, rows, bytes: rows, payload: offsets.collect() }
}

/// Cuts off repeats before decoding, as the table's task does.
fn feed(decider: &mut Decider<Vec<i64>>, mut batch: PartitionBatch<Vec<i64>>, now: i64) {
    let Some(floor) = decider.floor(batch.partition, batch.generation) else { return };
    batch.payload.retain(|offset| Offset(*offset) >= floor);
    batch.rows = batch.payload.len() as u64;
    decider.on_batch(batch, ClockMs(now));
}

#[test]
fn a_commit_covers_all_from_the_tables_position_to_behind_the_last_record() {
    let mut decider = decider(Some(40));
    feed(&mut decider, batch(1, 38..43), 0);
    let pending = decider.take().expect("rows wait");
    assert_eq!(pending.batches, [[vec![40, 41, 42]]]);
    let range = &pending.ranges[0];
    assert_eq!(
        (range.position, range.from, range.to, range.rows),
        (Some(Offset(40)), Offset(40), Offset(43), 3)
    );
}

// Holds P5 (docs/invariants.md).
#[test]
fn a_hole_in_the_log_is_covered_and_no_gap() {
    let mut decider = decider(Some(40));
    feed(&mut decider, batch(1, 45..47), 0);
    let pending = decider.take().expect("rows wait");
    assert_eq!((pending.ranges[0].from, pending.ranges[0].to), (Offset(40), Offset(47)));
}

#[test]
fn a_partition_never_read_starts_at_its_first_record() {
    let mut decider = decider(None);
    feed(&mut decider, batch(1, 7..9), 0);
    let pending = decider.take().expect("rows wait");
    assert_eq!((pending.ranges[0].position, pending.ranges[0].from), (None, Offset(7)));
}

#[test]
fn what_was_read_before_a_seek_is_dropped_even_if_it_looks_new() {
    let mut decider = decider(Some(0));
    feed(&mut decider, batch(1, 0..5), 0);
    decider.start(0, 2, Some(Offset(0)));
    feed(&mut decider, batch(1, 5..9), 0);
    assert!(decider.take().is_none(), "offsets 0 to 5 would be lost");
    feed(&mut decider, batch(2, 0..5), 0);
    assert_eq!(decider.take().expect("read again").ranges[0].to, Offset(5));
}

#[test]
fn what_is_read_while_a_commit_is_on_its_way_is_the_next_commit() {
    let mut decider = decider(Some(0));
    feed(&mut decider, batch(1, 0..5), 0);
    let first = decider.take().expect("rows wait");
    feed(&mut decider, batch(1, 3..9), 0);
    decider.landed(&first.ranges);
    let second = decider.take().expect("rows wait");
    assert_eq!((second.ranges[0].position, second.ranges[0].from), (Some(Offset(5)), Offset(5)));
    assert_eq!(second.batches, [[vec![5, 6, 7, 8]]]);
}

#[test]
fn an_answer_for_an_old_assignment_moves_nothing() {
    let mut decider = decider(Some(0));
    feed(&mut decider, batch(1, 0..5), 0);
    let pending = decider.take().expect("rows wait");
    decider.start(0, 2, Some(Offset(0)));
    decider.landed(&pending.ranges);
    assert_eq!(decider.position(0), Some(Offset(0)));
}

#[rstest]
#[case::young_and_small(999, 3, false)]
#[case::old_enough(1_000, 3, true)]
#[case::many_rows(0, 10, true)]
fn a_commit_is_due_by_age_or_size(#[case] now: i64, #[case] rows: i64, #[case] due: bool) {
    let mut decider = decider(Some(0));
    feed(&mut decider, batch(1, 0..rows), 0);
    assert_eq!(decider.is_due(ClockMs(now)), due);
}

#[test]
fn nothing_is_due_once_the_partition_is_gone() {
    let mut decider = decider(Some(0));
    feed(&mut decider, batch(1, 0..9), 0);
    decider.stop(0);
    assert!(!decider.is_due(ClockMs(9_999)) && decider.is_empty());
}

/// Events between a log and its table.
#[derive(Debug, Clone)]
enum Step {
    /// Records arrive, the last `back` of them a second time.
    Read {
        len: i64,
        back: i64,
    },
    Commit,
    Landed,
    /// Another writer's commit or a crash: memory is lost, the table stays.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..8, 0_i64..6).prop_map(|(len, back)| Step::Read { len, back }),
        2 => Just(Step::Commit),
        2 => Just(Step::Landed),
        1 => Just(Step::Again),
    ]
}

proptest! {
    /// However the log is cut, replayed and interrupted: each offset is in the table once, in order.
    // Holds P1 (docs/invariants.md).
    #[test]
    fn every_offset_lands_once(steps in prop::collection::vec(step(), 1..60)) {
        let mut decider = decider(Some(0));
        let mut generation = 1;
        let mut head = 0;
        let mut position = 0;
        let mut table: Vec<i64> = Vec::new();
        let mut on_its_way: Option<PendingCommit<Vec<i64>>> = None;
        for step in steps {
            match step {
                Step::Read { len, back } => {
                    let from = (head - back).max(0);
                    feed(&mut decider, batch(generation, from..head + len), 0);
                    head += len;
                }
                Step::Commit if on_its_way.is_none() => on_its_way = decider.take(),
                Step::Commit => {}
                Step::Landed => {
                    if let Some(pending) = on_its_way.take() {
                        prop_assert_eq!(pending.ranges[0].position, Some(Offset(position)));
                        table.extend(pending.batches[0].concat());
                        position = pending.ranges[0].to.0;
                        decider.landed(&pending.ranges);
                    }
                }
                Step::Again => {
                    on_its_way = None;
                    generation += 1;
                    decider.start(0, generation, Some(Offset(position)));
                    head = position;
                }
            }
        }
        prop_assert_eq!(table, (0..position).collect::<Vec<_>>());
    }
}

#[test]
fn partitions_of_one_commit_stand_in_order() {
    let mut decider = Decider::new(LIMITS);
    decider.start(2, 1, None);
    decider.start(1, 1, Some(Offset(4)));
    for (partition, first) in [(2, 0), (1, 4), (2, 2), (1, 6)] {
        let (payload, first, next) = (first, Offset(first), Offset(first + 2));
        let batch = PartitionBatch { partition, generation: 1, first, next, rows: 2, bytes: 2, payload };
        assert!(decider.on_batch(batch, ClockMs(0)));
    }
    let pending = decider.take().expect("rows wait");
    let by_partition: BTreeMap<i32, Vec<i64>> =
        pending.ranges.iter().map(|range| range.partition).zip(pending.batches.clone()).collect();
    assert_eq!(by_partition, BTreeMap::from([(1, vec![4, 6]), (2, vec![0, 2])]));
    assert_eq!(pending.rows(), 8);
}
