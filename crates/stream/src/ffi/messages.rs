//! Messages that were taken together.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;

use rdkafka::bindings as rd;

use super::{owned, raw};
use crate::records::HeaderSink;

/// Taken messages. Dropping it gives them back, so it must not outlive the client: it borrows the
/// client's buffer.
pub struct Messages<'c> {
    pub(super) messages: &'c mut Vec<*mut rd::rd_kafka_message_t>,
}

impl Messages<'_> {
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages.iter().map(|message| Message { message: *message, batch: PhantomData })
    }
    pub fn len(&self) -> usize {
        self.messages.len()
    }
}
impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: taken from the queue and destroyed once; `Message`s borrow the batch.
            unsafe { rd::rd_kafka_message_destroy(message) }
        }
    }
}

/// A record, or an error on its way through the same queue.
#[derive(Clone, Copy)]
pub struct Message<'b> {
    message: *const rd::rd_kafka_message_t,
    batch: PhantomData<&'b ()>,
}

impl<'b> Message<'b> {
    /// 0 for a record.
    pub fn code(self) -> i32 {
        // SAFETY: live while the batch is. Read as an integer: see the module doc of `ffi`.
        unsafe { ptr::addr_of!((*self.message).err).cast::<i32>().read() }
    }
    /// Equal for messages of one partition of one topic of this client.
    pub fn source(self) -> (usize, i32) {
        // SAFETY: live while the batch is.
        unsafe { ((*self.message).rkt as usize, (*self.message).partition) }
    }
    /// `None` for an error of the whole client.
    pub fn topic(self) -> Option<&'b str> {
        // SAFETY: live while the batch is; the topic object, and its name, live at least as long.
        unsafe {
            let topic = (*self.message).rkt;
            if topic.is_null() {
                return None;
            }
            CStr::from_ptr(rd::rd_kafka_topic_name(topic)).to_str().ok()
        }
    }
    pub fn offset(self) -> i64 {
        // SAFETY: live while the batch is.
        unsafe { (*self.message).offset }
    }
    /// Milliseconds, -1 when unknown.
    pub fn timestamp(self) -> i64 {
        // SAFETY: live while the batch is; a null type is allowed.
        unsafe { rd::rd_kafka_message_timestamp(self.message, ptr::null_mut()) }
    }
    pub fn key(self) -> Option<&'b [u8]> {
        // SAFETY: the library keeps `key_len` bytes at `key` until the message is destroyed.
        unsafe { bytes((*self.message).key, (*self.message).key_len) }
    }
    /// The value; of an error, its text.
    pub fn value(self) -> Option<&'b [u8]> {
        // SAFETY: the library keeps `len` bytes at `payload` until the message is destroyed.
        unsafe { bytes((*self.message).payload, (*self.message).len) }
    }
    /// Text of an error.
    pub fn text(self) -> String {
        match self.value() {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            // SAFETY: the library returns a static C string for any number.
            None => unsafe { owned(raw::rd_kafka_err2str(self.code())) },
        }
    }
    pub fn headers(self, into: &mut HeaderSink<'_>) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is live and owns the headers it parses on demand.
        if unsafe { raw::rd_kafka_message_headers(self.message, &raw mut headers) } != 0 {
            return;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        for index in 0.. {
            // SAFETY: the headers live as long as the message; the index is checked by the library.
            let code = unsafe {
                raw::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size)
            };
            if code != 0 {
                return;
            }
            // SAFETY: on success `name` is a C string and `value` null or `size` bytes.
            unsafe { into.push(&CStr::from_ptr(name).to_string_lossy(), bytes(value, size)) }
        }
    }
}

/// SAFETY: `at` is null or points to `length` bytes that live for `'b`.
unsafe fn bytes<'b>(at: *const c_void, length: usize) -> Option<&'b [u8]> {
    // SAFETY: by the contract above.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at.cast::<u8>(), length) })
}
