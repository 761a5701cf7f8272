//! The reference project with every stage in processes of its own, and changes flowing through them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::happy::{differences, matches_oracle};
use crate::harness::{Project, Running, until};
use crate::stack::{Ends, Places, Stack};

/// Stages in the order of the data.
pub const STAGES: [&str; 3] = ["bronze", "silver", "gold"];
/// How long anything may take that is waited for, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Kafka's clients give a dead process up sooner than by default, so that a test need not wait longer:
/// the least that a broker allows.
pub const SHORT_SESSIONS: &str = "session.timeout.ms: 6000, transaction.timeout.ms: 10000";

/// How many changes flow, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// `None`: until the test has seen enough, however long that takes on this machine.
    pub events: Option<u32>,
    pub rate: u32,
    /// The source changes its schemas at this event.
    pub schema_change: Option<u32>,
}

/// Processes that are under way.
pub struct Flow {
    pub project: Project,
    stack: Arc<Stack>,
    workload: Workload,
    stages: Vec<(&'static str, Running)>,
    sim: Option<Running>,
}
impl Flow {
    /// Everything runs.
    pub fn begin(stack: &Arc<Stack>, places: &Places, workload: Workload) -> Self {
        let project = Project::reference_on(stack, places, SHORT_SESSIONS);
        let mut flow = Self { project, stack: stack.clone(), workload, stages: Vec::new(), sim: None };
        for stage in STAGES {
            flow.start(stage);
        }
        flow.start_sim();
        flow
    }
    /// One more process of a stage.
    pub fn start(&mut self, stage: &'static str) {
        self.stages.push((stage, self.project.start(&[stage])));
    }
    /// The source goes on where its topics end. Returns once it does.
    pub fn start_sim(&mut self) {
        assert!(self.sim.is_none(), "one source");
        let topic = self.project.topic("lakepulse.cdc.order_lines");
        let ends = Ends::of(&self.stack, &topic, "read_committed");
        let words = self.sim_words();
        let before = ends.now();
        self.sim = Some(self.project.start(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        until("the source sends", PATIENCE, || {
            self.flows();
            ends.now() != before
        });
    }
    fn sim_words(&self) -> Vec<String> {
        let Workload { events, rate, schema_change } = self.workload;
        let mut words = format!("sim --rate {rate} --seed 31 --summary s.json");
        words.extend(events.map(|events| format!(" --events {events}")));
        words.extend(schema_change.map(|at| format!(" --schema-change {at}")));
        words.split(' ').map(str::to_owned).collect()
    }
    /// Takes a process out: the first of its stage that was started.
    pub fn take(&mut self, stage: &str) -> Running {
        let at = self.stages.iter().position(|(name, _)| *name == stage).expect("it was started");
        self.stages.remove(at).1
    }
    /// Gives a process back that was taken.
    pub fn give(&mut self, stage: &'static str, process: Running) {
        self.stages.push((stage, process));
    }
    /// Takes the source out.
    pub fn take_sim(&mut self) -> Running {
        self.sim.take().expect("it was started")
    }
    /// Asserts that the source has more to say.
    #[track_caller]
    pub fn flows(&mut self) {
        let alive = self.sim.as_mut().is_some_and(Running::alive);
        assert!(alive, "the source has come to its end: {}", self.said("sim"));
    }
    /// Waits until a layer has this many commits more. Only while data flows is there such a wait.
    #[track_caller]
    pub fn until_commits(&mut self, layer: &str, more: usize) {
        let before = self.project.commits(layer);
        until(&format!("{more} more commits of {layer}, while data flows"), PATIENCE, || {
            self.flows();
            self.project.commits(layer) >= before + more
        });
    }
    /// Waits until the processes of a verb have said this.
    #[track_caller]
    pub fn until_said(&self, verb: &str, part: &str) {
        until(&format!("`{verb}` says `{part}`"), PATIENCE, || self.said(verb).contains(part));
    }
    /// What the processes of a verb have said.
    pub fn said(&self, verb: &str) -> String {
        let path = self.project.dir.path().join(format!("started-{verb}.err"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
    /// Waits until every change has come to the end, by those who run now and with nobody's help. Then
    /// each of them stops when asked, with nothing to complain of, and everything is as it must be.
    #[track_caller]
    pub fn holds(mut self) {
        let sim = self.sim.take().expect("there is a source");
        if self.workload.events.is_none() {
            // It sends what it has begun, and says what the tables must hold then.
            sim.interrupt();
        }
        assert_eq!(sim.wait(PATIENCE), Some(0), "the source: {}", self.said("sim"));
        let mut last = Vec::new();
        until("silver holds what the source says", PATIENCE, || {
            last = differences(&self.project, "s.json");
            last.is_empty()
        });
        until("nothing is behind", PATIENCE, || self.behind() == 0);
        for (stage, mut process) in std::mem::take(&mut self.stages) {
            assert!(process.alive(), "{stage} ended by itself: {}", self.said(stage));
            process.interrupt();
            assert_eq!(process.wait(Duration::from_secs(60)), Some(0), "{stage}: {}", self.said(stage));
        }
        matches_oracle(&self.project, "s.json");
        self.project.run(&["verify"]).ok();
    }
    /// Versions that silver and gold have not taken yet.
    fn behind(&self) -> u64 {
        let status = self.project.run(&["status", "--json"]).ok();
        let lines: Value = serde_json::from_str(&status.stdout).expect("JSON");
        lines.as_array().expect("lines").iter().filter_map(|line| line["behind"].as_u64()).sum()
    }
}

/// A test that fails shows what its processes said.
impl Drop for Flow {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for verb in ["sim", "bronze", "silver", "gold"] {
                let said = self.said(verb);
                let from = said.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
                println!("--- {verb}\n{}", &said[from..]);
            }
        }
    }
}
