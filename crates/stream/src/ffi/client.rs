//! A consumer client that is driven from one thread.
//!
//! The rebalance callback does not answer the group. It runs inside the call that takes messages, and
//! messages taken before it in the same call belong to the assignment that was: answering at once
//! would leave no way to tell them from those behind it. It leaves a [`Signal`]; the thread answers
//! with [`Client::assign`] or [`Client::unassign`] once it has dealt with the messages.

use std::ffi::{c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::time::Duration;

use model::TopicName;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::bindings as rd;

use super::ask::{End, Replies, Reply};
use super::list::{List, copied};
use super::messages::Messages;
use super::{check, owned, raw, take_error};
use crate::error::{Failure, code, refusal};
use crate::logs;

/// What a callback left behind.
#[derive(Debug)]
pub enum Signal {
    /// The group gives us these. It waits for [`Client::assign`], if only of none.
    Assign(Vec<(String, i32)>),
    /// The group wants these back. It waits for [`Client::unassign`], if only of none.
    Revoke(Vec<(String, i32)>),
    /// An error of the whole client; it goes on by itself unless fatal.
    Failed(Failure),
}

/// Where the callbacks write. Its address is given to the library.
#[derive(Default)]
struct Mailbox(Mutex<Vec<Signal>>);

/// The position that means "start of the log".
pub const EARLIEST: i64 = rd::RD_KAFKA_OFFSET_BEGINNING as i64;

/// A consumer. Not `Sync`: one thread drives it.
pub struct Client {
    client: *mut rd::rd_kafka_t,
    queue: *mut rd::rd_kafka_queue_t,
    closing: *mut rd::rd_kafka_queue_t,
    replies: ManuallyDrop<Replies>,
    mailbox: Box<Mailbox>,
    buffer: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: the library's objects are thread safe; the buffer is empty whenever no `Messages` borrows it.
unsafe impl Send for Client {}

impl Client {
    /// A client in the group that `config` names. `batch`: the most messages a call may take.
    pub fn try_new(config: &ClientConfig, batch: usize) -> Result<Self, String> {
        let native = config.create_native_config().map_err(|error| refusal(&error))?;
        let mailbox = Box::<Mailbox>::default();
        let mut text = [0 as c_char; 512];
        let native = ManuallyDrop::new(native);
        // SAFETY: the configuration is live. `rd_kafka_new` takes it over when it succeeds, else it
        // is dropped below. The mailbox is boxed and outlives the client: see `drop`.
        let client = unsafe {
            rd::rd_kafka_conf_set_opaque(native.ptr(), ptr::from_ref(&*mailbox).cast_mut().cast());
            rd::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            rd::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
            raw::rd_kafka_conf_set_rebalance_cb(native.ptr(), on_rebalance);
            rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                native.ptr(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if client.is_null() {
            drop(ManuallyDrop::into_inner(native));
            // SAFETY: the library wrote a C string.
            return Err(unsafe { owned(text.as_ptr()) });
        }
        // SAFETY: the client is live; each queue is destroyed before it in `drop`.
        unsafe {
            // Errors and logs come through the same queue as messages. Fails only without a group.
            raw::rd_kafka_poll_set_consumer(client);
            let queue = rd::rd_kafka_queue_get_consumer(client);
            let closing = rd::rd_kafka_queue_new(client);
            let replies = ManuallyDrop::new(Replies::new(client));
            Ok(Self { client, queue, closing, replies, mailbox, buffer: Vec::with_capacity(batch) })
        }
    }

    /// Joins the group for `topics`.
    pub fn subscribe(&self, topics: &[TopicName]) -> Result<(), Failure> {
        let list = List::new(topics.iter().map(|topic| (topic, -1, EARLIEST)));
        // SAFETY: client and list are live; the list is copied.
        check(unsafe { raw::rd_kafka_subscribe(self.client, list.as_ptr()) })
    }
    /// Reads without a group from here on; partitions come with [`Self::assign`].
    pub fn assign_none(&self) -> Result<(), Failure> {
        let list = List::new([]);
        // SAFETY: client and list are live; the list is copied.
        check(unsafe { raw::rd_kafka_assign(self.client, list.as_ptr()) })
    }

    /// Starts reading partitions, each from its position.
    pub fn assign<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicName, i32, i64)>,
    ) -> Result<(), Failure> {
        let list = List::new(partitions);
        // SAFETY: client and list are live; the list is copied; the error is ours.
        unsafe { take_error(rd::rd_kafka_incremental_assign(self.client, list.as_ptr())) }
    }
    /// Stops reading partitions. What the library holds of them is dropped, never delivered.
    pub fn unassign<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicName, i32)>,
    ) -> Result<(), Failure> {
        let list = List::new(partitions.into_iter().map(|(topic, partition)| (topic, partition, EARLIEST)));
        // SAFETY: client and list are live; the list is copied; the error is ours.
        unsafe { take_error(rd::rd_kafka_incremental_unassign(self.client, list.as_ptr())) }
    }

    /// Takes what is there, waiting up to `wait` for the first message only.
    ///
    /// One by one, not by `rd_kafka_consume_batch_queue`: that counts the end of a partition as a
    /// message read, and from then on believes its reader to be one behind the end. Whenever the
    /// library pauses partitions, and it pauses all of them while any is given or taken, it reads on
    /// from what it believes, and the next record is never seen (librdkafka 2.12.1,
    /// `rd_kafka_q_serve_rkmessages`).
    pub fn take(&mut self, wait: Duration) -> Messages<'_> {
        debug_assert!(self.buffer.is_empty());
        let mut wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        while self.buffer.len() < self.buffer.capacity() {
            // SAFETY: the queue is live; the message is ours, and the batch destroys it.
            let message = unsafe { rd::rd_kafka_consume_queue(self.queue, wait) };
            if message.is_null() {
                break;
            }
            self.buffer.push(message);
            wait = 0;
        }
        Messages { messages: &mut self.buffer }
    }
    /// What callbacks left since the last call.
    pub fn signals(&self) -> Vec<Signal> {
        std::mem::take(&mut *self.mailbox.0.lock())
    }

    /// Asks for ids; [`Self::reply`] has the answer.
    pub fn ask_topics(&self, topics: &[TopicName], patience: Duration) {
        // SAFETY: the queue is this client's, and both are live.
        unsafe { self.replies.ask_topics(self.client, topics, patience) }
    }
    /// Asks for one end of each log; [`Self::reply`] has the answer.
    pub fn ask_offsets(&self, partitions: &[(TopicName, i32)], end: End, patience: Duration) {
        // SAFETY: the queue is this client's, and both are live.
        unsafe { self.replies.ask_offsets(self.client, partitions, end, patience) }
    }
    /// An answer that has come.
    pub fn reply(&self) -> Option<Reply> {
        self.replies.next(Duration::ZERO)
    }

    /// Stores offsets with the group, for people to see. Does not wait.
    pub fn commit<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a TopicName, i32, i64)>,
    ) -> Result<(), Failure> {
        let list = List::new(offsets);
        // SAFETY: client and list are live; the list is copied.
        check(unsafe { raw::rd_kafka_commit(self.client, list.as_ptr(), 1) })
    }

    /// Begins to leave the group. Serve [`Self::take`] and [`Self::signals`] until [`Self::closed`].
    pub fn close(&mut self) -> Result<(), Failure> {
        // SAFETY: client and queue are live; the error is ours. The consumer queue is forwarded to
        // the closing one, which is drained in its stead.
        unsafe {
            take_error(rd::rd_kafka_consumer_close_queue(self.client, self.closing))?;
        }
        std::mem::swap(&mut self.queue, &mut self.closing);
        Ok(())
    }
    /// Whether the group has been left.
    pub fn closed(&self) -> bool {
        // SAFETY: the client is live.
        unsafe { rd::rd_kafka_consumer_closed(self.client) != 0 }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: no batch borrows the buffer, so no message is out. Queues go first, then the
        // client, whose threads have ended when it returns, then the mailbox they write to. A group
        // that was not left is not waited for: it notices by the session timeout.
        unsafe {
            ManuallyDrop::drop(&mut self.replies);
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_queue_destroy(self.closing);
            rd::rd_kafka_destroy_flags(self.client, rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

/// SAFETY: called by the library with the mailbox given at creation.
unsafe fn leave(opaque: *mut c_void, signal: Signal) {
    // SAFETY: the box lives until after the client is destroyed.
    let mailbox = unsafe { &*opaque.cast::<Mailbox>() };
    mailbox.0.lock().push(signal);
}

unsafe extern "C" fn on_rebalance(
    _: *mut rd::rd_kafka_t,
    why: c_int,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the list lives during the callback and is copied; the opaque is the mailbox.
    unsafe {
        let signal = match why {
            code::ASSIGN_PARTITIONS => Signal::Assign(copied(partitions)),
            // Any other reason is an error in the group: all of these are to be given up.
            _ => Signal::Revoke(copied(partitions)),
        };
        leave(opaque, signal);
    }
}

unsafe extern "C" fn on_error(
    _: *mut rd::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: the reason is a C string and is copied; the opaque is the mailbox.
    unsafe { leave(opaque, Signal::Failed(Failure { code, text: owned(reason) })) }
}

unsafe extern "C" fn on_log(
    _: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: both are C strings and are copied.
    unsafe { logs::line(level, &owned(facility), &owned(text)) }
}

#[cfg(test)]
mod tests {
    use runtime::time::Instant;

    use super::*;
    use crate::tests::{PATIENCE, bench, fill, topic};

    impl Client {
        /// Where the library reads on after it has paused a partition.
        fn position(&self, topic: &TopicName, partition: i32) -> i64 {
            let list = List::new([(topic, partition, EARLIEST)]);
            // SAFETY: client and list are live; the list has one element, which the library fills in.
            unsafe {
                rd::rd_kafka_position(self.client, list.as_ptr());
                (*(*list.as_ptr()).elems).offset
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_of_a_partition_is_not_counted_as_a_record_of_it() {
        let bench = bench(&[("t", 1)]).await;
        let t = topic("t");
        fill(&bench.kafka, &t, 1, 7).await;
        let config = bench.kafka.settings().consumer("g", 1 << 20);
        let took = crate::aside::run("take", move || {
            let mut client = Client::try_new(&config, 100).expect("valid");
            client.assign_none().expect("no group");
            client.assign([(&t, 0, 0)]).expect("placed");
            let deadline = Instant::now() + PATIENCE;
            let (mut records, mut ended) = (0, false);
            while !ended && Instant::now() < deadline {
                for message in client.take(Duration::from_millis(20)).iter() {
                    records += usize::from(message.code() == 0);
                    ended |= message.code() == code::PARTITION_EOF;
                }
            }
            (records, ended, client.position(&t, 0))
        });
        assert_eq!(took.await.expect("a thread"), (7, true, 7));
    }
}
