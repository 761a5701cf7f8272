//! What an admin client tells of itself.
//!
//! `rdkafka` puts log lines and errors into the client's main queue, and its admin client never looks there.

use std::ffi::c_char;
use std::ptr;

use rdkafka::ClientContext;
use rdkafka::bindings as rd;

use super::{owned, raw};
use crate::error::Failure;

/// One thing told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A log line.
    Line {
        /// Of syslog.
        level: i32,
        /// What it is about.
        facility: String,
        /// The text.
        detail: String,
    },
    /// An error of the client as a whole.
    Error(Failure),
}

/// Everything told since it was asked last. Waits for nothing.
pub fn told<C: ClientContext>(client: &rdkafka::client::Client<C>) -> Vec<Told> {
    let mut all = Vec::new();
    // SAFETY: the client lives through the call, and with it the queue, whose reference is given back. An
    // event is ours until destroyed, and what is read of it is copied before.
    unsafe {
        let queue = rd::rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = rd::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            all.extend(read(event));
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
    }
    all
}

/// SAFETY: `event` is live.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> Option<Told> {
    // SAFETY: live by the contract above; the strings belong to it.
    unsafe {
        match rd::rd_kafka_event_type(event) {
            rd::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut detail): (*const c_char, *const c_char) = (ptr::null(), ptr::null());
                let mut level = 0;
                let known = rd::rd_kafka_event_log(event, &raw mut facility, &raw mut detail, &raw mut level);
                (known == 0).then(|| Told::Line { level, facility: owned(facility), detail: owned(detail) })
            }
            rd::RD_KAFKA_EVENT_ERROR => {
                let text = owned(rd::rd_kafka_event_error_string(event));
                Some(Told::Error(Failure { code: raw::rd_kafka_event_error(event), text }))
            }
            _ => None,
        }
    }
}
