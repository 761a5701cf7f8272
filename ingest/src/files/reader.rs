//! Looks at the folder repeatedly, and decides what is published next.
//!
//! It reads the ready files in groups to identify their contents; new files get a cursor; then each file is
//! published to its end. Files that are not ready wait for the next look.

mod round;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runtime::time::Instant;
use source::{CursorRecord, Reader, Sent, Step, Wait};

use super::content::Content;
use super::cursor::{FileCursor, FileCursors};
use super::folder::{self, Folder};
use super::form::Form;
use super::publish::{OpenFile, record};
use super::{Feed, Files, resolve};
use crate::Error;
use round::{Round, Taken};

/// Reads a folder until an error.
pub(super) struct FolderReader<'a> {
    files: &'a mut Files,
    folder: Folder,
    form: Arc<Form>,
    /// The cursors on the cursors topic.
    cursors: FileCursors,
    /// Files that are done, with the state in which they were.
    finished: BTreeMap<String, folder::State>,
    /// Contents of files that are not done.
    contents: BTreeMap<String, (folder::State, Result<Content, String>)>,
    asked: Instant,
    round: Option<Round>,
    open: Option<OpenFile>,
    /// Cursors that the loop is committing.
    given: Vec<FileCursor>,
}

impl<'a> FolderReader<'a> {
    pub fn new(files: &'a mut Files, folder: Folder, form: Arc<Form>, cursors: FileCursors) -> Self {
        Self {
            files,
            folder,
            form,
            cursors,
            finished: BTreeMap::new(),
            contents: BTreeMap::new(),
            asked: Instant::now(),
            round: None,
            open: None,
            given: Vec::new(),
        }
    }

    fn feed(&self) -> &Feed {
        &self.files.feed
    }

    async fn step(&mut self) -> Result<Step, Error> {
        if let Some(cursors) = self.written_anew() {
            return Ok(Step::Commit(cursors));
        }
        loop {
            let step = if let Some(open) = self.open.take() {
                self.go_on(open).await?
            } else if let Some(mut round) = self.round.take() {
                if let Some(taken) = round.taken.pop_front() {
                    let step = self.begin(taken, &mut round).await?;
                    self.round = Some(round);
                    step
                } else if round.ready.is_empty() {
                    Some(self.end(round))
                } else {
                    let step = self.take(&mut round).await;
                    self.round = Some(round);
                    step
                }
            } else {
                self.round = Some(self.look().await?);
                None
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Rewrites the cursors that have only the topic's name with its id.
    fn written_anew(&mut self) -> Option<Vec<CursorRecord>> {
        let outdated = std::mem::take(&mut self.cursors.outdated);
        if outdated.is_empty() {
            return None;
        }
        let topic = &self.form.topic.name;
        let adopted = self.cursors.all().filter(|cursor| cursor.old_digest.is_some());
        let mut records: Vec<CursorRecord> = adopted.map(|cursor| record(topic, cursor)).collect();
        records.extend(outdated.into_iter().map(|key| CursorRecord { key, value: None }));
        Some(records)
    }

    fn commit(&mut self, cursors: Vec<FileCursor>) -> Step {
        let topic = &self.form.topic.name;
        let records = cursors.iter().map(|cursor| record(topic, cursor)).collect();
        self.given = cursors;
        Step::Commit(records)
    }

    /// Starts what [`resolve`] decides for a file.
    async fn begin(&mut self, taken: Taken, round: &mut Round) -> Result<Option<Step>, Error> {
        let Taken { file, written, gzip, content } = taken;
        self.contents.remove(&file.name);
        match self.resolve(&file, &content) {
            resolve::Step::Nothing => {
                self.finished.insert(file.name, file.state);
                Ok(None)
            }
            resolve::Step::Remember(cursor) => {
                tracing::info!(
                    file = file.name,
                    "file has a content that is published, it is not published again"
                );
                self.finished.insert(file.name, file.state);
                Ok(Some(self.commit(vec![*cursor])))
            }
            resolve::Step::Publish(cursor, _) => {
                let again = (file.name.clone(), file.state.clone());
                match OpenFile::open(file, written, gzip, *cursor).await {
                    Ok(open) => self.open = Some(open),
                    Err(error) => self.put_off(error, again, &mut round.waiting)?,
                }
                Ok(None)
            }
        }
    }

    /// Continues with the open file: its next lines, then their cursor; after its end, the next file.
    async fn go_on(&mut self, open: OpenFile) -> Result<Option<Step>, Error> {
        if open.is_under_way() {
            let cursor = open.cursor.clone();
            self.open = Some(open);
            return Ok(Some(self.commit(vec![cursor])));
        }
        if open.cursor.done {
            let Sent { records, bad } = open.sent;
            tracing::info!(file = open.file.name, records, bad_lines = bad, "file published");
            self.files.counts.files += 1;
            self.finished.insert(open.file.name, open.file.state);
            return Ok(None);
        }
        let again = (open.file.name.clone(), open.file.state.clone());
        match open.take(&self.files.settings).await {
            Ok((mut open, lines)) => {
                let traces = self.files.context.meters.traces();
                let batch = open.batch(lines, &self.form, &self.files.feed.files.dead_letter, traces);
                self.open = Some(open);
                Ok(Some(Step::Send(batch)))
            }
            Err(error) => {
                let mut waiting = false;
                self.put_off(error, again, &mut waiting)?;
                if let Some(round) = &mut self.round {
                    round.waiting |= waiting;
                }
                Ok(None)
            }
        }
    }

    /// Postpones a file that changed or cannot be read, so that the others go on.
    fn put_off(
        &mut self,
        error: Error,
        (name, state): (String, folder::State),
        waiting: &mut bool,
    ) -> Result<(), Error> {
        match error {
            error @ Error::Changed { .. } => {
                tracing::warn!(error = &error as &dyn std::error::Error, "file is looked at again");
            }
            Error::File { source, .. } => {
                self.contents.insert(name, (state, Err(format!("it cannot be read: {source}"))));
            }
            error => return Err(error),
        }
        *waiting = true;
        Ok(())
    }

    /// Logs what is not read, and waits for the next look.
    fn end(&mut self, round: Round) -> Step {
        let Round { aside, waiting, .. } = round;
        self.files.counts.aside = aside.len() as u64;
        for thing in &aside {
            if self.files.said.insert(thing.clone()) {
                tracing::warn!(file = thing.name, reason = thing.why, "set aside, it is not read");
            }
        }
        self.files.said.retain(|thing| aside.contains(thing));
        if self.files.context.once && !waiting {
            return Step::Done;
        }
        Step::Wait(Wait::poll(self.feed().files.poll))
    }
}

#[async_trait]
impl Reader for FolderReader<'_> {
    async fn next(&mut self) -> Result<Step, source::Error> {
        self.step().await.map_err(|error| self.files.failed(error))
    }

    fn sent(&mut self, sent: Sent) {
        if let Some(open) = &mut self.open {
            open.sent(sent, &self.form.topic.name);
        }
    }

    async fn committed(&mut self, _sent: Sent) -> Result<(), source::Error> {
        for cursor in self.given.drain(..) {
            self.cursors.set(cursor);
        }
        if let Some(open) = &mut self.open {
            open.committed();
        }
        Ok(())
    }
}
