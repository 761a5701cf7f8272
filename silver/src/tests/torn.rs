//! A process that dies again and again between two commits of one batch: the table ends as if it had not.
//!
//! A death is modelled by the state it leaves: the earlier commits exist, the later ones do not. So after
//! each batch the newest commit of the table is removed, or that one and the one of its notes; the quarantine
//! then stays ahead.

use catalog::Kind;
use model::AppId;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::oracle::{Model, Record, expected};
use super::order::{choice, history};
use super::stage::{World, columns, lake_in, world};

/// Where the process dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// Between the notes and the table.
    BeforeTable,
    /// Between the quarantine and the notes.
    BeforeNotes,
    /// It does not die.
    Spared,
}

/// Removes the newest commit of a table, unless that created the table. A process that dies before a commit has not
/// written its checkpoint either.
async fn cut(world: &World, table: &model::TableName) -> bool {
    let log = world.dir.path().join(table.schema()).join(table.table()).join("_delta_log");
    let Ok(entries) = std::fs::read_dir(&log) else { return false };
    let mut commits: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    commits.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    commits.sort();
    let Some(newest) = commits.last().filter(|_| commits.len() > 1) else { return false };
    let version = newest.file_stem().and_then(|stem| stem.to_str()).expect("a version").to_owned();
    for entry in std::fs::read_dir(&log).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let points =
            |text: String| text.contains(&format!("\"version\":{}", version.trim_start_matches('0')));
        let is_hint = name == "_last_checkpoint" && points(std::fs::read_to_string(&path).expect("read"));
        if name.starts_with(&version) || is_hint {
            std::fs::remove_file(path).expect("removed");
        }
    }
    true
}

/// Lands each part, drains, and dies.
async fn play(kind: Kind, records: &[Record], rounds: &[(usize, Death)]) {
    let mut world = world(kind).await;
    let mut rest = records;
    let mut landed: Vec<Record> = Vec::new();
    let mut rounds = rounds.iter().cycle();
    let model = Model { kind, by_notes: false, tracks_name: false };
    while !rest.is_empty() {
        let (size, death) = rounds.next().copied().unwrap_or((1, Death::Spared));
        let (now, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        world.land(now).await;
        landed.extend_from_slice(now);
        world.drain().await.expect("drains");
        let input = AppId::table(world.open(&world.bronze_name()).await.id());
        let position = async |name: &model::TableName| {
            let table = world.ctx.lake.table(name).await.expect("opens");
            table.and_then(|table| table.positions().get(&input))
        };
        let (main, notes) = (world.model.name.clone(), world.model.name.sibling("deleted"));
        let together = position(&main).await == position(&notes).await;
        match death {
            Death::Spared => {}
            Death::BeforeTable => drop(cut(&world, &main).await),
            Death::BeforeNotes => {
                if cut(&world, &main).await && together {
                    cut(&world, &notes).await;
                }
            }
        }
        world.ctx.lake = lake_in(world.dir.path(), &world.ctx.ids).await;
        world.drain().await.expect("drains again");
        let wanted = expected(model, &landed);
        assert_eq!(world.rows(&columns(kind)).await, wanted.rows, "after {landed:#?}");
        assert_eq!(world.count("quarantine").await, wanted.aside, "put aside of {landed:#?}");
    }
}

fn deaths() -> impl Strategy<Value = Vec<(usize, Death)>> {
    let death = prop_oneof![
        3 => Just(Death::BeforeTable),
        1 => Just(Death::BeforeNotes),
        1 => Just(Death::Spared),
    ];
    proptest::collection::vec((1..7_usize, death), 1..12)
}

/// Histories of each kind, each with about ten deaths.
async fn rounds(kind: Kind) {
    let config = cases::few(4);
    let rounds = config.cases;
    let mut runner = TestRunner::new(config);
    for _ in 0..rounds {
        let strategy = (proptest::collection::vec(choice(), 20..50), deaths());
        let (choices, deaths) = strategy.new_tree(&mut runner).expect("a history").current();
        play(kind, &history(&choices), &deaths).await;
    }
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_two_commits_leaves_no_trace_in_the_newest_rows() {
    rounds(Kind::Scd1).await;
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_two_commits_leaves_no_trace_in_a_history() {
    rounds(Kind::Scd2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_was_left_out_survives_a_death_behind_the_notes() {
    use super::oracle::Says;
    let at = |lsn, offset, name, notes| Record {
        epoch: Some(1),
        lsn: Some(lsn),
        tx: Some(1),
        offset,
        partition: 0,
        says: Says::Row { op: "u", key: 1, name, notes, had: None, last: false },
        redriven: false,
    };
    let records = [
        at(10, 0, "a", Some(Some("abc"))),
        at(20, 1, "hidden", None),
        // Removes its note; then its process dies.
        at(30, 2, "b", None),
    ];
    play(Kind::Scd1, &records, &[(1, Death::BeforeTable)]).await;
    play(Kind::Scd2, &records, &[(2, Death::BeforeTable)]).await;
}
