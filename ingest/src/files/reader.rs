//! Looks at the folder again and again, and says what of it is published next.
//!
//! Of the files that are ready, some at a time are read to be known by their contents; the new among these get a
//! cursor; then each is published to its end. What is not ready waits for the next look.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catalog::{Encoding, FileFormat, FileIdentity};
use source::{CursorRecord, Reader, Sent, Step, Wait};
use stream::{Admin, Kafka};
use tokio::time::Instant;

use super::content::{self, Content};
use super::cursor::{Cursor, Cursors};
use super::folder::{self, Aside, Folder, Found};
use super::form::Form;
use super::lines::Written;
use super::publish::{OpenFile, record};
use super::resolve::{self, Why};
use super::route::{is_json_by_name, written};
use super::{Feed, Files};
use crate::Error;

/// How long a file whose last line has no end must not have changed.
const OPEN_END: Duration = Duration::from_secs(3);
/// How often the topic is asked whether it is still the same.
const SAME_TOPIC: Duration = Duration::from_secs(5);
/// Files that are looked through before the first of them is published: more need fewer transactions.
const TOGETHER: usize = 64;

/// Reads a folder, from one error to the next.
pub(super) struct FolderReader<'a> {
    files: &'a mut Files,
    folder: Folder,
    form: Arc<Form>,
    /// As they are on the cursors topic.
    cursors: Cursors,
    /// Files that need no other look, as they were.
    finished: BTreeMap<String, folder::State>,
    /// Contents of those that do.
    contents: BTreeMap<String, (folder::State, Result<Content, String>)>,
    asked: Instant,
    round: Option<Round>,
    open: Option<OpenFile>,
    /// Cursors that the loop was given to commit.
    given: Vec<Cursor>,
}

/// What became of one look.
struct Round {
    aside: BTreeSet<Aside>,
    /// Something has to be looked at again.
    waiting: bool,
    /// Files that have been the same for long enough.
    ready: VecDeque<(Found, Written, bool)>,
    /// Files that are published now.
    taken: VecDeque<Taken>,
}

/// A file that is to be published.
struct Taken {
    file: Found,
    written: Written,
    gzip: bool,
    content: Content,
}

