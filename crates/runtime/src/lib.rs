//! What every process needs around its stages: time, randomness, ids, tasks, metrics and health.
//!
//! | module | words |
//! | --- | --- |
//! | `clock` | `Clock`, `WallClock`, `ManualClock`: the time of day |
//! | [`time`] | pauses, deadlines, durations |
//! | [`random`] | random numbers and UUIDs |
//! | [`simulation`] | a run on one thread, in virtual time, that a seed decides |
//! | `ids` | `Ids`: operation ULIDs |
//! | [`cpu`] | work that holds a thread for more than a millisecond |
//! | [`tasks`] | `Tasks`, `Phase`: who joins each task, and in what order tasks stop; `unbroken`: a task that is run again after a panic |
//! | `retry` | `Backoff`; `Retry`: how a loop goes on after failures, or halts |
//! | `reclaims` | `Reclaims`: whether a writer that was shut out takes its place back once more |
//! | `due` | `Due`: work that follows changes at a limited rate |
//! | [`meters`] | `Meters`, `Meter`: the only place that knows the names of metrics |
//! | [`traces`] | `Traces`, `Span`, `Cause`: OpenTelemetry, one span per batch or commit |
//! | [`health`] | `/health`, `/health/ready`, `/health/live`, `/metrics` |
//!
//! Only this crate calls `tokio::spawn`. It knows nothing of Kafka, Delta or projects.

mod clock;
pub mod cpu;
mod due;
pub mod health;
mod ids;
pub mod meters;
pub mod random;
mod reclaims;
mod retry;
pub mod simulation;
pub mod tasks;
pub mod time;
pub mod traces;

pub use clock::{Clock, ManualClock, WallClock};
pub use due::Due;
pub use ids::{Ids, RandomIds, SeededIds};
pub use meters::{Meter, Meters, State};
pub use reclaims::Reclaims;
pub use retry::{After, Backoff, Failure, Retry, TRIES, chain};
pub use tasks::{Phase, Tasks, unbroken};
pub use tokio_util::sync::CancellationToken;
pub use traces::Traces;
