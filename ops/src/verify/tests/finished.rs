//! A small project whose stages have run to their end. It is built once; every test damages a copy.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use model::TopicName;
use runtime::CancellationToken;
use serde_json::Value;
use stream::{Outgoing, Producer};
use tempfile::TempDir;

use crate::drain::{Drain, Ends};
use crate::select::StageKind;
use crate::verify::duckdb::DuckDb;
use crate::verify::{self, Finding, Scope};
use crate::wiring::{Location, Wiring};
use crate::{apply, stages};

const FILES: &[(&str, &str)] = &[
    ("lakepulse.yaml", "version: 1\nname: damaged\nclock: events\ncommit: { interval: 50ms }\n"),
    (
        "topics.yaml",
        "version: 1\ntopics:\n  d.items: { value: json, schema: schemas/item.avsc, key: [id], partitions: 2 }\n",
    ),
    (
        "schemas/item.avsc",
        r#"{"type":"record","name":"item","fields":[{"name":"id","type":"long"},{"name":"seq","type":"long"},
           {"name":"name","type":["null","string"],"default":null}]}"#,
    ),
    (
        "models/silver/items.sql",
        "/* lakepulse\nkind: scd1\nkeys: [id]\nsequence_by: seq\n\
         expect:\n  has_name: { not_null: [name], else: quarantine }\n*/\n\
         SELECT id, seq, name FROM changes(bronze.items)\n",
    ),
    (
        "models/gold/totals.sql",
        "/* lakepulse\nkind: table\nkeys: [name]\npublish: d.totals\n*/\n\
         SELECT name, count(*) AS n FROM silver.items GROUP BY name\n",
    ),
];

/// The records of each round; every table commits once per round.
const ROUNDS: [&[&str]; 3] = [
    &[r#"{"id":1,"seq":1,"name":"a"}"#, r#"{"id":2,"seq":1,"name":"b"}"#, r#"{"id":3,"seq":1,"name":"b"}"#],
    &[r#"{"id":1,"seq":2,"name":"b"}"#, r#"{"id":4,"seq":1}"#, r#"{"id":5,"seq":1,"name":"a"}"#],
    &[r#"{"id":2,"seq":2,"name":"c"}"#, r#"{"id":3,"seq":2,"name":"c"}"#],
];

/// A longer wait means that a stage hangs.
const PATIENCE: Duration = Duration::from_secs(120);

static FINISHED: OnceLock<TempDir> = OnceLock::new();

/// Runs a future to its end on its own threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// A project in its own folder.
pub struct Project {
    dir: TempDir,
}
impl Project {
    /// A copy of the finished project.
    pub fn copy() -> Self {
        let made = FINISHED.get_or_init(|| {
            let made = Self { dir: tempfile::tempdir().expect("a folder") };
            block_on(made.run());
            made.dir
        });
        let dir = tempfile::tempdir().expect("a folder");
        copy(made.path(), dir.path());
        Self { dir }
    }

    async fn run(&self) {
        for (path, text) in FILES {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let wiring = self.open().await;
        let applied = apply::apply(&wiring, |_| ()).await.expect("applied");
        assert!(applied.failed.is_empty(), "{:?}", applied.failed);
        let (stop, quit, draining) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let mut running = Vec::new();
        for stage in StageKind::ALL {
            let started = stages::start(&wiring, stage, &[], &draining, &quit, stop.clone()).await;
            running
                .push(runtime::tasks::spawn(stage.name(), started.expect("started").expect("nobody quits")));
        }
        let producer = Producer::idempotent(&wiring.kafka).await.expect("a producer");
        let topic: TopicName = "d.items".parse().expect("a name");
        for round in ROUNDS {
            for value in round {
                let id = serde_json::from_str::<Value>(value).expect("JSON")["id"].clone();
                let key = serde_json::json!({ "id": id }).to_string();
                let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
                let record =
                    Outgoing { topic: &topic, partition: None, key, value, headers: &[], timestamp: None };
                producer.send(record).expect("sent");
            }
            producer.flush().await.expect("flushed");
            let ends = Ends::now(&wiring, &quit).await.expect("asked").expect("nobody quits");
            let drain = Drain { wiring: &wiring, stop: stop.clone(), select: &[], ours: &StageKind::ALL };
            let drained = runtime::time::timeout(PATIENCE, drain.wait(&ends, StageKind::Gold)).await;
            assert!(drained.expect("it ends").expect("drained").is_whole());
        }
        stop.cancel();
        for stage in running {
            stage.await.expect("no panic").expect("it ends well");
        }
        wiring.close().await;
    }

    /// Opens its services and its lake.
    pub async fn open(&self) -> Wiring {
        let at = Location { folder: self.dir.path().to_owned(), target: "embedded".to_owned() };
        Wiring::open(&at).await.expect("opened")
    }

    /// Does something with its open services and its lake.
    pub async fn with<T>(&self, act: impl AsyncFnOnce(&Wiring) -> T) -> T {
        let wiring = self.open().await;
        let done = act(&wiring).await;
        wiring.close().await;
        done
    }

    /// The findings of `verify` with every record decoded.
    pub async fn verify(&self) -> Vec<Finding> {
        self.verify_by(None).await
    }

    /// The same, with gold evaluated by another engine, too.
    pub async fn verify_by(&self, with: Option<&DuckDb>) -> Vec<Finding> {
        self.with(async |wiring: &Wiring| {
            let scope = Scope { deep: true, with, ..Scope::of(wiring) };
            verify::run(&scope, |_| ()).await
        })
        .await
    }

    /// Overwrites a file of the project.
    pub fn declare(&self, path: &str, text: &str) {
        std::fs::write(self.dir.path().join(path), text).expect("written");
    }

    /// The folder of the lake.
    pub fn lake(&self) -> PathBuf {
        self.dir.path().join(".lakepulse/lake")
    }

    /// The folder of a table.
    pub fn table(&self, name: &str) -> PathBuf {
        self.lake().join(name.replace('.', "/"))
    }

    fn entry(&self, table: &str, version: usize) -> PathBuf {
        self.table(table).join(format!("_delta_log/{version:020}.json"))
    }

    /// The number of versions in a table's log.
    pub fn versions(&self, table: &str) -> usize {
        (0..).take_while(|version| self.entry(table, *version).exists()).count()
    }

    /// The actions of a version.
    pub fn actions(&self, table: &str, version: usize) -> Vec<Value> {
        let text = std::fs::read_to_string(self.entry(table, version)).expect("an entry");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Overwrites a version.
    pub fn write(&self, table: &str, version: usize, actions: &[Value]) {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        std::fs::write(self.entry(table, version), lines.join("\n") + "\n").expect("written");
    }

    /// Deletes a version.
    pub fn remove(&self, table: &str, version: usize) {
        std::fs::remove_file(self.entry(table, version)).expect("removed");
    }

    /// Deletes the last version.
    pub fn pop(&self, table: &str) {
        self.remove(table, self.versions(table) - 1);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}
