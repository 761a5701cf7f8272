//! tansu's `Storage`, translated to our store. Metadata, fetch and `EndTxn` have routes of their own
//! (`routes.rs`, `fetch.rs`): the trait's types for them cannot be built outside of tansu, or cannot express
//! Kafka's answers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tansu_sans_io::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use tansu_sans_io::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::delete_records_request::DeleteRecordsTopic;
use tansu_sans_io::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use tansu_sans_io::describe_cluster_response::DescribeClusterBroker;
use tansu_sans_io::describe_configs_response::DescribeConfigsResult;
use tansu_sans_io::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use tansu_sans_io::incremental_alter_configs_request::AlterConfigsResource;
use tansu_sans_io::incremental_alter_configs_response::AlterConfigsResourceResponse;
use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_sans_io::record::deflated;
use tansu_sans_io::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use tansu_sans_io::{ConfigResource, ErrorCode, IsolationLevel, ListOffset, OpType, ScramMechanism};
use tansu_storage::{
    BrokerRegistrationRequest, ConsumerGroupState, Error, GroupDetail, GroupState, ListOffsetResponse,
    MetadataResponse, NamedGroupDetail, OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result,
    ScramCredential, Storage, TopicId, Topition, TxnAddPartitionsRequest, TxnAddPartitionsResponse,
    TxnOffsetCommitRequest, UpdateError, Version,
};
use url::Url;
use uuid::Uuid;

use super::journal::Place;
use super::write::Identity;
use super::{CLUSTER, NODE, Refusal, Store, StoredTopic, describe};

fn unsupported<T>() -> Result<T> {
    Err(Error::Api(ErrorCode::UnsupportedVersion))
}

fn place(topition: &Topition) -> Place {
    (topition.topic().to_owned(), topition.partition())
}

/// The offset in a request whose fields are private to tansu.
fn offset_of(request: &OffsetCommitRequest) -> Result<i64> {
    let value = serde_json::to_value(request)?;
    value.get("offset").and_then(serde_json::Value::as_i64).ok_or(Error::Api(ErrorCode::InvalidRequest))
}

