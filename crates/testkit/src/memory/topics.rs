//! Topics of the model: made, described, deleted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::TopicName;
use stream::admin::Watermarks;
use stream::cluster::Topics;
use stream::{Error, Result, TopicInfo, TopicSpec};

use super::log::Log;
use super::{Memory, Topic};
use crate::fate::{Moment, Step, pass};

pub(super) struct Client {
    cluster: Memory,
}

impl Client {
    pub fn new(cluster: Memory) -> Self {
        Self { cluster }
    }

    /// One question or change.
    async fn ask<T>(
        &self,
        action: &'static str,
        what: impl FnOnce(&mut super::State) -> Result<T> + Send,
    ) -> Result<T>
    where
        T: Send,
    {
        let fate = &*self.cluster.fate;
        pass(fate, Step::Ask, Moment::Before, action, action).await?;
        let answer = what(&mut self.cluster.state());
        self.cluster.shared.changed.notify_waiters();
        pass(fate, Step::Ask, Moment::After, action, action).await?;
        answer
    }
}

fn partitions(count: i32) -> impl Iterator<Item = Log> {
    (0..count).map(|_| Log::default())
}

#[async_trait]
impl Topics for Client {
    async fn create(&self, specs: &[TopicSpec]) -> Result<()> {
        let specs = specs.to_vec();
        self.ask("create topics", |state| {
            for spec in specs {
                let id = format!("topic-{}", state.number()).parse().expect("letters, a dash and digits");
                let TopicSpec { name, partitions: count, config, .. } = spec;
                state.topics.entry(name).or_insert_with(|| Topic {
                    id,
                    config,
                    partitions: partitions(count).collect(),
                });
            }
            state.share_all();
            Ok(())
        })
        .await
    }
    async fn grow(&self, topic: &TopicName, count: i32) -> Result<()> {
        let topic = topic.clone();
        self.ask("add partitions", |state| {
            let Some(found) = state.topics.get_mut(&topic) else { return Err(Error::NoTopic { topic }) };
            let (has, action) = (found.numbers().len(), "add partitions to");
            let wanted = usize::try_from(count).unwrap_or_default();
            if wanted <= has {
                let reason = format!("it has {has} partitions already");
                return Err(Error::Topic { topic, action, reason });
            }
            found.partitions.resize_with(wanted, Log::default);
            state.share_all();
            Ok(())
        })
        .await
    }
    async fn describe(&self, topic: &TopicName) -> Result<Option<TopicInfo>> {
        let info = |found: &Topic| TopicInfo { id: found.id.clone(), partitions: found.numbers().end };
        self.ask("describe topics", |state| Ok(state.topics.get(topic).map(info))).await
    }
    async fn topics(&self) -> Result<Vec<TopicName>> {
        self.ask("list topics", |state| Ok(state.topics.keys().cloned().collect())).await
    }
    async fn watermarks(&self, topic: &TopicName) -> Result<Watermarks> {
        self.ask("list offsets", |state| {
            let Some(found) = state.topics.get(topic) else {
                return Err(Error::NoTopic { topic: topic.clone() });
            };
            Ok(found.numbers().zip(found.partitions.iter().map(|log| (log.low(), log.high()))).collect())
        })
        .await
    }
    async fn config(&self, topic: &TopicName) -> Result<BTreeMap<String, String>> {
        self.ask("describe the settings of a topic", |state| {
            let Some(found) = state.topics.get(topic) else {
                return Err(Error::NoTopic { topic: topic.clone() });
            };
            let mut config = found.config.clone();
            config.entry("cleanup.policy".to_owned()).or_insert_with(|| "delete".to_owned());
            Ok(config)
        })
        .await
    }
    async fn delete(&self, topic: &TopicName) -> Result<()> {
        self.ask("delete topics", |state| {
            state.topics.remove(topic);
            state.share_all();
            Ok(())
        })
        .await
    }
    async fn delete_group(&self, group: &str) -> Result<()> {
        let action = "delete a group";
        self.ask(action, |state| match state.groups.get(group) {
            Some(found) if !found.is_empty() => {
                Err(Error::Denied { action, reason: "it has members".to_owned() })
            }
            _ => {
                state.groups.remove(group);
                Ok(())
            }
        })
        .await
    }
}

impl super::State {
    /// Topics came or went: every group shares anew.
    pub(super) fn share_all(&mut self) {
        let there = self.topics.iter().flat_map(|(name, topic)| topic.numbers().map(|p| (name.clone(), p)));
        let there: std::collections::BTreeSet<_> = there.collect();
        for group in self.groups.values_mut() {
            group.share(&there);
        }
    }
}
