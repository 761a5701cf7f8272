//! The processes of a run: each dies now and then and is started again, as an orchestrator does it.

use std::cell::OnceCell;
use std::num::NonZeroU32;
use std::time::Duration;

use cdc_sim::{Settings, Share, Summary};
use runtime::{CancellationToken, Meters, random, time};

use super::effects::Life;
use super::world::World;
use crate::select::StageKind;
use crate::wiring::Wiring;
use crate::{simulate, stages};

/// Which process it is.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    stage: StageKind,
    number: u64,
}

impl Role {
    /// The processes of a run besides the source: one or two of each stage.
    pub fn of(seed: u64) -> Vec<Self> {
        // The lowest two bits decide about the project.
        let twice = |stage: StageKind| seed >> (2 + stage as u64) & 1 == 1;
        let roles =
            |stage: StageKind| (0..1 + u64::from(twice(stage))).map(move |number| Self { stage, number });
        StageKind::ALL.into_iter().flat_map(roles).collect()
    }
    fn name(self) -> String {
        format!("{}-{}", self.stage.name(), self.number + 1)
    }
    /// Tells its ids from those of others; below 1000 lives each.
    fn id(self) -> u64 {
        2_000 + (self.stage as u64 * 2 + self.number) * 1_000
    }
}

/// How often a process may die.
const DEATHS: u64 = 3;
/// An orchestrator starts a process again within so many milliseconds.
const RESTART: u64 = 1_200;

/// Lives one life after the other until one of them ends by itself.
async fn lives<T>(
    world: &World,
    name: &str,
    id: u64,
    work: impl AsyncFn(Wiring) -> Result<T, String>,
) -> Result<T, String> {
    let deaths = random::below(DEATHS + 1);
    for number in 0.. {
        let life = Life::new(&world.effects, format!("{name}.{number}"), number < deaths);
        let fate = life.clone();
        let meters = OnceCell::new();
        let lived = async {
            loop {
                match world.wiring(fate.clone(), id + number).await {
                    Ok(wiring) => {
                        drop(meters.set(wiring.meters.clone()));
                        break work(wiring).await;
                    }
                    Err(error) => {
                        world.effects.note(format_args!("{name}.{number} cannot open the lake: {error}"));
                        time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = life.died() => None,
            ended = lived => Some(ended),
        };
        // Nothing in a run is a reason to wait for a person.
        let pipelines = meters.get().map(Meters::pipelines).unwrap_or_default();
        if let Some((meter, why)) = pipelines.iter().find_map(|meter| Some((meter, meter.halted()?))) {
            return Err(format!("{name}.{number} halted {} of {}: {why}", meter.stage(), meter.table()));
        }
        if let Some(ended) = ended {
            return ended;
        }
        time::sleep(Duration::from_millis(random::below(RESTART))).await;
    }
    unreachable!("a life that is not mortal ends by itself")
}

/// A process of a stage. Ends after `stop`.
///
/// # Errors
/// It halted a table, or ended with an error.
pub async fn stage(world: &World, role: Role, stop: CancellationToken) -> Result<(), String> {
    let name = role.name();
    let work = async |wiring: Wiring| {
        let quit = CancellationToken::new();
        let begun = stages::start(&wiring, role.stage, &[], &world.draining, &quit, stop.child_token()).await;
        let ended = match begun {
            Ok(running) => running.expect("nobody quits").await,
            Err(error) => Err(error),
        };
        ended.map_err(|error| format!("{name}: {error:?}"))
    };
    lives(world, &name, role.id(), work).await
}

/// The simulated database. What the tables must hold.
///
/// # Errors
/// It waits for a person.
pub async fn source(world: &World) -> Result<Summary, String> {
    let settings = Settings {
        seed: world.seed,
        // The first 700 are mostly new rows of tables that the project does not have.
        events: Some(2_200),
        rate: NonZeroU32::new(1_600),
        disorder: Share::millionths(50_000),
        duplicates: Share::millionths(30_000),
        poison: Share::millionths(10_000),
        ..Settings::default()
    };
    let (source, _) = simulate::source(&world.project).expect("the project has one");
    let work = async |wiring: Wiring| {
        let stop = CancellationToken::new();
        let published = simulate::publish(&wiring, source, settings.clone(), &stop).await;
        published.map_err(|error| format!("the source: {error:?}"))
    };
    lives(world, "source", 1_000, work).await
}
