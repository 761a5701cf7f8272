//! Rounds of questions before partitions are read: see [`crate::consumer::check`].

use runtime::time::Instant;
use std::collections::BTreeSet;

use model::{TopicId, TopicName};

use super::{PATIENCE, PAUSE, SILENCE, WATCH, Worker};
use crate::Error;
use crate::consumer::check::{Ends, LogEnds, Member, Round, ids};
use crate::consumer::part::{FetchState, Next, Part};
use crate::consumer::{Cause, ConsumerEvent};
use crate::error::Failure;
use crate::ffi::{Described, End, Reply};

impl Worker {
    /// Begins a round when a partition waits for one, or when it is time to look at the topics.
    pub(super) fn ask(&mut self) {
        if !matches!(self.round, Round::Idle) {
            return;
        }
        let now = Instant::now();
        let members: Vec<Member> = self.parts.iter().filter(|part| part.is_due(now)).map(member).collect();
        let watch = now.duration_since(self.watched) >= WATCH;
        if members.is_empty() && !watch {
            return;
        }
        self.watched = if watch { now } else { self.watched };
        let topics = self.topics_of(&members);
        if topics.is_empty() {
            return;
        }
        self.client.ask_topics(&Vec::from_iter(topics), PATIENCE);
        self.asked = now;
        self.round = Round::Topics { members };
    }
    /// Ends this client when a question was not answered, in whichever way, for long.
    pub(super) fn give_up_silence(&mut self) {
        if !matches!(self.round, Round::Idle) && self.asked.elapsed() >= SILENCE {
            let reason = format!("a question about the log had no answer for {} s", SILENCE.as_secs());
            self.fail(Error::Broken { reason });
        }
    }
    /// Those of the members; of all partitions when there is none.
    pub(super) fn topics_of(&self, members: &[Member]) -> BTreeSet<TopicName> {
        if members.is_empty() {
            self.parts.iter().map(|part| part.topic.clone()).collect()
        } else {
            members.iter().map(|member| member.topic.clone()).collect()
        }
    }
    pub(super) fn serve_replies(&mut self) {
        while let Some(reply) = self.client.reply() {
            match (std::mem::take(&mut self.round), reply) {
                (Round::Topics { members }, Reply::Topics(answer)) => self.on_topics(members, answer),
                (Round::Ends { members, mut answers }, Reply::Offsets(end, answer)) => {
                    answers.put(end, answer);
                    if answers.is_complete() {
                        self.on_ends(&members, answers);
                    } else {
                        self.round = Round::Ends { members, answers };
                    }
                }
                (round, _) => self.round = round,
            }
        }
    }
    pub(super) fn on_topics(&mut self, members: Vec<Member>, answer: Result<Vec<Described>, Failure>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.postpone(&members, Error::of("describe topics", &failure)),
        };
        let (found, failed) = ids(&self.topics_of(&members), answer);
        for (topic, error) in failed {
            let of_topic: Vec<_> = members.iter().filter(|member| member.topic == topic).cloned().collect();
            self.postpone(&of_topic, error);
        }
        for (topic, id) in &found {
            self.on_id(topic, id);
        }
        let known: Vec<Member> = members.into_iter().filter(|m| found.contains_key(&m.topic)).collect();
        self.ask_start(&known);
        // Where the start of the log will do there is nothing to check.
        let (offsets, earliest): (Vec<_>, Vec<_>) =
            self.current(&known).partition(|part| part.next.known().is_some());
        let earliest: Vec<Member> = earliest.into_iter().map(member).collect();
        let offsets: Vec<Member> = offsets.into_iter().map(member).collect();
        self.start_fetching(&earliest);
        if !offsets.is_empty() {
            let partitions: Vec<_> = offsets.iter().map(|m| (m.topic.clone(), m.partition)).collect();
            self.client.ask_offsets(&partitions, End::Low, PATIENCE);
            self.client.ask_offsets(&partitions, End::High, PATIENCE);
            self.asked = Instant::now();
            self.round = Round::Ends { members: offsets, answers: Ends::default() };
        }
    }
    /// A topic whose id changed under us: its partitions rest, except those whose position is yet to
    /// be asked for, with the new id.
    pub(super) fn on_id(&mut self, topic: &TopicName, id: &TopicId) {
        let Some(before) = self.ids.insert(topic.clone(), id.clone()).filter(|before| before != id) else {
            return;
        };
        let read: Vec<_> = self
            .parts
            .iter()
            .filter(|part| {
                part.topic == *topic && part.next != Next::Unasked && part.state != FetchState::Lost
            })
            .map(|part| part.partition)
            .collect();
        for partition in read {
            self.lose(topic, partition, &before, Cause::Recreated(id.clone()));
        }
    }
    pub(super) fn ask_start(&mut self, members: &[Member]) {
        let unasked: Vec<(TopicName, TopicId, i32)> = self
            .current(members)
            .filter(|part| part.next == Next::Unasked)
            .filter_map(|part| Some((part.topic.clone(), self.ids.get(&part.topic)?.clone(), part.partition)))
            .collect();
        let Some(start) = self.start.as_ref().filter(|_| !unasked.is_empty()) else { return };
        let starts = start.start_of(&unasked);
        debug_assert_eq!(starts.len(), unasked.len(), "one position for each partition");
        for ((topic, _, partition), start) in unasked.iter().zip(starts) {
            if let Some(part) = self.parts.get_mut(topic.as_str(), *partition) {
                part.next = Next::of(start);
            }
        }
    }
    pub(super) fn on_ends(&mut self, members: &[Member], answers: Ends) {
        let table = match answers.table() {
            Ok(table) => table,
            Err(failure) => return self.postpone(members, Error::of("list offsets", &failure)),
        };
        let mut good = Vec::new();
        for member in members {
            match self.judge(member, &table) {
                None => {}
                Some(Ok(None)) => good.push(member.clone()),
                Some(Ok(Some(cause))) => {
                    let id = self.ids[&member.topic].clone();
                    self.lose(&member.topic, member.partition, &id, cause);
                }
                Some(Err(failure)) => {
                    self.postpone(std::slice::from_ref(member), Error::of("list offsets", &failure));
                }
            }
        }
        self.start_fetching(&good);
    }
    /// `None`: it is not what it was when the round began.
    pub(super) fn judge(&self, member: &Member, table: &LogEnds) -> Option<Result<Option<Cause>, Failure>> {
        let part = self.current(std::slice::from_ref(member)).next()?;
        Some(table.judge(&part.topic, part.partition, part.next.known()?))
    }
    /// The members that are still as they were when their round began.
    pub(super) fn current(&self, members: &[Member]) -> impl Iterator<Item = &Part> {
        members.iter().filter_map(|member| {
            self.parts.iter().find(|part| {
                part.is(member.topic.as_str(), member.partition)
                    && part.generation == member.generation
                    && matches!(part.state, FetchState::Unchecked(_))
            })
        })
    }
    pub(super) fn postpone(&mut self, members: &[Member], error: Error) {
        let later = Instant::now() + PAUSE;
        for member in members {
            if let Some(part) = self.parts.get_mut(member.topic.as_str(), member.partition)
                && matches!(part.state, FetchState::Unchecked(_))
            {
                part.state = FetchState::Unchecked(later);
            }
        }
        self.fail(error);
    }
    pub(super) fn lose(&mut self, topic: &TopicName, partition: i32, id: &TopicId, cause: Cause) {
        let Some(part) = self.parts.get_mut(topic.as_str(), partition) else { return };
        let loss = part.loss(id.clone(), cause);
        let placed = std::mem::replace(&mut part.state, FetchState::Lost) == FetchState::Fetching;
        if placed {
            self.stop_fetching(&[(topic.clone(), partition)]);
        }
        self.emit(ConsumerEvent::Lost(loss));
    }
}

pub(super) fn member(part: &Part) -> Member {
    Member { topic: part.topic.clone(), partition: part.partition, generation: part.generation }
}
