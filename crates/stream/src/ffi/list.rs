//! Topic partition lists.

use std::ffi::CString;

use model::TopicName;
use rdkafka::bindings as rd;

use super::owned;

/// Partitions with a position each, owned.
pub struct List(*mut rd::rd_kafka_topic_partition_list_t);

impl List {
    pub fn new<'a>(partitions: impl IntoIterator<Item = (&'a TopicName, i32, i64)>) -> Self {
        // SAFETY: any size is fine, the list grows; allocation failure aborts in the library.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(8) };
        for (topic, partition, offset) in partitions {
            let topic = CString::new(topic.as_str()).expect("a topic name has no zero byte");
            // SAFETY: the list is live; the name is copied; the element is valid until the next add.
            unsafe {
                let element = rd::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
                (*element).offset = offset;
            }
        }
        Self(list)
    }
    pub fn as_ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0
    }
}
impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies topics and partitions of a list that the library owns.
///
/// SAFETY: `list` is null or live during the call.
pub unsafe fn copied(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<(String, i32)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: live, so `elems` has `cnt` elements with a topic each.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or_default();
        (0..count)
            .map(|i| {
                let element = (*list).elems.add(i);
                (owned((*element).topic), (*element).partition)
            })
            .collect()
    }
}
