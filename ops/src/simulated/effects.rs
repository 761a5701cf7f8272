//! What each process does to the world outside, and how the seed lets it end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::CancellationToken;
use runtime::simulation::Simulation;
use testkit::fate::{Fate, Moment, Step, Verdict};

/// How a line ends at which a process dies.
pub const DIES: &str = "dies";
/// How a line ends at which a request fails.
pub const FAILS: &str = "fails";
/// How a line ends of an object that is written later.
pub const LANDS: &str = "later";
/// How a line ends that changes nothing.
pub const READ: &str = "is read";

/// One effect in so many fails.
const OFTEN: u64 = 60;
/// One commit of a table in so many fails: it is the step at which most can go wrong.
const OFTENEST: u64 = 15;
/// One reading in so many fails, and one record that is sent. There are many of both.
const RARELY: u64 = 1_000;
/// A process dies within so many effects, while it may.
const LIFE: u64 = 100;
/// Many die a little earlier, at a commit of a table.
const EARLY: u64 = 50;
/// One in so many objects that a process did not write for all it knows is written nevertheless, later.
const LATE: u64 = 2;
/// Within so many milliseconds: others have read on by then, or not.
const LATER: u64 = 1_500;

/// The effects of a run, in order. Clones are the same one.
#[derive(Clone)]
pub struct Effects(Arc<Shared>);

struct Shared {
    simulation: Simulation,
    lines: Mutex<Vec<String>>,
    /// Nothing fails and nobody dies any longer.
    is_calm: AtomicBool,
    /// Other threads belong to the Delta kernel, which reads logs and writes checkpoints there. What they do always succeeds.
    home: ThreadId,
}

impl Effects {
    /// None so far. The thread that calls this is the one that runs.
    pub fn new(simulation: Simulation) -> Self {
        let home = std::thread::current().id();
        let (lines, is_calm) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { simulation, lines, is_calm, home }))
    }
    /// One a line.
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.lock().clone()
    }
    /// From now on nothing fails.
    pub fn calm(&self) {
        self.0.is_calm.store(true, Ordering::Relaxed);
    }
    /// Another event of the run.
    pub fn note(&self, what: impl fmt::Display) {
        let at = self.0.simulation.elapsed().as_millis();
        self.0.lines.lock().push(format!("{at:>7} ms {what}"));
    }
}

/// What becomes of one life of a process.
pub struct Life {
    effects: Effects,
    name: String,
    dead: CancellationToken,
    /// Effects until it dies; `None`: it does not.
    left: Mutex<Option<u64>>,
    /// It dies so many effects earlier if that is a commit of a table.
    early: u64,
}

impl Life {
    /// A life that may end early.
    pub fn new(effects: &Effects, name: String, is_mortal: bool) -> Arc<Self> {
        let left = is_mortal.then(|| 1 + runtime::random::below(LIFE));
        Arc::new(Self {
            effects: effects.clone(),
            name,
            dead: CancellationToken::new(),
            left: Mutex::new(left),
            early: runtime::random::below(EARLY),
        })
    }
    /// Waits until it dies.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }

    fn decide(&self, step: Step) -> Verdict {
        if self.effects.0.is_calm.load(Ordering::Relaxed) {
            return Verdict::Go;
        }
        if reads(step) {
            return fails_once_in(RARELY);
        }
        if let Some(left) = &mut *self.left.lock() {
            *left -= 1;
            if *left == 0 || step == Step::Create && *left < self.early {
                return Verdict::Die;
            }
        }
        fails_once_in(match step {
            Step::Send => RARELY,
            Step::Create => OFTENEST,
            _ => OFTEN,
        })
    }
}

fn fails_once_in(times: u64) -> Verdict {
    if runtime::random::below(times) == 0 { Verdict::Fail } else { Verdict::Go }
}

/// Topics are made before a run begins, so that asking about one changes nothing.
fn reads(step: Step) -> bool {
    matches!(step, Step::Get | Step::Read | Step::Lookup | Step::Ask)
}

impl Fate for Life {
    fn at(&self, step: Step, moment: Moment, of: &str) -> Verdict {
        if self.dead.is_cancelled() {
            return Verdict::Die;
        }
        // How often a query reads a data file depends on what its filters have learned by then, which is not ours.
        let is_data = step == Step::Get && of.ends_with(".parquet");
        if is_data || std::thread::current().id() != self.effects.0.home {
            return Verdict::Go;
        }
        let verdict = self.decide(step);
        let ends = match verdict {
            Verdict::Go if reads(step) => READ,
            Verdict::Go => "",
            Verdict::Fail => FAILS,
            Verdict::Die => DIES,
        };
        self.effects.note(format_args!("{} {moment:?} {step:?} {of} {ends}", self.name));
        if verdict == Verdict::Die {
            self.dead.cancel();
        }
        verdict
    }

    fn lands_after(&self, step: Step, of: &str) -> Option<Duration> {
        if runtime::random::below(LATE) != 0 {
            return None;
        }
        let wait = Duration::from_millis(runtime::random::below(LATER));
        self.effects.note(format_args!(
            "{} {step:?} of {of} lands {} ms {LANDS}",
            self.name,
            wait.as_millis()
        ));
        Some(wait)
    }
}
