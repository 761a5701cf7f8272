//! The whole pipeline on one thread, in virtual time, from one seed: what the simulated database says, on topics, in
//! bronze, silver and gold, and on the gold topic, while processes die between any two of their effects.
//!
//! Cluster, registry and store are `testkit`'s models, which the contracts hold to what the real ones do; everything
//! else is the product. A run ends when everything published has reached the end. Then `verify` must find nothing, and
//! the tables must hold what the simulator's oracle says. The same seed gives the same effects in the same order.
//!
//! `LAKEPULSE_SEEDS=1-20000` has other seeds than CI run; one alone prints its effects. A seed that fails is named with
//! the last effects before it did.

mod check;
mod effects;
mod process;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use runtime::simulation::Simulation;

use self::world::{Prepared, World};

/// Seeds that CI runs: what five minutes hold on two cores.
const SEEDS: (u64, u64) = (1, 400);

/// Runs one seed to its end. Its effects, one a line.
///
/// # Panics
/// Where a row is lost, doubled or falsified, or the pipeline stands still.
fn run(prepared: &Prepared, seed: u64) -> Result<Vec<String>, String> {
    let simulation = Simulation::new(seed);
    let world = World::new(prepared, simulation.clone(), seed);
    let effects = world.effects.clone();
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| simulation.run(world.run())));
    let effects = effects.lines();
    if asked() == (seed, seed) {
        println!("{}", effects.join("\n"));
    }
    match ran {
        Ok(Ok(())) => Ok(effects),
        Ok(Err(fault)) => Err(failed(seed, &fault, &effects)),
        Err(panic) => Err(failed(seed, stage::panic_message(panic.as_ref()), &effects)),
    }
}

fn failed(seed: u64, why: impl std::fmt::Display, effects: &[String]) -> String {
    let told: Vec<&str> =
        effects.iter().map(String::as_str).filter(|line| !line.ends_with(effects::READ)).collect();
    let last = &told[told.len().saturating_sub(40)..];
    format!("seed {seed}: {why}\nits last effects:\n  {}", last.join("\n  "))
}

/// The first and the last of `LAKEPULSE_SEEDS`, such as `7` or `1-20000`.
fn asked() -> (u64, u64) {
    let Ok(text) = std::env::var("LAKEPULSE_SEEDS") else { return SEEDS };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number =
        |text: &str| text.trim().parse().expect("`LAKEPULSE_SEEDS` is a seed, or two with `-` between");
    (number(first), number(last))
}

// Holds P1 (docs/invariants.md).
// Holds P2 (docs/invariants.md).
// Holds P3 (docs/invariants.md).
// Holds P4 (docs/invariants.md).
// Holds P6 (docs/invariants.md).
// Holds P7 (docs/invariants.md).
#[test]
fn every_seed_ends_at_the_oracle() {
    let prepared = Prepared::new();
    let (first, last) = asked();
    let (next, ended) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let begun = runtime::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while ended.lock().iter().filter(|run: &&Result<Told, String>| run.is_err()).count() < 3 {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let ran = run(&prepared, seed).map(|effects| Told::of(&effects));
                    ended.lock().push(ran);
                }
            });
        }
    });
    let mut told = Told::default();
    let mut faults = Vec::new();
    let ended = ended.into_inner();
    let seeds = ended.len();
    for ran in ended {
        match ran {
            Ok(of) => told.add(of),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    println!("seeds {first}-{last}: {told:?} in {:.1?}", begun.elapsed());
    assert!(seeds > 0, "no seed was run");
    let is_varied = told.deaths > 0 && told.failed_before > 0 && told.failed_after > 0 && told.late > 0;
    assert!(is_varied || seeds < 20, "nothing goes wrong in these runs: {told:?}");
}

/// What happened in runs.
#[derive(Debug, Default)]
struct Told {
    effects: usize,
    deaths: usize,
    failed_before: usize,
    failed_after: usize,
    late: usize,
}
impl Told {
    fn of(lines: &[String]) -> Self {
        let count = |is: &dyn Fn(&&String) -> bool| lines.iter().filter(is).count();
        Self {
            effects: count(&|line| !line.ends_with(effects::READ)),
            deaths: count(&|line| line.ends_with(effects::DIES)),
            failed_before: count(&|line| line.ends_with(effects::FAILS) && line.contains(" Before ")),
            failed_after: count(&|line| line.ends_with(effects::FAILS) && line.contains(" After ")),
            late: count(&|line| line.ends_with(effects::LANDS)),
        }
    }
    fn add(&mut self, other: Self) {
        self.effects += other.effects;
        self.deaths += other.deaths;
        self.failed_before += other.failed_before;
        self.failed_after += other.failed_after;
        self.late += other.late;
    }
}

#[test]
fn the_same_seed_has_the_same_effects() {
    let prepared = Prepared::new();
    for seed in [3, 4] {
        let (one, two) = (run(&prepared, seed), run(&prepared, seed));
        let (one, two) = (one.expect("it ends at the oracle"), two.expect("it ends at the oracle"));
        let differs = one.iter().zip(&two).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (at, &one[at], &two[at])), None, "seed {seed}");
        assert_eq!(one.len(), two.len(), "seed {seed}");
    }
}
