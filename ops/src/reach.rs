//! Retries while a service is unreachable.

use std::time::Duration;

use model::Reaction;
use runtime::health::Status;
use runtime::{CancellationToken, Retry};

use crate::wiring::Wiring;

/// Kafka's answer to `ask`, retried while Kafka is unreachable. Meanwhile `component` is shown as down, and
/// standard error says what is missing and what to do. `None`: `quit` came first.
pub async fn kafka<T>(
    wiring: &Wiring,
    component: &str,
    quit: &CancellationToken,
    ask: impl AsyncFn() -> stream::Result<T>,
) -> stream::Result<Option<T>> {
    let at = &wiring.kafka.settings().bootstrap;
    let mut down = false;
    let mut retry = Retry::new(Duration::from_millis(200));
    loop {
        let asked = tokio::select! {
            biased;
            () = quit.cancelled() => return Ok(None),
            asked = ask() => asked,
        };
        let error = match asked {
            Err(error) if error.reaction() == Reaction::Retry => error,
            asked => {
                if down {
                    wiring.health.set(component, Status::Up);
                }
                return asked.map(Some);
            }
        };
        wiring.health.set(component, Status::Down(format!("no answer from kafka at `{at}`: {error}")));
        down = true;
        if !retry.again(format!("{component}, kafka at {at}"), "waiting for kafka", &error, quit).await {
            return Ok(None);
        }
    }
}
