//! What the consumer's thread and its handle share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use model::{Offset, TopicName};
use parking_lot::{Condvar, Mutex};

use super::ConsumerEvent;

/// A partition's generation: raised by whoever makes what is queued of it stale.
pub type Track = Arc<AtomicU64>;

/// An event on its way to [`super::Consumer::next`].
pub struct Queued {
    pub event: ConsumerEvent,
    pub bytes: usize,
    /// The generation the event belongs to, and where the current one is kept.
    pub generation: Option<(u64, Track)>,
}
impl Queued {
    pub fn is_current(&self) -> bool {
        self.generation.as_ref().is_none_or(|(mine, track)| *mine == track.load(Ordering::Acquire))
    }
}

/// What the handle wants of the thread.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// With the generation the seek began.
    Seek(TopicName, i32, Offset, u64),
    /// With the generation from which it is paused.
    Pause(TopicName, i32, u64),
    ShowLag(TopicName, i32, Offset),
}

/// Commands in, bytes out.
#[derive(Default)]
pub struct Shared {
    stopped: AtomicBool,
    queued: AtomicUsize,
    commands: Mutex<Vec<Command>>,
    tracks: Mutex<HashMap<(TopicName, i32), Track>>,
    door: Mutex<()>,
    changed: Condvar,
    /// How often fetches were given up because the queue was full.
    pub suspensions: AtomicUsize,
}

impl Shared {
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn send(&self, command: Command) {
        self.commands.lock().push(command);
        self.wake();
    }
    /// The generation is raised at once, so the caller's next `next` sees it; under the lock of the
    /// commands, so that their order is that of their generations.
    pub fn seek(&self, topic: &TopicName, partition: i32, offset: Offset) {
        let mut commands = self.commands.lock();
        let generation = raise(&self.track(topic, partition));
        commands.push(Command::Seek(topic.clone(), partition, offset, generation));
        drop(commands);
        self.wake();
    }
    /// As [`Shared::seek`], to nowhere.
    pub fn pause(&self, topic: &TopicName, partition: i32) {
        let mut commands = self.commands.lock();
        let generation = raise(&self.track(topic, partition));
        commands.push(Command::Pause(topic.clone(), partition, generation));
        drop(commands);
        self.wake();
    }
    pub fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock())
    }

    pub fn track(&self, topic: &TopicName, partition: i32) -> Track {
        self.tracks.lock().entry((topic.clone(), partition)).or_default().clone()
    }

    pub fn put(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Ordering::AcqRel);
    }
    pub fn took(&self, bytes: usize) {
        if bytes > 0 {
            self.queued.fetch_sub(bytes, Ordering::AcqRel);
            self.wake();
        }
    }
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }
    /// Waits until less than `bytes` are queued, a command comes, or `most` has passed.
    pub fn wait_below(&self, bytes: usize, most: Duration) {
        let mut door = self.door.lock();
        if self.queued() >= bytes && !self.is_stopped() && self.commands.lock().is_empty() {
            self.changed.wait_for(&mut door, most);
        }
    }
    fn wake(&self) {
        // Taken so that a change cannot fall between the waiter's look and its wait.
        drop(self.door.lock());
        self.changed.notify_one();
    }
}

/// Begins the next generation.
pub fn raise(track: &Track) -> u64 {
    track.fetch_add(1, Ordering::AcqRel) + 1
}
