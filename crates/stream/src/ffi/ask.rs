//! Questions to the brokers whose answers come through a queue: topic ids, ends of logs.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{TopicId, TopicName};
use rdkafka::ClientContext;
use rdkafka::bindings as rd;

use super::list::List;
use super::{check, owned, raw};
use crate::Error;
use crate::error::Failure;

/// Which end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its first offset.
    Low,
    /// Behind its last offset, open transactions included.
    High,
}

/// One topic's answer.
#[derive(Debug, Clone)]
pub struct Described {
    pub name: String,
    pub found: Result<Found, Failure>,
}

/// A topic that exists.
#[derive(Debug, Clone)]
pub struct Found {
    /// Most and least significant half.
    id: (i64, i64),
    pub partitions: i32,
}
impl Found {
    /// The id as Kafka's own tools write it.
    pub fn id(&self, topic: &TopicName) -> Result<TopicId, Error> {
        if self.id == (0, 0) {
            return Err(Error::NoTopicId { topic: topic.clone() });
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.id.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.id.1.to_be_bytes());
        Ok(URL_SAFE_NO_PAD.encode(bytes).parse().expect("the alphabet has no slash"))
    }
}

/// An end of a partition's log, or why it is not known.
pub type EndOf = (String, i32, Result<i64, Failure>);

/// An answer.
#[derive(Debug)]
pub enum Reply {
    Topics(Result<Vec<Described>, Failure>),
    Offsets(End, Result<Vec<EndOf>, Failure>),
}

/// A queue that answers come to.
pub(super) struct Replies(*mut rd::rd_kafka_queue_t);

impl Replies {
    /// SAFETY: the client is live, and outlives the result.
    pub unsafe fn new(client: *mut rd::rd_kafka_t) -> Self {
        // SAFETY: by the contract above.
        Self(unsafe { rd::rd_kafka_queue_new(client) })
    }

    /// SAFETY: `client` is the one this queue was made for, and live.
    pub unsafe fn ask_topics(&self, client: *mut rd::rd_kafka_t, topics: &[TopicName], patience: Duration) {
        let names: Vec<CString> = topics
            .iter()
            .map(|topic| CString::new(topic.as_str()).expect("a topic name has no zero byte"))
            .collect();
        let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the collection copies the names; the request copies collection and options.
        unsafe {
            let collection = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = options(client, operation, patience, ptr::null_mut());
            rd::rd_kafka_DescribeTopics(client, collection, options, self.0);
            rd::rd_kafka_AdminOptions_destroy(options);
            rd::rd_kafka_TopicCollection_destroy(collection);
        }
    }

    /// SAFETY: `client` is the one this queue was made for, and live.
    pub unsafe fn ask_offsets(
        &self,
        client: *mut rd::rd_kafka_t,
        partitions: &[(TopicName, i32)],
        end: End,
        patience: Duration,
    ) {
        // The opaque pointer is never followed: it only tells the two answers apart.
        let (spec, tag) = match end {
            End::Low => (rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST, LOW),
            End::High => (rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST, HIGH),
        };
        let list = List::new(partitions.iter().map(|(topic, partition)| (topic, *partition, spec as i64)));
        // SAFETY: the request copies list and options.
        unsafe {
            let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
            let options = options(client, operation, patience, ptr::without_provenance_mut(tag));
            rd::rd_kafka_ListOffsets(client, list.as_ptr(), options, self.0);
            rd::rd_kafka_AdminOptions_destroy(options);
        }
    }

    /// The next answer, if one comes within `wait`. Every question gets one: an error when its time is up.
    pub fn next(&self, wait: Duration) -> Option<Reply> {
        // SAFETY: the queue is live; the event is ours until destroyed, and what is read is copied.
        unsafe {
            let event = rd::rd_kafka_queue_poll(self.0, millis(wait));
            if event.is_null() {
                return None;
            }
            let failed = match raw::rd_kafka_event_error(event) {
                0 => Ok(()),
                code => Err(Failure { code, text: owned(rd::rd_kafka_event_error_string(event)) }),
            };
            let reply = match rd::rd_kafka_event_type(event) {
                rd::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                    Some(Reply::Topics(failed.map(|()| described(event))))
                }
                rd::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                    let tag = rd::rd_kafka_event_opaque(event).addr();
                    let end = if tag == LOW { End::Low } else { End::High };
                    Some(Reply::Offsets(end, failed.map(|()| listed(event))))
                }
                _ => None,
            };
            rd::rd_kafka_event_destroy(event);
            reply
        }
    }
}
impl Drop for Replies {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once, before its client.
        unsafe { rd::rd_kafka_queue_destroy(self.0) }
    }
}

