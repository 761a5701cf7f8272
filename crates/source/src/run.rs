//! Runs a source: opens it, publishes what it reads, and opens it again after an error.
//!
//! Three things end it: the source has come to its end, it is stopped, or an error waits for a person. A producer
//! that was shut out takes its id back a few times ([`Reclaims`]), because a transaction that was open for
//! too long looks the same as a second process.

use std::time::Duration;

use runtime::time::Instant;
use runtime::{After, CancellationToken, Reclaims, Retry, State};

use crate::batch::Sent;
use crate::connector::{About, Connector, CursorRecord, OnStop, Opened, Step, Wait};
use crate::error::Error;
use crate::publisher::Publisher;

/// The first pause after an error.
const PAUSE: Duration = Duration::from_millis(200);

/// Publishes what a source reads until its end, until `stop`, or until a person is needed. What it has published.
///
/// # Errors
/// When a person is needed. When it was stopped, and could not come to its own end as it should.
pub async fn run(connector: &mut dyn Connector, stop: &CancellationToken) -> Result<Sent, Error> {
    run_with(connector, stop, Retry::new(PAUSE)).await
}

async fn run_with(
    connector: &mut dyn Connector,
    stop: &CancellationToken,
    retry: Retry,
) -> Result<Sent, Error> {
    let on_stop = connector.on_stop();
    let mut run = Run { about: connector.about(), on_stop, stop, retry, published: Sent::default() };
    let mut reclaims = Reclaims::default();
    loop {
        run.state(State::Starting);
        let ended = tokio::select! {
            biased;
            () = stop.cancelled(), if on_stop == OnStop::Drop => return Ok(run.published),
            ended = run.attempt(connector) => ended,
        };
        let error = match ended {
            Ok(()) => {
                run.state(State::Drained);
                return Ok(run.published);
            }
            Err(error) => error,
        };
        if let After::Halt { reason } = run.retry.after(&error)
            && !(error.is_fenced() && reclaims.may(Instant::now()))
        {
            if let Some(meter) = &run.about.meter {
                meter.halt(reason);
            }
            return Err(error);
        }
        let goes_on = !stop.is_cancelled() && run.pause(&error).await;
        match on_stop {
            _ if goes_on => {}
            OnStop::Drop => return Ok(run.published),
            OnStop::Finish(_) => return Err(error),
        }
    }
}

/// A source at work.
struct Run<'a> {
    about: About,
    on_stop: OnStop,
    stop: &'a CancellationToken,
    retry: Retry,
    published: Sent,
}

impl Run<'_> {
    fn state(&self, state: State) {
        if let Some(meter) = &self.about.meter {
            meter.state(state);
        }
    }

    /// Says what failed, and waits. False: it was stopped.
    async fn pause(&mut self, error: &Error) -> bool {
        self.retry.again(self.about.name.clone(), self.about.goes_on, error, self.stop).await
    }

    /// Reads until the source's end, or the first error.
    async fn attempt(&mut self, connector: &mut dyn Connector) -> Result<(), Error> {
        let Opened { mut publisher, mut reader } = connector.open(self.stop).await?;
        let (mut is_ready, mut said) = (false, None);
        loop {
            if !is_ready && reader.is_ready() {
                is_ready = true;
                self.retry.hurry();
                self.state(State::Running);
            }
            match reader.next().await? {
                Step::Send(batch) => reader.sent(publisher.send(batch).await?),
                Step::Commit(cursors) => {
                    let sent = self.commit(&mut publisher, &cursors).await?;
                    reader.committed(sent).await?;
                }
                Step::Wait(wait) => {
                    self.wait(wait, &mut said).await;
                    self.state(if is_ready { State::Running } else { State::Starting });
                }
                Step::Done if publisher.is_open() => {
                    let sent = self.commit(&mut publisher, &[]).await?;
                    return reader.committed(sent).await;
                }
                Step::Done => return Ok(()),
            }
        }
    }

    async fn commit(&mut self, publisher: &mut Publisher, cursors: &[CursorRecord]) -> Result<Sent, Error> {
        let sent = self.acknowledged(publisher, cursors).await?;
        if let Some(meter) = &self.about.meter {
            meter.records_out(sent.records);
            meter.quarantined(sent.bad);
        }
        self.published = self.published.and(sent);
        Ok(sent)
    }

    /// Commits. A stopped source that finishes by itself does not wait for Kafka for long.
    async fn acknowledged(&self, publisher: &mut Publisher, cursors: &[CursorRecord]) -> Result<Sent, Error> {
        let OnStop::Finish(within) = self.on_stop else { return publisher.commit(cursors).await };
        let stopped = async {
            self.stop.cancelled().await;
            runtime::time::sleep(within).await;
        };
        tokio::select! {
            biased;
            sent = publisher.commit(cursors) => sent,
            () = stopped => Err(Error::Unacknowledged),
        }
    }

    async fn wait(&self, wait: Wait, said: &mut Option<String>) {
        let Wait { until, held_back } = wait;
        if let Some(why) = &held_back {
            if *said != held_back {
                let pause = until.duration_since(Instant::now());
                tracing::info!(of = %self.about.name, why, ?pause, "source waits");
            }
            self.state(State::Idle);
        }
        *said = held_back;
        let pause = runtime::time::sleep_until(until);
        match self.on_stop {
            // Whoever waits for this attempt drops it: one that went on would ask, and wait, without end.
            OnStop::Drop => pause.await,
            // A reader that comes to its own end looks at the stop.
            OnStop::Finish(_) => drop(self.stop.run_until_cancelled(pause).await),
        }
    }
}

#[cfg(test)]
mod tests;
