//! What librdkafka logs, as `tracing` events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::time::Instant;

use parking_lot::Mutex;
use rdkafka::error::KafkaError;

use crate::error::{Failure, code};
use crate::ffi::Told;

/// One line, with its syslog level. A lost connection is an error to the library; to us it is a
/// warning, because the client connects again and nothing is lost.
pub(crate) fn line(level: i32, facility: &str, detail: &str) {
    match level {
        0..=2 => tracing::error!(target: "kafka", facility, detail, "kafka client"),
        3 | 4 => tracing::warn!(target: "kafka", facility, detail, "kafka client"),
        5 | 6 => tracing::info!(target: "kafka", facility, detail, "kafka client"),
        _ => tracing::debug!(target: "kafka", facility, detail, "kafka client"),
    }
}

/// How long all clients of the process are silent about errors like the one that was told.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether a broker of this process has been told to stop: that clients lose it is no news then.
static IS_OURS_GONE: AtomicBool = AtomicBool::new(false);

/// Says that this process hosts a broker, or that it is about to stop the one that it hosts.
pub fn hosts(is_hosting: bool) {
    IS_OURS_GONE.store(!is_hosting, Ordering::Relaxed);
}

/// An error of a whole client, which goes on trying. When a broker is away a dozen clients of a process
/// say so, and again with every attempt: it is told once for all of them, and again while it lasts.
pub(crate) fn failed(failure: &Failure) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    tracing::debug!(target: "kafka", %failure, "kafka client error");
    if !says_why(failure) || IS_OURS_GONE.load(Ordering::Relaxed) {
        return;
    }
    let mut told = TOLD.lock();
    if told.is_none_or(|at| at.elapsed() >= AGAIN) {
        *told = Some(Instant::now());
        tracing::warn!(reason = %failure, "no connection to kafka, trying again; check that it runs, and `kafka` of the target");
    }
}

/// Whether the error is about a connection, and has an address and a reason. A connection that ends
/// says neither that the broker is away nor why: the attempt to connect again does.
fn says_why(failure: &Failure) -> bool {
    let connecting = [code::TRANSPORT, code::RESOLVE, code::SSL, code::AUTHENTICATION];
    connecting.contains(&failure.code) && !failure.text.contains("isconnected")
}

/// What an admin client has told: why there is no connection. A call that fails because of that says only
/// that it took too long.
#[derive(Default)]
pub(crate) struct Logged {
    why: Mutex<Option<Failure>>,
}
impl Logged {
    /// Logs what was told, and remembers why there is no connection.
    pub fn take(&self, told: Told) {
        let why = match told {
            Told::Line { level, facility, detail } => {
                line(level, &facility, &detail);
                (facility == "FAIL").then(|| failed_connection(&detail))
            }
            Told::Error(failure) => {
                failed(&failure);
                says_why(&failure).then_some(failure)
            }
        };
        if why.is_some() {
            *self.why.lock() = why;
        }
    }
    /// `failure` of a call, or what is behind it.
    pub fn behind(&self, failure: Failure) -> Failure {
        // An admin's request that timed out has no code.
        let vague = [0, code::TRANSPORT, code::TIMED_OUT].contains(&failure.code);
        self.why.lock().clone().filter(|_| vague).unwrap_or(failure)
    }
}
/// Takes nothing here: of an admin client the library calls none of this.
impl rdkafka::ClientContext for Logged {}

/// What a line about a failed connection says: `[thrd:NAME]: ADDRESS: what happened`.
fn failed_connection(detail: &str) -> Failure {
    let text = match detail.split_once("]: ") {
        Some((thread, text)) if thread.starts_with("[thrd:") => text,
        _ => detail,
    };
    let code = if text.contains("SASL authentication error") || text.contains("Authentication failed") {
        code::AUTHENTICATION
    } else if text.contains("SSL handshake") {
        code::SSL
    } else {
        code::TRANSPORT
    };
    Failure { code, text: text.to_owned() }
}

/// What a safe client is told of itself.
pub(crate) fn of(error: &KafkaError, reason: &str) -> Failure {
    Failure { code: error.rdkafka_error_code().map_or(0, |code| code as i32), text: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_with_an_address_and_a_reason_is_told() {
        let told = |code, text: &str| says_why(&Failure { code, text: text.to_owned() });
        assert!(told(
            -195,
            "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
        ));
        assert!(!told(-195, "127.0.0.1:9092/0: Disconnected (after 31ms in state UP)"));
        assert!(!told(-187, "1/1 brokers are down"));
        assert!(!told(code::FATAL, "fenced by newer producer instance"));
    }

    #[test]
    fn a_call_that_took_too_long_says_what_was_behind_it() {
        let context = Logged::default();
        let vague = Failure { code: code::TIMED_OUT, text: "Local: Timed out".to_owned() };
        assert_eq!(context.behind(vague.clone()), vague);
        let told = |detail: &str| {
            context.take(Told::Line { level: 3, facility: "FAIL".to_owned(), detail: detail.to_owned() });
            context.behind(vague.clone())
        };
        let denied = told(
            "[thrd:sasl_ssl://k:1/bootstrap]: sasl_ssl://k:1/bootstrap: SASL authentication error: Authentication failed during authentication (after 12ms in state AUTH_REQ)",
        );
        assert!(denied.is_denied() && denied.text.starts_with("sasl_ssl://k:1"), "{denied}");
        assert_eq!(
            told("[thrd:x]: ssl://k:1: SSL handshake failed: certificate verify failed").code,
            code::SSL
        );
        assert_eq!(told("k:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused").code, code::TRANSPORT);
        let definite = Failure { code: code::UNKNOWN_TOPIC, text: "unknown".to_owned() };
        assert_eq!(context.behind(definite.clone()), definite);
    }
}
