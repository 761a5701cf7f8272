//! Which partitions the library reads, and the bound on what waits for the reader.

use runtime::time::Instant;
use std::sync::atomic::Ordering;

use model::TopicName;

use super::rounds::member;
use super::{FULL, PAUSE, WAIT, Worker};
use crate::Error;
use crate::consumer::check::Member;
use crate::consumer::part::FetchState;

impl Worker {
    pub(super) fn start_fetching(&mut self, members: &[Member]) {
        let full = self.is_suspended();
        let mut ready = Vec::new();
        for member in members {
            if let Some(part) = self.parts.get_mut(member.topic.as_str(), member.partition)
                && part.generation == member.generation
                && !matches!(part.state, FetchState::Fetching | FetchState::Paused | FetchState::Lost)
            {
                part.state = if full { FetchState::Suspended } else { FetchState::Fetching };
                ready.push((part.topic.clone(), part.partition, part.next.raw()));
            }
        }
        if full || ready.is_empty() {
            return;
        }
        if let Err(failure) = self.client.assign(ready.iter().map(|(t, p, offset)| (t, *p, *offset))) {
            let later = Instant::now() + PAUSE;
            for (topic, partition, _) in &ready {
                if let Some(part) = self.parts.get_mut(topic.as_str(), *partition) {
                    part.state = FetchState::Unchecked(later);
                }
            }
            self.fail(Error::of("read topics", &failure));
        }
    }
    pub(super) fn stop_fetching(&mut self, partitions: &[(TopicName, i32)]) {
        if partitions.is_empty() {
            return;
        }
        if let Err(failure) = self.client.unassign(partitions.iter().map(|(t, p)| (t, *p))) {
            self.fail(Error::of("stop reading partitions", &failure));
        }
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() >= FULL)
    }
    /// Whether to take messages. While the queue is full this waits, for a moment; when it has been
    /// full for long the library is left without partitions, and is served for the group's sake.
    pub(super) fn has_room(&mut self) -> bool {
        let held = self.parts.iter().any(|part| part.state == FetchState::Suspended);
        let most = if held { self.limits.queue_bytes / 2 } else { self.limits.queue_bytes };
        if self.shared.queued() < most.max(1) {
            self.full_since = None;
            if held {
                self.resume();
            }
            return true;
        }
        self.full_since.get_or_insert_with(Instant::now);
        if self.is_suspended() {
            self.suspend();
            return true;
        }
        self.shared.wait_below(most.max(1), WAIT);
        false
    }
    pub(super) fn suspend(&mut self) {
        let mut placed = Vec::new();
        for part in self.parts.iter_mut().filter(|part| part.state == FetchState::Fetching) {
            part.state = FetchState::Suspended;
            placed.push((part.topic.clone(), part.partition));
        }
        if !placed.is_empty() {
            self.shared.suspensions.fetch_add(1, Ordering::AcqRel);
            tracing::debug!(partitions = placed.len(), "queue full, fetches given up");
        }
        self.stop_fetching(&placed);
    }
    pub(super) fn resume(&mut self) {
        let held: Vec<Member> =
            self.parts.iter().filter(|part| part.state == FetchState::Suspended).map(member).collect();
        self.start_fetching(&held);
    }
}