const LOW: usize = 1;
const HIGH: usize = 2;

/// Describes `topics`, waiting for the answer.
pub fn topics<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    topics: &[TopicName],
    patience: Duration,
) -> Result<Vec<Described>, Failure> {
    let client = client.native_ptr();
    // SAFETY: the borrow keeps the client live beyond the queue, which ends with this call.
    let replies = unsafe { Replies::new(client) };
    // SAFETY: as above.
    unsafe { replies.ask_topics(client, topics, patience) };
    match replies.next(patience + Duration::from_secs(1)) {
        Some(Reply::Topics(answer)) => answer,
        _ => Err(late()),
    }
}

/// The ends of `partitions`, in their order, waiting for the answer.
pub fn offsets<C: ClientContext>(
    client: &rdkafka::client::Client<C>,
    partitions: &[(TopicName, i32)],
    end: End,
    patience: Duration,
) -> Result<Vec<EndOf>, Failure> {
    let client = client.native_ptr();
    // SAFETY: the borrow keeps the client live beyond the queue, which ends with this call.
    let replies = unsafe { Replies::new(client) };
    // SAFETY: as above.
    unsafe { replies.ask_offsets(client, partitions, end, patience) };
    match replies.next(patience + Duration::from_secs(1)) {
        Some(Reply::Offsets(_, answer)) => {
            let mut answer = answer?;
            answer.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            Ok(answer)
        }
        _ => Err(late()),
    }
}

fn late() -> Failure {
    Failure { code: TIMED_OUT, text: "no answer in time".to_owned() }
}
const TIMED_OUT: i32 = -185;

fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// SAFETY: the client is live; the caller destroys the result.
unsafe fn options(
    client: *mut rd::rd_kafka_t,
    operation: rd::rd_kafka_admin_op_t,
    patience: Duration,
    tag: *mut c_void,
) -> *mut rd::rd_kafka_AdminOptions_t {
    // SAFETY: by the contract above. A timeout the library refuses leaves its default.
    unsafe {
        let options = rd::rd_kafka_AdminOptions_new(client, operation);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(patience), ptr::null_mut(), 0);
        rd::rd_kafka_AdminOptions_set_opaque(options, tag);
        options
    }
}

/// SAFETY: a live `DescribeTopics` event without error.
unsafe fn described(event: *mut rd::rd_kafka_event_t) -> Vec<Described> {
    // SAFETY: the result and all it points to live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        (0..count)
            .map(|i| {
                let topic = *topics.add(i);
                let error = rd::rd_kafka_TopicDescription_error(topic);
                let name = owned(rd::rd_kafka_TopicDescription_name(topic));
                let code = if error.is_null() { 0 } else { raw::rd_kafka_error_code(error) };
                if let Err(failure) = check(code) {
                    return Described { name, found: Err(failure) };
                }
                let mut partitions = 0;
                rd::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
                let id = rd::rd_kafka_TopicDescription_topic_id(topic);
                let id = (
                    rd::rd_kafka_Uuid_most_significant_bits(id),
                    rd::rd_kafka_Uuid_least_significant_bits(id),
                );
                let partitions = i32::try_from(partitions).expect("Kafka counts partitions with 31 bits");
                Described { name, found: Ok(Found { id, partitions }) }
            })
            .collect()
    }
}

/// SAFETY: a live `ListOffsets` event without error.
unsafe fn listed(event: *mut rd::rd_kafka_event_t) -> Vec<EndOf> {
    // SAFETY: the result and all it points to live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_ListOffsets_result(event);
        let mut count = 0;
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        (0..count)
            .map(|i| {
                let at = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i));
                let code = ptr::addr_of!((*at).err).cast::<c_int>().read();
                let offset = check(code).map(|()| (*at).offset);
                (owned((*at).topic), (*at).partition, offset)
            })
            .collect()
    }
}
