//! A consumer of the model. It holds no records: what it hands out is read when it is asked.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Offset, TopicId, TopicName};
use parking_lot::Mutex;
use stream::cluster::Reader;
use stream::{Cause, ConsumerEvent, Error, Limits, LostPosition, Record, Records, Start};

use super::group::{Place, Told};
use super::{Memory, State, Topic};
use crate::fate::{Moment, Step, pass};

/// What is read of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// [`Start`] is to be asked.
    Unasked,
    /// From here. `None`: from the start of the log.
    From(Option<Offset>),
    /// The position was found in the log; the end was told of, up to here.
    Placed(Offset, Option<Offset>),
    /// It rests until a seek.
    Rests,
}

pub(super) struct Client {
    cluster: Memory,
    /// `None`: in no group.
    member: Option<(String, u64)>,
    start: Option<Arc<dyn Start>>,
    limits: Limits,
    places: Mutex<BTreeMap<Place, Standing>>,
    /// Topics as they were when they were first read.
    ids: BTreeMap<TopicName, TopicId>,
    /// The partition that was read last: the others have their turn.
    last: Option<Place>,
    /// Topics that were said to be absent.
    absent: Vec<TopicName>,
}

impl Client {
    pub fn join(
        cluster: Memory,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Self {
        let mut state = cluster.state();
        let number = state.number();
        state.groups.entry(group.to_owned()).or_default().join(number, topics);
        state.share_all();
        let absent = topics.iter().filter(|topic| !state.topics.contains_key(*topic)).cloned().collect();
        drop(state);
        cluster.shared.changed.notify_waiters();
        let member = Some((group.to_owned(), number));
        Self::new(cluster, member, Some(start), limits, absent, BTreeMap::new())
    }

    pub fn alone(cluster: Memory, partitions: Vec<(TopicName, i32, Offset)>, limits: Limits) -> Self {
        let from = |(topic, partition, offset)| ((topic, partition), Standing::From(Some(offset)));
        let places = partitions.into_iter().map(from).collect();
        Self::new(cluster, None, None, limits, Vec::new(), places)
    }

    fn new(
        cluster: Memory,
        member: Option<(String, u64)>,
        start: Option<Arc<dyn Start>>,
        limits: Limits,
        absent: Vec<TopicName>,
        places: BTreeMap<Place, Standing>,
    ) -> Self {
        let (places, ids) = (Mutex::new(places), BTreeMap::new());
        Self { cluster, member, start, limits, places, ids, last: None, absent }
    }

    fn set(&self, topic: &TopicName, partition: i32, standing: Standing) {
        let mut places = self.places.lock();
        if let Some(place) = places.get_mut(&(topic.clone(), partition)) {
            *place = standing;
        }
        drop(places);
        self.cluster.shared.changed.notify_waiters();
    }

    /// What can be told now.
    fn ready(&mut self) -> Option<ConsumerEvent> {
        if let Some(topic) = self.absent.pop() {
            return Some(ConsumerEvent::Error(Error::NoTopic { topic }));
        }
        let cluster = self.cluster.clone();
        let mut state = cluster.state();
        let mut places = self.places.lock();
        if let Some((group, member)) = &self.member
            && let Some(told) = state.groups.get_mut(group).and_then(|group| group.told(*member))
        {
            return Some(match told {
                Told::Assigned(given) => {
                    places.extend(given.iter().map(|place| (place.clone(), Standing::Unasked)));
                    ConsumerEvent::Assigned(given)
                }
                Told::Revoked(taken) => {
                    places.retain(|place, _| !taken.contains(place));
                    ConsumerEvent::Revoked(taken)
                }
            });
        }
        let mut order: Vec<Place> = places.keys().cloned().collect();
        let behind = order.iter().position(|place| Some(place) > self.last.as_ref()).unwrap_or_default();
        order.rotate_left(behind);
        for place in order {
            let (Some(topic), Some(standing)) = (state.topics.get(&place.0), places.get_mut(&place)) else {
                continue;
            };
            let known = self.ids.entry(place.0.clone()).or_insert_with(|| topic.id.clone());
            let told = look(&place, topic, known, standing, self.start.as_deref(), self.limits);
            if let Some(ConsumerEvent::Lost(LostPosition { cause: Cause::Recreated(id), .. })) = &told {
                *known = id.clone();
            }
            if told.is_some() {
                self.last = Some(place);
                return told;
            }
        }
        None
    }
}

/// What one partition has to tell.
fn look(
    (name, partition): &Place,
    topic: &Topic,
    known: &TopicId,
    standing: &mut Standing,
    start: Option<&dyn Start>,
    limits: Limits,
) -> Option<ConsumerEvent> {
    let log = topic.partition(*partition)?;
    if *standing == Standing::Rests {
        return None;
    }
    let lost = |standing: &mut Standing, position: Option<Offset>, cause| {
        *standing = Standing::Rests;
        let (topic, topic_id) = (name.clone(), known.clone());
        Some(ConsumerEvent::Lost(LostPosition { topic, topic_id, partition: *partition, position, cause }))
    };
    if topic.id != *known {
        let position = match standing {
            Standing::Placed(at, _) => Some(*at),
            Standing::From(at) => *at,
            Standing::Unasked | Standing::Rests => None,
        };
        return lost(standing, position, Cause::Recreated(topic.id.clone()));
    }
    let mut asked = None;
    if *standing == Standing::Unasked {
        let assigned = [(name.clone(), topic.id.clone(), *partition)];
        asked = start.map(|start| start.start_of(&assigned).into_iter().next().flatten());
    }
    let (at, told) = match (&*standing, asked) {
        (Standing::Placed(at, told), _) => (*at, *told),
        (Standing::From(at), _) => (at.unwrap_or(log.low()), None),
        (_, at) => (at.flatten().unwrap_or(log.low()), None),
    };
    if let Some(cause) = Cause::of(at, log.low(), log.high()) {
        return lost(standing, Some(at), cause);
    }
    let mut records = Records::new(name.clone(), topic.id.clone(), *partition);
    for (offset, entry) in log.visible(at) {
        if records.len() >= limits.max_records || records.bytes() >= limits.max_bytes {
            break;
        }
        let headers: Vec<(&str, Option<&[u8]>)> =
            entry.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))).collect();
        let (key, value) = (entry.key.as_deref(), entry.value.as_deref());
        records.push(&Record { offset, timestamp: entry.timestamp, key, value, headers: &headers });
    }
    if let Some(next) = records.next() {
        *standing = Standing::Placed(next, None);
        return Some(ConsumerEvent::Records(records));
    }
    let end = log.stable().max(at);
    *standing = Standing::Placed(end, Some(end));
    (told != Some(end)).then(|| ConsumerEvent::End(name.clone(), *partition, end))
}

