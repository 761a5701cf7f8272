//! Topics in the form of Kafka's answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tansu_sans_io::describe_configs_response::DescribeConfigsResourceResult;
use tansu_sans_io::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use tansu_sans_io::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use tansu_sans_io::{ConfigSource, ConfigType, ErrorCode, NULL_TOPIC_ID};
use tansu_storage::TopicId;
use uuid::Uuid;

use super::{NODE, Store, StoredTopic};

/// "All operations": the answer of an unsecured Kafka to a request that does not ask to compute them.
const NOT_COMPUTED: i32 = i32::MIN;

impl Store {
    /// Finds a topic by name or id.
    pub(crate) fn find(&self, id: &TopicId) -> Option<Arc<StoredTopic>> {
        match id {
            TopicId::Name(name) => self.topic(name),
            TopicId::Id(id) => self.topic_by_id(*id),
        }
    }

    /// The metadata answer for one topic, which may not exist.
    pub(crate) fn metadata_of(&self, id: &TopicId) -> MetadataResponseTopic {
        match self.find(id) {
            Some(topic) => describe(&topic),
            None => {
                let (name, uuid, code) = match id {
                    TopicId::Name(name) => {
                        (Some(name.clone()), NULL_TOPIC_ID, ErrorCode::UnknownTopicOrPartition)
                    }
                    TopicId::Id(uuid) => (None, uuid.into_bytes(), ErrorCode::UnknownTopicId),
                };
                MetadataResponseTopic::default()
                    .error_code(code.into())
                    .name(name)
                    .topic_id(Some(uuid))
                    .is_internal(Some(false))
                    .partitions(Some(Vec::new()))
                    .topic_authorized_operations(Some(NOT_COMPUTED))
            }
        }
    }
}

/// The metadata answer for a topic.
pub(crate) fn describe(topic: &StoredTopic) -> MetadataResponseTopic {
    let partitions = indexes(topic).map(|index| {
        MetadataResponsePartition::default()
            .error_code(ErrorCode::None.into())
            .partition_index(index)
            .leader_id(NODE)
            .leader_epoch(Some(0))
            .replica_nodes(Some(vec![NODE]))
            .isr_nodes(Some(vec![NODE]))
            .offline_replicas(Some(Vec::new()))
    });
    MetadataResponseTopic::default()
        .error_code(ErrorCode::None.into())
        .name(Some(topic.name.clone()))
        .topic_id(Some(topic.id.into_bytes()))
        .is_internal(Some(false))
        .partitions(Some(partitions.collect()))
        .topic_authorized_operations(Some(NOT_COMPUTED))
}

/// The `DescribeTopicPartitions` answer for a topic.
pub(super) fn describe_partitions(topic: &StoredTopic) -> DescribeTopicPartitionsResponseTopic {
    let partitions = indexes(topic).map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .error_code(ErrorCode::None.into())
            .partition_index(index)
            .leader_id(NODE)
            .leader_epoch(0)
            .replica_nodes(Some(vec![NODE]))
            .isr_nodes(Some(vec![NODE]))
            .eligible_leader_replicas(Some(Vec::new()))
            .last_known_elr(Some(Vec::new()))
            .offline_replicas(Some(Vec::new()))
    });
    unknown_partitions(Some(topic.name.clone()), topic.id, ErrorCode::None)
        .partitions(Some(partitions.collect()))
}

/// The `DescribeTopicPartitions` answer for a topic that does not exist.
pub(super) fn unknown_partitions(
    name: Option<String>,
    id: Uuid,
    code: ErrorCode,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .error_code(code.into())
        .name(name)
        .topic_id(id.into_bytes())
        .is_internal(false)
        .partitions(Some(Vec::new()))
        .topic_authorized_operations(NOT_COMPUTED)
}

/// The settings of a topic, and the defaults that affect retention.
pub(super) fn configuration(
    topic: &StoredTopic,
    keys: Option<&[String]>,
) -> Vec<DescribeConfigsResourceResult> {
    let defaults =
        [("cleanup.policy", "delete"), ("retention.ms", "604800000"), ("max.message.bytes", "67108864")];
    let mut entries: BTreeMap<String, (String, bool)> =
        defaults.into_iter().map(|(key, value)| (key.to_owned(), (value.to_owned(), true))).collect();
    for (key, value) in topic.config.read().iter() {
        entries.insert(key.clone(), (value.clone(), false));
    }
    let wanted = |key: &String| keys.is_none_or(|keys| keys.is_empty() || keys.contains(key));
    let entries = entries.into_iter().filter(|(key, _)| wanted(key));
    let entries = entries.map(|(key, (value, is_default))| {
        let source = if is_default { ConfigSource::DefaultConfig } else { ConfigSource::DynamicTopicConfig };
        DescribeConfigsResourceResult::default()
            .name(key)
            .value(Some(value))
            .read_only(false)
            .is_default(Some(is_default))
            .config_source(Some(source.into()))
            .is_sensitive(false)
            .synonyms(Some(Vec::new()))
            .config_type(Some(ConfigType::String.into()))
            .documentation(Some(String::new()))
    });
    entries.collect()
}

fn indexes(topic: &StoredTopic) -> impl Iterator<Item = i32> {
    (0_i32..).take(topic.partitions.len())
}