#[async_trait]
impl Storage for Store {
    async fn register_broker(&self, _: BrokerRegistrationRequest) -> Result<()> {
        Ok(())
    }

    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        if validate_only {
            return match self.topic(&topic.name) {
                Some(_) => Err(Error::Api(ErrorCode::TopicAlreadyExists)),
                None => Ok(Uuid::nil()),
            };
        }
        let configs = topic.configs.unwrap_or_default().into_iter();
        let config = configs.filter_map(|config| Some((config.name, config.value?))).collect();
        self.create(&topic.name, topic.num_partitions, topic.replication_factor, config)
            .map_err(|refusal| self.refused(refusal))
    }

    async fn incremental_alter_resource(
        &self,
        resource: AlterConfigsResource,
    ) -> Result<AlterConfigsResourceResponse> {
        let code = alter(self, &resource).err().map_or(ErrorCode::None, |refusal| self.code(refusal));
        Ok(AlterConfigsResourceResponse::default()
            .error_code(code.into())
            .error_message(Some(code.to_string()))
            .resource_type(resource.resource_type)
            .resource_name(resource.resource_name))
    }

    async fn delete_records(&self, topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        let forget = |name: &str, partition: i32, offset: i64| {
            let topic = self.topic(name).ok_or(Refusal::Code(ErrorCode::UnknownTopicOrPartition))?;
            self.forget_below(&topic, partition, offset)
        };
        let results = topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().flatten().map(|partition| {
                let result = forget(&topic.name, partition.partition_index, partition.offset);
                let (low, code) = match result {
                    Ok(low) => (low, ErrorCode::None),
                    Err(refusal) => (-1, self.code(refusal)),
                };
                DeleteRecordsPartitionResult::default()
                    .partition_index(partition.partition_index)
                    .low_watermark(low)
                    .error_code(code.into())
            });
            let partitions = Some(partitions.collect());
            DeleteRecordsTopicResult::default().name(topic.name.clone()).partitions(partitions)
        });
        Ok(results.collect())
    }

    async fn delete_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        Ok(match (self.find(topic), topic) {
            (Some(topic), _) => {
                self.drop_topic(&topic).err().map_or(ErrorCode::None, |refusal| self.code(refusal))
            }
            (None, TopicId::Name(_)) => ErrorCode::UnknownTopicOrPartition,
            (None, TopicId::Id(_)) => ErrorCode::UnknownTopicId,
        })
    }

    async fn brokers(&self) -> Result<Vec<DescribeClusterBroker>> {
        let (host, port) = self.address();
        let broker = DescribeClusterBroker::default().broker_id(NODE).host(host.to_owned()).port(port.into());
        Ok(vec![broker.rack(None)])
    }

    async fn produce(&self, _: Option<&str>, topition: &Topition, batch: deflated::Batch) -> Result<i64> {
        let unknown = Error::Api(ErrorCode::UnknownTopicOrPartition);
        let topic = self.topic(topition.topic()).ok_or(unknown)?;
        Self::produce(self, &topic, topition.partition(), batch).map_err(|refusal| self.refused(refusal))
    }

    async fn fetch(
        &self,
        topition: &Topition,
        offset: i64,
        _min_bytes: u32,
        max_bytes: u32,
        isolation: IsolationLevel,
    ) -> Result<Vec<deflated::Batch>> {
        let unknown = Error::Api(ErrorCode::UnknownTopicOrPartition);
        let topic = self.topic(topition.topic()).ok_or_else(|| unknown.clone())?;
        let partition = topic.partition(topition.partition()).ok_or(unknown)?;
        let committed = isolation == IsolationLevel::ReadCommitted;
        let read = partition.read(offset, committed, max_bytes as usize, true);
        read.map(|read| read.batches).map_err(|error| self.refused(error.into()))
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let topic = self.topic(topition.topic());
        let partition = topic.as_ref().and_then(|topic| topic.partition(topition.partition()));
        let partition = partition.ok_or(Error::Api(ErrorCode::UnknownTopicOrPartition))?;
        let stage = serde_json::json!({
            "last_stable": partition.stable(),
            "high_watermark": partition.next(),
            "log_start": partition.start(),
        });
        Ok(serde_json::from_value(stage)?)
    }

    async fn list_offsets(
        &self,
        isolation: IsolationLevel,
        offsets: &[(Topition, ListOffset)],
    ) -> Result<Vec<(Topition, ListOffsetResponse)>> {
        let list = |topition: &Topition, wish: &ListOffset| -> Result<ListOffsetResponse, Refusal> {
            let topic = self.topic(topition.topic());
            let partition = topic.as_ref().and_then(|topic| topic.partition(topition.partition()));
            let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            let (offset, timestamp) = match wish {
                ListOffset::Earliest => (partition.start(), None),
                ListOffset::Latest if isolation == IsolationLevel::ReadCommitted => {
                    (partition.stable(), None)
                }
                ListOffset::Latest => (partition.next(), None),
                ListOffset::Timestamp(time) => match partition
                    .with(|log| log.at_time(tansu_sans_io::to_timestamp(time).unwrap_or(i64::MAX)))?
                {
                    Some((offset, stamp)) => (offset, tansu_sans_io::to_system_time(stamp).ok()),
                    None => (-1, None),
                },
            };
            Ok(ListOffsetResponse { error_code: ErrorCode::None, timestamp, offset: Some(offset) })
        };
        let answers = offsets.iter().map(|(topition, wish)| {
            let answer = list(topition, wish).unwrap_or_else(|refusal| ListOffsetResponse {
                error_code: self.code(refusal),
                timestamp: None,
                offset: Some(-1),
            });
            (topition.clone(), answer)
        });
        Ok(answers.collect())
    }

    async fn offset_commit(
        &self,
        group: &str,
        _retention: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        let mut known = Vec::new();
        let mut answers = Vec::new();
        for (topition, request) in offsets {
            let topic = self.topic(topition.topic());
            let code = match topic.as_ref().and_then(|topic| topic.partition(topition.partition())) {
                Some(_) => {
                    known.push((place(topition), offset_of(request)?));
                    ErrorCode::None
                }
                None => ErrorCode::UnknownTopicOrPartition,
            };
            answers.push((topition.clone(), code));
        }
        self.commit_offsets(group, known).map_err(|refusal| self.refused(refusal))?;
        Ok(answers)
    }

    async fn offset_fetch(
        &self,
        group: Option<&str>,
        topics: &[Topition],
        _require_stable: Option<bool>,
    ) -> Result<BTreeMap<Topition, i64>> {
        let committed = group.map(|group| self.offsets(group)).unwrap_or_default();
        let offset = |topition: &Topition| committed.get(&place(topition)).copied().unwrap_or(-1);
        Ok(topics.iter().map(|topition| (topition.clone(), offset(topition))).collect())
    }

    async fn committed_offset_topitions(&self, group: &str) -> Result<BTreeMap<Topition, i64>> {
        let offsets = self.offsets(group).into_iter();
        Ok(offsets.map(|((topic, partition), offset)| (Topition::new(topic, partition), offset)).collect())
    }

    async fn metadata(&self, _: Option<&[TopicId]>) -> Result<MetadataResponse> {
        unsupported()
    }

    async fn upsert_user_scram_credential(
        &self,
        _: &str,
        _: ScramMechanism,
        _: ScramCredential,
    ) -> Result<()> {
        unsupported()
    }

    async fn delete_user_scram_credential(&self, _: &str, _: ScramMechanism) -> Result<()> {
        unsupported()
    }

    async fn user_scram_credential(&self, _: &str, _: ScramMechanism) -> Result<Option<ScramCredential>> {
        Ok(None)
    }

    async fn describe_config(
        &self,
        name: &str,
        resource: ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<DescribeConfigsResult> {
        let (code, configs) = match (resource, self.topic(name)) {
            (ConfigResource::Topic, Some(topic)) => (ErrorCode::None, describe::configuration(&topic, keys)),
            (ConfigResource::Topic, None) => (ErrorCode::UnknownTopicOrPartition, Vec::new()),
            _ => (ErrorCode::None, Vec::new()),
        };
        Ok(DescribeConfigsResult::default()
            .error_code(code.into())
            .error_message(Some(code.to_string()))
            .resource_type(resource.into())
            .resource_name(name.to_owned())
            .configs(Some(configs)))
    }

    async fn list_groups(&self, states: Option<&[String]>) -> Result<Vec<ListedGroup>> {
        let state = self.0.state.lock();
        let mut groups: BTreeMap<&String, (String, String)> = BTreeMap::new();
        for group in state.offsets.keys() {
            groups.insert(group, ("consumer".to_owned(), ConsumerGroupState::Empty.to_string()));
        }
        for (group, (detail, _)) in &state.groups {
            let protocol = detail.state.protocol_type().unwrap_or_default();
            groups.insert(group, (protocol, ConsumerGroupState::from(detail).to_string()));
        }
        let wanted = |state: &String| states.is_none_or(|states| states.is_empty() || states.contains(state));
        let groups = groups.into_iter().filter(|(_, (_, state))| wanted(state));
        let groups = groups.map(|(group, (protocol, state))| {
            ListedGroup::default()
                .group_id(group.clone())
                .protocol_type(protocol)
                .group_state(Some(state))
                .group_type(Some("classic".to_owned()))
        });
        Ok(groups.collect())
    }

    async fn delete_groups(&self, groups: Option<&[String]>) -> Result<Vec<DeletableGroupResult>> {
        let results = groups.unwrap_or_default().iter().map(|group| {
            let code = self.drop_group(group).err().map_or(ErrorCode::None, |refusal| self.code(refusal));
            DeletableGroupResult::default().group_id(group.clone()).error_code(code.into())
        });
        Ok(results.collect())
    }

    async fn describe_groups(&self, groups: Option<&[String]>, _: bool) -> Result<Vec<NamedGroupDetail>> {
        let state = self.0.state.lock();
        let describe = |group: &String| match state.groups.get(group) {
            Some((detail, _)) => NamedGroupDetail::found(group.clone(), detail.clone()),
            None if state.offsets.contains_key(group) => {
                NamedGroupDetail::found(group.clone(), GroupDetail::default())
            }
            None => NamedGroupDetail::error_code(group.clone(), ErrorCode::GroupIdNotFound),
        };
        Ok(groups.unwrap_or_default().iter().map(describe).collect())
    }

    async fn describe_topic_partitions(
        &self,
        topics: Option<&[TopicId]>,
        _limit: i32,
        _cursor: Option<Topition>,
    ) -> Result<Vec<DescribeTopicPartitionsResponseTopic>> {
        let Some(topics) = topics else {
            return Ok(self.topics().iter().map(|topic| describe::describe_partitions(topic)).collect());
        };
        let topics = topics.iter().map(|id| match (self.find(id), id) {
            (Some(topic), _) => describe::describe_partitions(&topic),
            (None, TopicId::Name(name)) => describe::unknown_partitions(
                Some(name.clone()),
                Uuid::nil(),
                ErrorCode::UnknownTopicOrPartition,
            ),
            (None, TopicId::Id(id)) => describe::unknown_partitions(None, *id, ErrorCode::UnknownTopicId),
        });
        Ok(topics.collect())
    }

    async fn update_group(
        &self,
        group: &str,
        detail: GroupDetail,
        version: Option<Version>,
    ) -> Result<Version, UpdateError<GroupDetail>> {
        let mut state = self.0.state.lock();
        let stored = state.groups.get(group);
        match (stored, version) {
            (Some((_, current)), Some(version)) if *current == version => {}
            (None, None) => {}
            // A coordinator that knew the group before its deletion starts it afresh.
            (None, Some(_)) => {}
            (Some((detail, current)), _) => {
                let (current, version) = (Box::new(detail.clone()), current.clone());
                return Err(UpdateError::Outdated { current, version });
            }
        }
        let version = Version::from(&runtime::random::uuid());
        // A coordinator whose version is outdated reads the group again, and answers anew.
        let (detail, mended) = mended(detail);
        state.groups.insert(group.to_owned(), (detail.clone(), version.clone()));
        if mended {
            return Err(UpdateError::Outdated { current: Box::new(detail), version });
        }
        Ok(version)
    }

    async fn init_producer(
        &self,
        transaction_id: Option<&str>,
        timeout_ms: i32,
        producer_id: Option<i64>,
        epoch: Option<i16>,
    ) -> Result<ProducerIdResponse> {
        let current = match (producer_id, epoch) {
            (Some(id), Some(epoch)) if id >= 0 && epoch >= 0 => Some(Identity { id, epoch }),
            _ => None,
        };
        let identity = match transaction_id {
            Some(name) => self.transactional(name, timeout_ms, current),
            None => self.idempotent(current),
        };
        Ok(match identity {
            Ok(Identity { id, epoch }) => ProducerIdResponse { error: ErrorCode::None, id, epoch },
            Err(refusal) => ProducerIdResponse { error: self.code(refusal), id: -1, epoch: -1 },
        })
    }

    async fn txn_add_offsets(
        &self,
        transaction_id: &str,
        id: i64,
        epoch: i16,
        _group: &str,
    ) -> Result<ErrorCode> {
        let added = self.txn_writes(transaction_id, Identity { id, epoch }, Vec::new());
        Ok(added.err().map_or(ErrorCode::None, |refusal| self.code(refusal)))
    }

    async fn txn_add_partitions(&self, request: TxnAddPartitionsRequest) -> Result<TxnAddPartitionsResponse> {
        Ok(match request {
            TxnAddPartitionsRequest::VersionZeroToThree {
                transaction_id,
                producer_id: id,
                producer_epoch: epoch,
                topics,
            } => {
                let results = add_partitions(self, &transaction_id, Identity { id, epoch }, &topics);
                TxnAddPartitionsResponse::VersionZeroToThree(results)
            }
            TxnAddPartitionsRequest::VersionFourPlus { transactions } => {
                let results = transactions.into_iter().map(|txn| {
                    let who = Identity { id: txn.producer_id, epoch: txn.producer_epoch };
                    let topics = txn.topics.unwrap_or_default();
                    let results = add_partitions(self, &txn.transactional_id, who, &topics);
                    AddPartitionsToTxnResult::default()
                        .transactional_id(txn.transactional_id)
                        .topic_results(Some(results))
                });
                TxnAddPartitionsResponse::VersionFourPlus(results.collect())
            }
        })
    }

    async fn txn_offset_commit(
        &self,
        request: TxnOffsetCommitRequest,
    ) -> Result<Vec<TxnOffsetCommitResponseTopic>> {
        let mut offsets = Vec::new();
        for topic in &request.topics {
            for partition in topic.partitions.iter().flatten() {
                offsets.push(((topic.name.clone(), partition.partition_index), partition.committed_offset));
            }
        }
        let who = Identity { id: request.producer_id, epoch: request.producer_epoch };
        let promised = self.txn_promises(&request.transaction_id, who, &request.group_id, offsets);
        let code = promised.err().map_or(ErrorCode::None, |refusal| self.code(refusal));
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().flatten().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .partition_index(partition.partition_index)
                    .error_code(code.into())
            });
            let partitions = Some(partitions.collect());
            TxnOffsetCommitResponseTopic::default().name(topic.name).partitions(partitions)
        });
        Ok(topics.collect())
    }

    async fn txn_end(&self, transaction_id: &str, id: i64, epoch: i16, commit: bool) -> Result<ErrorCode> {
        let ended = Self::txn_end(self, transaction_id, Identity { id, epoch }, commit);
        Ok(ended.err().map_or(ErrorCode::None, |refusal| self.code(refusal)))
    }

    async fn maintain(&self, _: SystemTime) -> Result<()> {
        Self::maintain(self).map_err(|error| self.refused(error.into()))
    }

    async fn cluster_id(&self) -> Result<String> {
        Ok(CLUSTER.to_owned())
    }

    async fn node(&self) -> Result<i32> {
        Ok(NODE)
    }

    async fn advertised_listener(&self) -> Result<Url> {
        let (host, port) = self.address();
        Ok(format!("tcp://{host}:{port}").parse::<Url>()?)
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

/// Adds all partitions of the request, or none.
fn add_partitions(
    store: &Store,
    txn: &str,
    who: Identity,
    topics: &[AddPartitionsToTxnTopic],
) -> Vec<AddPartitionsToTxnTopicResult> {
    let exists = |(topic, index): &Place| store.topic(topic).is_some_and(|t| t.partition(*index).is_some());
    let places = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().flatten();
        partitions.map(|index| (topic.name.clone(), *index)).collect::<Vec<Place>>()
    };
    let all: Vec<Place> = topics.iter().flat_map(places).collect();
    let code = if all.iter().all(exists) {
        store.txn_writes(txn, who, all).err().map_or(ErrorCode::None, |refusal| store.code(refusal))
    } else {
        ErrorCode::OperationNotAttempted
    };
    let results = topics.iter().map(|topic| {
        let partitions = places(topic).into_iter().map(|place| {
            let code = if exists(&place) { code } else { ErrorCode::UnknownTopicOrPartition };
            AddPartitionsToTxnPartitionResult::default()
                .partition_index(place.1)
                .partition_error_code(code.into())
        });
        let partitions = Some(partitions.collect());
        AddPartitionsToTxnTopicResult::default().name(topic.name.clone()).results_by_partition(partitions)
    });
    results.collect()
}

