//! What is kept, against a model that remembers everything.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use model::{ClockMs, Positions};
use proptest::prelude::*;

use super::*;
use crate::error::BoxError;
use crate::store::wall_ms;
use crate::{Compaction, Elsewhere, Error, Followers, Maintained, maintain};

/// What happens to the table.
#[derive(Debug, Clone)]
enum Act {
    Upsert(Vec<i64>, Vec<i64>),
    Compact,
    Checkpoint,
}
fn act() -> impl Strategy<Value = Act> {
    let ids = || prop::collection::btree_set(0..12i64, 0..4).prop_map(|ids| ids.into_iter().collect());
    prop_oneof![
        4 => (ids(), ids()).prop_map(|(gone, came): (Vec<i64>, Vec<i64>)| Act::Upsert([gone, came.clone()].concat(), came)),
        1 => Just(Act::Compact),
        1 => Just(Act::Checkpoint),
    ]
}

async fn perform(table: &mut Table, act: &Act, seq: i64) {
    match act {
        Act::Upsert(gone, came) => {
            let gone: BTreeSet<i64> = gone.iter().copied().collect();
            upsert(table, gone, rows(came.clone(), seq)).await;
        }
        Act::Compact => {
            let eager = Compaction { min_files: 2, ..Compaction::default() };
            table.compact(&eager).await.expect("compacts");
        }
        Act::Checkpoint => table.checkpoint().await.expect("writes"),
    }
}

/// Every version's rows, and what it changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    rows: BTreeMap<Version, Vec<(i64, i64)>>,
    changes: BTreeMap<Version, [Vec<(i64, i64)>; 2]>,
}
impl Memory {
    /// What can be read from `from` on; an error is a row that nothing else gives.
    async fn of(table: &Table, from: Version) -> crate::Result<Self> {
        let mut memory = Self::default();
        for version in from.0..=table.version().0 {
            let at = table.at(Version(version)).await?;
            memory.rows.insert(Version(version), pairs(&at.scan(None).await?));
        }
        for changed in table.changes(Some(from), table.version()).await? {
            let change = table.read_change(&changed).await?;
            memory.changes.insert(change.version, [pairs(&change.added), pairs(&change.removed)]);
        }
        Ok(memory)
    }
    /// The part of it from a version on.
    fn since(mut self, from: Version) -> Self {
        self.rows.retain(|version, _| *version >= from);
        self.changes.retain(|version, _| *version > from);
        self
    }
}

/// Whoever is in no table.
struct Fixed(Option<Option<Version>>);
#[async_trait]
impl Elsewhere for Fixed {
    async fn needs(&self, _: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        Ok(self.0.into_iter().collect())
    }
}
/// One that cannot be asked.
struct Silent;
#[async_trait]
impl Elsewhere for Silent {
    async fn needs(&self, _: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        Err("the broker is away".into())
    }
}

/// A table that has read `of` up to a version.
async fn follower(site: &Site, of: &Table, n: usize, at: Option<Version>) -> TableName {
    let name = name(&format!("silver.f{n}"));
    let mut positions = Positions::default();
    if let Some(at) = at {
        positions.set(AppId::table(of.id()), at.position());
    }
    site.lake.create(&name, TableSpec { positions, ..spec() }).await.expect("creates");
    name
}

/// Makes everything that is in the table's folder now eight days older.
fn age(site: &Site, table: &Table) {
    let mut open = vec![site.settings.url.to_file_path().expect("local").join(table.name().path())];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let file = std::fs::File::options().append(true).open(entry).expect("a file");
                let written = file.metadata().and_then(|file| file.modified()).expect("a time");
                file.set_modified(written - Duration::from_secs(8 * 24 * 3600)).expect("is ours");
            }
        }
    }
}

async fn run(site: &Site, table: &Table, followers: &Followers) -> Maintained {
    let now = ClockMs(wall_ms());
    maintain(&site.lake, table.name(), followers, now).await.expect("runs").expect("exists")
}

/// A place in the table's history, as a share of it.
fn place(share: u8, newest: Version) -> Version {
    Version(u64::from(share) * newest.0 / 255)
}

