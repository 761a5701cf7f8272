//! Wraps any sink so that its calls fail as a test wants.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lake::Table;
use model::{Reaction, TableName, Version};
use runtime::traces::Span;

use crate::error::{Result, SystemError};
use crate::{Changes, Destination, Keys, Progress, Sink, Writer};

/// The calls that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    Never,
    /// The call with this number, from 1. `after`: it takes effect nevertheless.
    Once {
        call: usize,
        after: bool,
    },
    /// Every call whose number is a multiple of this, alternately before and after its effect.
    Each(usize),
}

/// Counts the calls of all writers, and decides which fail.
#[derive(Debug, Clone)]
pub struct Calls {
    failing: Failing,
    made: Arc<Mutex<usize>>,
}
impl Calls {
    pub fn made(&self) -> usize {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call. `Some`: it fails, after its effect if true.
    fn count(&self) -> Option<bool> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        match self.failing {
            Failing::Once { call, after } if call == *made => Some(after),
            Failing::Each(number) if made.is_multiple_of(number) => Some((*made / number).is_multiple_of(2)),
            _ => None,
        }
    }

    /// Runs a call's effect, or fails it.
    async fn run<T>(&self, effect: impl Future<Output = Result<T>>) -> Result<T> {
        let after = self.count();
        let outcome = if after == Some(false) { None } else { Some(effect.await?) };
        match (after, outcome) {
            (None, Some(outcome)) => Ok(outcome),
            _ => {
                let (what, source) = ("a call failed".to_owned(), "a test says so".into());
                let reaction = Reaction::Retry;
                Err(SystemError { what, reaction, fenced: false, answered: false, source }.into())
            }
        }
    }
}

/// A sink, with the calls that fail.
#[derive(Clone)]
pub struct Unsteady<S> {
    pub sink: S,
    pub calls: Calls,
}
impl<S> Unsteady<S> {
    pub fn new(sink: S, failing: Failing) -> Self {
        Self { sink, calls: Calls { failing, made: Arc::default() } }
    }
}

#[async_trait]
impl<S: Sink> Sink for Unsteady<S> {
    type Writer = UnsteadyWriter<S::Writer>;
    const NAME: &'static str = S::NAME;

    fn destination(&self) -> &Destination {
        self.sink.destination()
    }
    async fn open(&self, table: &Table) -> Result<Self::Writer> {
        let writer = self.calls.run(self.sink.open(table)).await?;
        Ok(UnsteadyWriter { writer, calls: self.calls.clone() })
    }
    fn describe(&self, span: &mut Span, changes: usize) {
        self.sink.describe(span, changes);
    }
    fn published(&self, table: &TableName, version: Version, changes: usize) {
        self.sink.published(table, version, changes);
    }
}

pub struct UnsteadyWriter<W> {
    writer: W,
    calls: Calls,
}

#[async_trait]
impl<W: Writer> Writer for UnsteadyWriter<W> {
    fn keys(&self) -> Arc<dyn Keys> {
        self.writer.keys()
    }
    async fn progress(&mut self) -> Result<Vec<Progress>> {
        self.calls.run(self.writer.progress()).await
    }
    async fn held(&mut self) -> Result<Vec<Bytes>> {
        self.calls.run(self.writer.held()).await
    }
    async fn begin(&mut self) -> Result<()> {
        self.calls.run(self.writer.begin()).await
    }
    async fn write(&mut self, changes: Changes) -> Result<()> {
        self.calls.run(self.writer.write(changes)).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.calls.run(self.writer.flush()).await
    }
    async fn note(&mut self, progress: &Progress) -> Result<()> {
        self.calls.run(self.writer.note(progress)).await
    }
    async fn commit(&mut self) -> Result<()> {
        self.calls.run(self.writer.commit()).await
    }
}