#[async_trait]
impl Reader for Client {
    async fn next(&mut self) -> Option<ConsumerEvent> {
        if let Err(error) = pass(&*self.cluster.fate, Step::Read, Moment::Before, "", "read topics").await {
            return Some(ConsumerEvent::Error(error));
        }
        let shared = Arc::clone(&self.cluster.shared);
        loop {
            let mut changed = pin!(shared.changed.notified());
            // From here on, what comes wakes us.
            changed.as_mut().enable();
            if let Some(event) = self.ready() {
                return Some(event);
            }
            changed.await;
        }
    }
    fn seek(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.set(topic, partition, Standing::From(Some(offset)));
    }
    fn pause(&self, topic: &TopicName, partition: i32) {
        self.set(topic, partition, Standing::Rests);
    }
    fn show_lag(&self, topic: &TopicName, partition: i32, offset: Offset) {
        let Some((group, _)) = &self.member else { return };
        let mut state = self.cluster.state();
        if let Some(group) = state.groups.get_mut(group) {
            group.lag.insert((topic.clone(), partition), offset);
        }
    }
    async fn stop(self: Box<Self>) {}
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some((group, member)) = &self.member else { return };
        let mut state = self.cluster.state();
        if let Some(group) = state.groups.get_mut(group) {
            group.leave(*member);
        }
        State::share_all(&mut state);
        drop(state);
        self.cluster.shared.changed.notify_waiters();
    }
}
