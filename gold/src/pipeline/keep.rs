//! The loop of one table: refreshes, the work between them, and what ends or delays it.
//!
//! A table that halts for its rows stays halted until its inputs change, so correcting a row at its source is
//! enough. The reason is stored in the lake, for `status`, `verify` and waiting processes.

use std::time::Duration;

use runtime::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::Compaction;
use model::{AppId, ClockMs, Positions, Version};
use runtime::{After, Retry, State};
use stage::Control;
use stage::halts::{chain, note, unnote};

use super::{Keeper, Refreshed};
use crate::Settings;
use crate::error::{Error, OfTable as _, Result};
use crate::inputs::Inputs;

/// Refreshes whenever woken, and at least every `poll`, until stopped or halted. A table that halts for its
/// rows waits until its inputs have other rows and then goes on. `landed` is called for each version with
/// changed rows.
pub async fn keep(mut keeper: Keeper, landed: impl Fn(Version)) -> Result<()> {
    let Control { wake, stop, .. } = keeper.control.clone();
    let mut retry = Retry::new(Duration::from_millis(100));
    let (meter, name) = (keeper.meter.clone(), keeper.model.name.clone());
    let lake = keeper.ctx.lake.clone();
    // An earlier process's halt note stays until this one succeeds.
    let mut noted = true;
    meter.state(State::Starting);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        // A refresh is never cancelled: stopping waits for it.
        let mut outcome = keeper.step().await;
        if let Ok(Refreshed::Changed(version)) = outcome {
            landed(version);
        }
        if outcome.is_ok()
            && let Err(error) = keeper.keep_up().await
        {
            outcome = Err(error);
        }
        let error = match outcome {
            Ok(refreshed) => {
                retry.reset();
                keeper.control.set_waiting(None);
                if std::mem::take(&mut noted) {
                    unnote(&lake, "gold", &name).await;
                }
                meter.state(match refreshed {
                    Refreshed::Waiting => State::Starting,
                    Refreshed::Idle | Refreshed::Unchanged => State::Idle,
                    _ => State::Running,
                });
                if refreshed != Refreshed::Idle {
                    let draining = keeper.ctx.draining.is_cancelled();
                    let rested = rest(&keeper.ctx.settings, begun.elapsed(), draining);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = runtime::time::sleep(rested) => {}
                    }
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = wake.notified() => {}
                    () = runtime::time::sleep(keeper.ctx.settings.poll) => {}
                }
                continue;
            }
            Err(error) => error,
        };
        match retry.after(&error) {
            After::Halt { reason } => {
                let rows = error.is_about_rows();
                let tried = if rows { std::mem::take(&mut keeper.tried) } else { Positions::default() };
                tracing::error!(table = %name, error = reason, "gold halted");
                note(&lake, "gold", &name, reason.clone(), tried.clone()).await;
                noted = true;
                meter.halt(reason.clone());
                keeper.control.set_waiting(Some(reason));
                if !rows {
                    return Err(error);
                }
                keeper.open = None;
                retry.forget();
                keeper.wait_for_other_rows(&tried).await;
                retry.pause(&stop).await;
            }
            After::Reload | After::Retry => {
                // A new input version may fix the error.
                tokio::select! {
                    biased;
                    _ = retry.again(&name, "gold tries again", &error, &stop) => {}
                    () = wake.notified() => {}
                }
            }
        }
    }
    Ok(())
}

impl Keeper {
    /// Measures and compaction, between two commits.
    pub fn keep_up(&mut self) -> BoxFuture<'_, Result<()>> {
        self.try_keep_up().boxed()
    }

    async fn try_keep_up(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // A measure that was out of its bounds is taken again after each step.
        let every = if self.unmeasured { Duration::ZERO } else { self.ctx.settings.measure };
        // A table whose inputs never had a row is not measured.
        if !open.inputs.have_seen_nothing().await? && self.due.take(self.ctx.clock.now(), every) {
            let (lake, table) = (&self.ctx.lake, &open.table);
            // The time that the table's rows were computed at.
            let as_of = ClockMs(table.positions().get(&AppId::as_of()).unwrap_or_default());
            let taken = stage::measures::take(lake, &self.model, table, as_of, &self.meter).await;
            let taken = taken.of(&self.model.name);
            self.unmeasured = taken.is_err();
            if taken.is_err() {
                self.due.mark_dirty();
            }
            taken?;
        }
        if self.commits >= self.ctx.settings.compact_every {
            self.commits = 0;
            let compaction = Compaction { sort_by: self.model.cluster_by.clone(), ..Compaction::default() };
            open.table.compact(&compaction).await.of(&self.model.name)?;
        }
        Ok(())
    }

    /// Returns once an input has other rows than at the versions `tried`, or when stopped.
    async fn wait_for_other_rows(&self, tried: &Positions) {
        let Control { wake, stop, .. } = &self.control;
        let (lake, name) = (&self.ctx.lake, &self.model.name);
        let names = self.ctx.project.catalog.stored_inputs(name);
        let mut open: Option<Inputs> = None;
        while !stop.is_cancelled() {
            let looked = async {
                let mut inputs = match open.take() {
                    Some(inputs) => inputs,
                    None => Inputs::open(lake, name, &names).await?,
                };
                inputs.refresh().await?;
                let moved = inputs.moved_since(tried).await?;
                open = Some(inputs);
                Ok::<_, Error>(moved)
            };
            match looked.await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(table = %name, reason = chain(&error), "cannot look at the inputs")
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = wake.notified() => {}
                () = runtime::time::sleep(self.ctx.settings.poll) => {}
            }
        }
    }
}

/// How long a table rests after a refresh of that duration, while more changes gather. A slow refresh means
/// that earlier stages lag or the machine is small: fewer, larger refreshes leave them room. While draining,
/// it rests only as long as the refresh took.
fn rest(settings: &Settings, took: Duration, draining: bool) -> Duration {
    let least = if draining { Duration::ZERO } else { settings.refresh.saturating_sub(took) };
    took.min(settings.refresh * 4).max(least)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::quick(100, false, 900)]
    #[case::quick_and_draining(100, true, 100)]
    #[case::slow(700, false, 700)]
    #[case::very_slow(60_000, true, 4_000)]
    fn a_table_rests_as_long_as_it_worked_and_a_little_more(
        #[case] took: u64,
        #[case] draining: bool,
        #[case] rested: u64,
    ) {
        let settings = Settings { refresh: Duration::from_secs(1), ..Settings::default() };
        assert_eq!(rest(&settings, Duration::from_millis(took), draining), Duration::from_millis(rested));
    }
}