fn alter(store: &Store, resource: &AlterConfigsResource) -> Result<(), Refusal> {
    if ConfigResource::from(resource.resource_type) != ConfigResource::Topic {
        return Err(ErrorCode::InvalidRequest.into());
    }
    let topic: std::sync::Arc<StoredTopic> =
        store.topic(&resource.resource_name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let mut config = topic.config.read().clone();
    for change in resource.configs.iter().flatten() {
        match (OpType::try_from(change.config_operation), &change.value) {
            (Ok(OpType::Set), Some(value)) => {
                config.insert(change.name.clone(), value.clone());
            }
            (Ok(OpType::Delete), _) => {
                config.remove(&change.name);
            }
            _ => return Err(ErrorCode::InvalidConfig.into()),
        }
    }
    store.configure(&topic, config)
}

/// Repairs a group so that its members get partitions. Also returns whether a repair was needed. The
/// coordinator
/// - lets a leader leave a group that is forming, and goes on waiting for it;
/// - treats a follower's request, which assigns nothing, as the leader's if the leader has left by then: the
///   group would form, and its members would never be given partitions. With the next generation, the follower
///   is asked to join again, and leads.
fn mended(mut detail: GroupDetail) -> (GroupDetail, bool) {
    let members = &detail.members;
    let by_nobody = match &mut detail.state {
        GroupState::Forming { leader, .. } => {
            leader.take_if(|leader| !members.contains_key(leader)).is_some()
        }
        GroupState::Formed { protocol_type, protocol_name, assignments, .. }
            if assignments.is_empty() && !members.is_empty() =>
        {
            detail.state = GroupState::Forming {
                protocol_type: Some(std::mem::take(protocol_type)),
                protocol_name: Some(std::mem::take(protocol_name)),
                leader: None,
            };
            detail.generation_id += 1;
            true
        }
        GroupState::Formed { .. } => false,
    };
    (detail, by_nobody)
}