// Holds P3 (docs/invariants.md).
#[test]
fn whatever_happened_followers_and_the_last_days_find_what_they_need_and_the_rest_goes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let at = || prop::option::weighted(0.9, any::<u8>());
    let acts = || prop::collection::vec(act(), 0..10);
    let others = (prop::collection::vec(at(), 0..3), prop::option::of(at()));
    proptest!(cases::few(12), |(old in acts(), young in acts(), (tables, elsewhere) in others)| {
        runtime.block_on(async {
            let site = site().await;
            let mut table = site.create().await;
            for (seq, act) in (0..).zip(&old) {
                perform(&mut table, act, seq).await;
            }
            age(&site, &table);
            let a_week_ago = table.version();
            for (seq, act) in (100..).zip(&young) {
                perform(&mut table, act, seq).await;
            }
            let newest = table.version();
            let all = Memory::of(&table, Version(0)).await.expect("nothing went yet");
            let at = |share: Option<u8>| share.map(|share| place(share, newest));
            let mut names = Vec::new();
            for (n, share) in tables.iter().enumerate() {
                names.push(follower(&site, &table, n, at(*share)).await);
            }
            let elsewhere = elsewhere.map(at);
            let followers = Followers { tables: names, elsewhere: Arc::new(Fixed(elsewhere)) };
            let oldest = tables.iter().map(|share| at(*share)).chain(elsewhere).map(|needs| needs.unwrap_or(Version(0))).min();
            let kept = oldest.unwrap_or(newest).min(a_week_ago);
            let done = run(&site, &table, &followers).await;
            assert_eq!(done.horizon, oldest);
            // A process that has read nothing before.
            let seen = open(&site.rival().await, &table).await;
            assert_eq!(Memory::of(&seen, kept).await.expect("all is there"), all.since(kept));
            // Once nobody needs the past, what is left is the table.
            age(&site, &table);
            let rows = held(&seen).await;
            table.checkpoint().await.expect("writes");
            age(&site, &table);
            run(&site, &table, &Followers::of(vec![])).await;
            let seen = open(&site.rival().await, &table).await;
            assert_eq!(held(&seen).await, rows);
            assert_eq!(parquet_files(&site, &table).len(), seen.files().0);
        });
    });
}

// Holds P3 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_two_versions_behind_reads_its_changes_after_compaction_and_maintenance() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..4 {
        upsert(&mut table, [n], rows(n * 10..n * 10 + 10, n)).await;
    }
    let behind = Version(table.version().0 - 2);
    let wanted = Memory::of(&table, behind).await.expect("nothing went yet");
    let eager = Compaction { min_files: 2, ..Compaction::default() };
    table.compact(&eager).await.expect("compacts").expect("four files");
    table.checkpoint().await.expect("writes");
    age(&site, &table);
    let followers = Followers::of(vec![follower(&site, &table, 0, Some(behind)).await]);
    let done = run(&site, &table, &followers).await;
    assert_eq!(done.horizon, Some(behind));
    let seen = open(&site.rival().await, &table).await;
    let found = Memory::of(&seen, behind).await.expect("all is there");
    assert_eq!(found.changes, wanted.changes);
    // The follower catches up, and the past may go.
    let followers = Followers::of(vec![follower(&site, &table, 1, Some(table.version())).await]);
    let done = run(&site, &table, &followers).await;
    assert!(done.vacuum.files >= 4 && done.entries >= 4, "{done:?}");
    let gone = open(&site.rival().await, &table).await.changes(Some(behind), table.version()).await;
    assert!(matches!(gone, Err(Error::LogGone { .. })), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_cannot_be_asked_or_was_never_seen_keeps_everything() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..3 {
        upsert(&mut table, [n], rows(n * 10..n * 10 + 10, n)).await;
    }
    let eager = Compaction { min_files: 2, ..Compaction::default() };
    table.compact(&eager).await.expect("compacts").expect("three files");
    table.checkpoint().await.expect("writes");
    age(&site, &table);
    let files = parquet_files(&site, &table);
    let silent = Followers { tables: vec![], elsewhere: Arc::new(Silent) };
    let now = ClockMs(wall_ms());
    let refused = maintain(&site.lake, table.name(), &silent, now).await.expect_err("cannot know");
    assert_eq!(refused.reaction(), model::Reaction::Retry);
    let unborn = Followers::of(vec![name("silver.not_yet")]);
    assert_eq!(run(&site, &table, &unborn).await.horizon, Some(Version(0)));
    assert_eq!(parquet_files(&site, &table), files);
    table.changes(None, table.version()).await.expect("the whole log is there");
}
