//! The one unsafe module: what librdkafka offers and `rdkafka`'s safe layer does not.
//!
//! | part | why |
//! | --- | --- |
//! | [`client`] | a consumer that is drained by plain calls: no event, future or reference count a message |
//! | [`batch`] | its messages, borrowed until the batch is dropped |
//! | [`ask`] | topic ids (`DescribeTopics`) and the ends of many partitions in one request (`ListOffsets`) |
//! | [`list`] | topic partition lists |
//! | [`told`] | what an admin client logs, which nobody hands over |
//!
//! What holds throughout:
//!
//! - A client owns its queues, and a batch borrows its client, so queues and messages are gone before
//!   the client is destroyed, as the library demands.
//! - Codes from brokers are read as plain integers. The generated bindings have them as a Rust enum,
//!   and a code the enum does not name would be undefined behaviour.
//! - Callbacks never unwind into C: they only copy and push to a list.
//! - `rd_kafka_yield` is never called: inside a batch it makes the library drop the message at hand.

#![allow(unsafe_code)]

mod ask;
mod client;
mod list;
mod messages;
mod told;

use std::ffi::{CStr, c_char, c_int};

use rdkafka::bindings as rd;

use crate::error::Failure;

pub(crate) use ask::{Described, End, EndOf, Reply, offsets, topics};
pub(crate) use client::{Client, EARLIEST, Signal};
pub(crate) use messages::Message;
pub(crate) use told::{Told, told};

/// The same functions as in the bindings, with codes as integers.
mod raw {
    use super::{c_char, c_int, rd};

    unsafe extern "C" {
        pub safe fn rd_kafka_err2str(code: c_int) -> *const c_char;
        pub fn rd_kafka_event_error(event: *mut rd::rd_kafka_event_t) -> c_int;
        pub fn rd_kafka_error_code(error: *const rd::rd_kafka_error_t) -> c_int;
        pub fn rd_kafka_subscribe(
            client: *mut rd::rd_kafka_t,
            topics: *const rd::rd_kafka_topic_partition_list_t,
        ) -> c_int;
        pub fn rd_kafka_assign(
            client: *mut rd::rd_kafka_t,
            partitions: *const rd::rd_kafka_topic_partition_list_t,
        ) -> c_int;
        pub fn rd_kafka_commit(
            client: *mut rd::rd_kafka_t,
            offsets: *const rd::rd_kafka_topic_partition_list_t,
            without_waiting: c_int,
        ) -> c_int;
        pub fn rd_kafka_poll_set_consumer(client: *mut rd::rd_kafka_t) -> c_int;
        pub fn rd_kafka_conf_set_rebalance_cb(
            conf: *mut rd::rd_kafka_conf_t,
            callback: unsafe extern "C" fn(
                *mut rd::rd_kafka_t,
                c_int,
                *mut rd::rd_kafka_topic_partition_list_t,
                *mut std::ffi::c_void,
            ),
        );
        pub fn rd_kafka_message_headers(
            message: *const rd::rd_kafka_message_t,
            headers: *mut *mut rd::rd_kafka_headers_t,
        ) -> c_int;
        pub fn rd_kafka_header_get_all(
            headers: *const rd::rd_kafka_headers_t,
            index: usize,
            name: *mut *const c_char,
            value: *mut *const std::ffi::c_void,
            size: *mut usize,
        ) -> c_int;
    }
}

/// SAFETY: `text` is null or a C string that lives through the call.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a C string by the contract above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn check(code: c_int) -> Result<(), Failure> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the library returns a static C string for any number.
    Err(Failure { code, text: unsafe { owned(raw::rd_kafka_err2str(code)) } })
}

/// Takes and frees an error object; null is success.
///
/// SAFETY: `error` is null or owned by the caller and not used again.
unsafe fn take_error(error: *mut rd::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a live error object; its string is copied before it is destroyed.
    unsafe {
        let failure =
            Failure { code: raw::rd_kafka_error_code(error), text: owned(rd::rd_kafka_error_string(error)) };
        rd::rd_kafka_error_destroy(error);
        Err(failure)
    }
}
