//! One look at the folder: which of its files are ready, and which of these to publish.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use catalog::{FileFormat, FileIdentity};
use runtime::time::Instant;
use source::Step;
use stream::{Admin, Kafka};

use super::FolderReader;
use crate::Error;
use crate::files::content::{self, Content};
use crate::files::cursor::FileCursor;
use crate::files::folder::{Aside, Found};
use crate::files::form::Form;
use crate::files::lines::Written;
use crate::files::resolve::{self, Why};
use crate::files::route::{is_json_by_name, written};

/// How long a file whose last line has no end must be unchanged.
const OPEN_END: Duration = Duration::from_secs(3);
/// How often to check that the topic has not been created again.
const SAME_TOPIC: Duration = Duration::from_secs(5);
/// Files that are identified before the first of them is published: a larger group needs fewer transactions.
const TOGETHER: usize = 64;

/// The state of one look.
pub(super) struct Round {
    pub(super) aside: BTreeSet<Aside>,
    /// Some files must be looked at again.
    pub(super) waiting: bool,
    /// Files that have been unchanged for long enough.
    pub(super) ready: VecDeque<(Found, Written, bool)>,
    /// Files to publish now.
    pub(super) taken: VecDeque<Taken>,
}

/// A file to publish.
pub(super) struct Taken {
    pub(super) file: Found,
    pub(super) written: Written,
    pub(super) gzip: bool,
    pub(super) content: Content,
}

impl FolderReader<'_> {
    /// Looks at the folder.
    pub(super) async fn look(&mut self) -> Result<Round, Error> {
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

    /// Takes some of the ready files. New ones get their cursors before any line is published.
    pub(super) async fn take(&mut self, round: &mut Round) -> Option<Step> {
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
                // A file that is still being written may become readable.
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

    pub(super) fn resolve(&self, file: &Found, content: &Content) -> resolve::Step {
        resolve::resolve(&self.cursors, self.feed().files.identity, &self.form.id, file, content)
    }

    fn is_nothing(&self, file: &Found, content: &Content) -> bool {
        matches!(self.resolve(file, content), resolve::Step::Nothing | resolve::Step::Remember(_))
    }

    /// The first cursors of new files.
    fn begun(&self, taken: &VecDeque<Taken>) -> Vec<FileCursor> {
        let mut begun: Vec<FileCursor> = Vec::new();
        for Taken { file, content, .. } in taken {
            if let resolve::Step::Publish(cursor, why) = self.resolve(file, content)
                && why.is_begun()
                // If two files have the same content, one is published, and the other is its copy.
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
}

/// Reads a file once to identify it and to check that it can be read at all.
async fn read(
    lengths: BTreeSet<u64>,
    file: &Found,
    written: &Written,
    gzip: bool,
) -> Result<Content, String> {
    let (path, size, encoding) = (file.path.clone(), file.state.size, written.encoding);
    let read =
        runtime::cpu::run(move || content::read(&mut *content::open(&path, size, gzip)?, &lengths, encoding));
    read.await.map_err(|error| match gzip {
        true => format!("it cannot be read as gzip: {error}"),
        false => format!("it cannot be read: {error}"),
    })
}

/// Returns an error if the topic was created again: then nothing of the folder is on the new one.
async fn same_topic(kafka: &Kafka, form: &Form) -> Result<(), Error> {
    let topic = &form.topic.name;
    let failed = |source| Error::Stream { topic: topic.clone(), source };
    let found = Admin::try_new(kafka).map_err(failed)?.describe(topic).await.map_err(failed)?;
    match found {
        Some(found) if found.id == form.id => Ok(()),
        _ => Err(Error::Recreated { topic: topic.clone() }),
    }
}