impl<'a> FolderReader<'a> {
    pub fn new(files: &'a mut Files, folder: Folder, form: Arc<Form>, cursors: Cursors) -> Self {
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

    /// Cursors that only have the topic's name get its id, while it is the topic that they are of.
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

    /// Looks at the folder.
    async fn look(&mut self) -> Result<Round, Error> {
        if self.asked.elapsed() >= SAME_TOPIC {
            self.asked = Instant::now();
            same_topic(&self.files.context.kafka, &self.form).await?;
        }
        let look = self.folder.look(Instant::now()).await?;
        let feed = self.feed();
        let mut aside: BTreeSet<Aside> =
            if feed.route.mine == 0 { look.aside.into_iter().collect() } else { BTreeSet::new() };
        let (mut waiting, mut ready) = (false, VecDeque::new());
        for file in look.files {
            match feed.route.takes(&file.name) {
                Ok(true) => {}
                Ok(false) | Err(None) => continue,
                Err(Some(why)) => {
                    aside.insert(Aside { name: file.name, why });
                    continue;
                }
            }
            let Some((written, gzip)) = written(&self.files.settings, feed, &file.name) else {
                let why = "its name does not say what it holds: say `format:`".to_owned();
                aside.insert(Aside { name: file.name, why });
                continue;
            };
            if self.finished.get(&file.name) == Some(&file.state) {
                continue;
            }
            match file.still_for {
                Some(still) if still >= feed.files.settle.unwrap_or_default() => {
                    ready.push_back((file, written, gzip));
                }
                _ => waiting = true,
            }
        }
        self.contents
            .retain(|name, (state, _)| ready.iter().any(|(f, _, _)| f.name == *name && f.state == *state));
        Ok(Round { aside, waiting, ready, taken: VecDeque::new() })
    }

    /// Takes some of the files that are ready. The new among them get their cursors before a line of any of them is
    /// published.
    async fn take(&mut self, round: &mut Round) -> Option<Step> {
        let some = round.ready.len().min(TOGETHER);
        for (file, written, gzip) in round.ready.drain(..some) {
            let is_known = self.contents.get(&file.name).is_some_and(|(state, _)| *state == file.state);
            if !is_known {
                let lengths = resolve::lengths(&self.cursors, self.feed().files.identity, &file);
                let content = read(lengths, &file, &written, gzip).await;
                self.contents.insert(file.name.clone(), (file.state.clone(), content));
            }
            let Some((_, content)) = self.contents.get(&file.name) else { continue };
            let is_young = file.still_for < Some(OPEN_END);
            match content {
                // A file that is still written may be half of one that can be read.
                Err(_) if is_young => round.waiting = true,
                Err(why) => drop(round.aside.insert(Aside { name: file.name, why: why.clone() })),
                Ok(content) => {
                    let (content, mut written) = (content.clone(), written);
                    if content.is_array && is_json_by_name(self.feed(), &file.name) {
                        written.format = FileFormat::Json;
                    }
                    let ended = match written.format {
                        FileFormat::Json => content.ends_value,
                        _ => content.ends_line,
                    };
                    if ended || !is_young || self.is_nothing(&file, &content) {
                        round.taken.push_back(Taken { file, written, gzip, content });
                    } else {
                        round.waiting = true;
                    }
                }
            }
        }
        let begun = self.begun(&round.taken);
        (!begun.is_empty()).then(|| self.commit(begun))
    }

    fn resolve(&self, file: &Found, content: &Content) -> resolve::Step {
        resolve::resolve(&self.cursors, self.feed().files.identity, &self.form.id, file, content)
    }

    fn is_nothing(&self, file: &Found, content: &Content) -> bool {
        matches!(self.resolve(file, content), resolve::Step::Nothing | resolve::Step::Remember(_))
    }

    /// The cursors of the new files.
    fn begun(&self, taken: &VecDeque<Taken>) -> Vec<Cursor> {
        let mut begun: Vec<Cursor> = Vec::new();
        for Taken { file, content, .. } in taken {
            if let resolve::Step::Publish(cursor, why) = self.resolve(file, content)
                && why.is_begun()
                // Of two files with the same content one is published, and the other is its copy.
                && !(self.feed().files.identity == FileIdentity::Content
                    && begun.iter().any(|other| other.aim == cursor.aim))
            {
                match why {
                    Why::Rewritten => {
                        tracing::warn!(
                            file = file.name,
                            "file has other content than before: it is published whole"
                        );
                    }
                    Why::Changed => {
                        let line = cursor.end.next;
                        tracing::warn!(
                            file = file.name,
                            line,
                            "file has other lines than before from here on: they are published"
                        );
                    }
                    Why::New | Why::Unfinished | Why::Grown => {}
                }
                begun.push(*cursor);
            }
        }
        begun
    }

    fn commit(&mut self, cursors: Vec<Cursor>) -> Step {
        let topic = &self.form.topic.name;
        let records = cursors.iter().map(|cursor| record(topic, cursor)).collect();
        self.given = cursors;
        Step::Commit(records)
    }

    /// Does what is to be done with a file.
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

    /// Goes on with the file that is open: its next lines; behind them its cursor; behind its end the next file.
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

    /// One file that changes, or cannot be read any more, does not stop the others.
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

    /// Says what is not read, and waits for the next look.
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

/// Reads a file once: what it is known by, and whether it can be read at all.
async fn read(
    lengths: BTreeSet<u64>,
    file: &Found,
    written: &Written,
    gzip: bool,
) -> Result<Content, String> {
    let wide = matches!(written.encoding, Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be);
    let (path, size) = (file.path.clone(), file.state.size);
    let read = runtime::cpu::run(move || {
        content::read(&mut *content::open(&path, size, gzip)?, &lengths, if wide { 2 } else { 1 })
    });
    read.await.map_err(|error| match gzip {
        true => format!("it cannot be read as gzip: {error}"),
        false => format!("it cannot be read: {error}"),
    })
}

/// An error if the topic was deleted and made again: nothing of the folder is on the new one.
async fn same_topic(kafka: &Kafka, form: &Form) -> Result<(), Error> {
    let topic = &form.topic.name;
    let failed = |source| Error::Stream { topic: topic.clone(), source };
    let found = Admin::try_new(kafka).map_err(failed)?.describe(topic).await.map_err(failed)?;
    match found {
        Some(found) if found.id == form.id => Ok(()),
        _ => Err(Error::Recreated { topic: topic.clone() }),
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
