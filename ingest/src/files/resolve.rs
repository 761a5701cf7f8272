//! Decides what to do with a file, by its content and what has been published.
//!
//! | the file | what is published of it |
//! | --- | --- |
//! | has a content that is published under any name | nothing |
//! | begins with what is published of its path, or of the file from which it was renamed | what follows |
//! | begins with what was published of it, but continues differently than before | what follows, under another identity |
//! | anything else | all of it |
//!
//! With `identity: path` only the last file of the same path counts. Under one identity, line numbers rise
//! and belong to one content, because bronze drops repeats by them: lines that are read again with other
//! bytes get a new identity.

use std::collections::BTreeSet;

use catalog::FileIdentity;
use model::TopicId;
use sha2::{Digest as _, Sha256};

use super::content::Content;
use super::cursor::{FileCursor, FileCursors, Published};
use super::folder::Found;
use super::lines::{Place, Within};

/// What to do with a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing: it is published.
    Nothing,
    /// Its content is published; record that for this path, too.
    Remember(Box<FileCursor>),
    /// Publish it, starting at its cursor.
    Publish(Box<FileCursor>, Why),
}

/// Why a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing of it is published.
    New,
    /// Its path had another content.
    Rewritten,
    /// Publishing stopped before its end.
    Unfinished,
    /// It has grown.
    Grown,
    /// It differs after a line that was published.
    Changed,
}
impl Why {
    /// Whether its cursor must be on the topic before its first line.
    pub fn is_begun(self) -> bool {
        matches!(self, Self::New | Self::Rewritten | Self::Changed)
    }
}

/// The cursors at which a file may continue.
fn related<'a>(cursors: &'a FileCursors, identity: FileIdentity, file: &'a Found) -> Vec<&'a FileCursor> {
    let mut mine: Vec<&FileCursor> = cursors.named(&file.name).collect();
    mine.sort_by_key(|cursor| cursor.round);
    match identity {
        FileIdentity::Path => mine.split_off(mine.len().saturating_sub(1)),
        FileIdentity::Content => {
            let renamed = |cursor: &&FileCursor| {
                cursor.inodes.contains(&file.state.inode)
                    && cursor.name != file.name
                    && cursor.end.mark.bytes > 0
            };
            mine.extend(cursors.all().filter(renamed));
            mine
        }
    }
}

/// The lengths of the file's beginnings whose digests [`resolve`] needs.
pub(crate) fn lengths(cursors: &FileCursors, identity: FileIdentity, file: &Found) -> BTreeSet<u64> {
    let places = related(cursors, identity, file).into_iter().flat_map(|cursor| {
        let published = cursor.published.iter().flat_map(|published| {
            let open = published.before_open.as_ref().map_or(0, |open| open.mark.bytes);
            [published.end.mark.bytes, open]
        });
        published.chain([cursor.end.mark.bytes, cursor.aim.bytes])
    });
    // Any unfinished file may have been renamed to this name.
    let half = cursors.all().filter(|cursor| !cursor.done).map(|cursor| cursor.end.mark.bytes);
    places.chain(half).filter(|bytes| *bytes > 0).collect()
}

/// Decides what to do with a file.
pub(crate) fn resolve(
    cursors: &FileCursors,
    identity: FileIdentity,
    topic: &TopicId,
    file: &Found,
    content: &Content,
) -> Step {
    let whole = &content.whole;
    if whole.bytes == 0 {
        return Step::Nothing;
    }
    let related = related(cursors, identity, file);
    let published = |cursor: &FileCursor| {
        cursor.published.iter().rev().find(|published| published.whole == *whole).cloned()
    };
    let mine = || related.iter().filter(|cursor| cursor.name == file.name);
    let is_mine = match identity {
        FileIdentity::Content => mine().any(|cursor| published(cursor).is_some()),
        FileIdentity::Path => mine().any(|cursor| {
            cursor.done && cursor.published.last().is_some_and(|published| published.whole == *whole)
        }),
    };
    if is_mine {
        // If it was replaced, remember its new inode, by which it is recognised after a rename.
        let newest = mine().rfind(|cursor| published(cursor).is_some());
        return match newest.filter(|cursor| !cursor.inodes.contains(&file.state.inode)) {
            Some(newest) if identity == FileIdentity::Content => {
                let mut cursor = (**newest).clone();
                cursor.is_of(file.state.inode);
                Step::Remember(Box::new(cursor))
            }
            _ => Step::Nothing,
        };
    }
    let old = |cursor: &&&FileCursor| cursor.old_digest.as_deref() == Some(&whole.digest);
    if let Some(old) = mine().find(old) {
        return adopt(cursors, old, file, content);
    }
    let new = Naming { cursors, topic, file, content };
    if identity == FileIdentity::Content {
        let other = cursors.of_content(whole).filter(|other| other.name != file.name);
        if let Some(published) = other.and_then(published) {
            return new.remember(published);
        }
        // Publishing this content stopped before its end, under any name.
        if let Some(other) = other.filter(|other| !other.done && content.begins_with(&other.end.mark)) {
            return go_on(cursors, other, file, content, Why::Unfinished);
        }
        let copied = cursors.all().find(|other| other.done && old(&other));
        if let Some(copied) = copied {
            let end = Place {
                mark: whole.clone(),
                line: copied.end.line,
                next: content.line_feeds + 1,
                within: Within::Start,
            };
            return new.remember(Published { whole: whole.clone(), end, before_open: None });
        }
    }
    let is_prefix =
        |cursor: &&&FileCursor| cursor.old_digest.is_none() && content.begins_with(&cursor.end.mark);
    // If a newer file of the same path exists, the older one is abandoned.
    let newest = mine().map(|cursor| cursor.round).max();
    let unfinished = |cursor: &&&FileCursor| {
        let is_newest = cursor.name == file.name && Some(cursor.round) == newest;
        !cursor.done && is_newest && content.begins_with(&cursor.aim)
    };
    let unfinished = related.iter().filter(is_prefix).filter(unfinished);
    let unfinished = unfinished.max_by_key(|cursor| cursor.end.mark.bytes);
    if let Some(cursor) = unfinished.filter(|cursor| cursor.end.mark.bytes > 0) {
        return go_on(cursors, cursor, file, content, Why::Unfinished);
    }
    // The ends of published contents, or the beginnings of their last lines if those changed.
    let places = related.iter().filter(|cursor| cursor.old_digest.is_none()).flat_map(|cursor| {
        let half = (!cursor.done).then(|| (&cursor.end, content.begins_with(&cursor.aim)));
        let published = cursor.published.iter().rev().flat_map(|published| {
            let end = published.end.mark.bytes;
            // Line ends do not end the values of a JSON text.
            let is_whole = published.end.within == Within::Start && content.has_line_end_at(end);
            let is_open = published.before_open.is_some() && *whole != published.end.mark && !is_whole;
            let is_last = cursor.done && published.end == cursor.end;
            [
                (!is_open).then_some((&published.end, is_last)),
                published.before_open.as_ref().map(|open| (open, false)),
            ]
        });
        let places = half.into_iter().chain(published.flatten());
        places.map(move |(place, goes_on)| (*cursor, place, goes_on))
    });
    let is_behind = |place: &Place| place.mark.bytes > 0 && content.begins_with(&place.mark);
    let longest = places.filter(|(_, place, _)| is_behind(place));
    match longest.max_by_key(|(_, place, goes_on)| (place.mark.bytes, *goes_on)) {
        Some((cursor, _, true)) => return go_on(cursors, cursor, file, content, Why::Grown),
        // Lines after it may have been sent, even if never committed, so use a new identity.
        Some((_, place, false)) => return new.begin(place.clone(), Why::Changed),
        None => {}
    }
    // Nothing of it is published, and it begins with no published content.
    if let Some(cursor) = unfinished {
        return go_on(cursors, cursor, file, content, Why::Unfinished);
    }
    let why = if mine().any(|cursor| cursor.end.line > 0) { Why::Rewritten } else { Why::New };
    new.begin(Place::start(), why)
}

fn go_on(cursors: &FileCursors, cursor: &FileCursor, file: &Found, content: &Content, why: Why) -> Step {
    let mut cursor = cursor.clone();
    // It is the newest file of its path.
    let others = cursors.named(&file.name).filter(|other| other.identity != cursor.identity);
    cursor.round = others.map(|other| other.round + 1).max().unwrap_or(1).max(cursor.round);
    cursor.name.clone_from(&file.name);
    cursor.is_of(file.state.inode);
    (cursor.aim, cursor.done) = (content.whole.clone(), false);
    Step::Publish(Box::new(cursor), why)
}

/// Decides for a file that version 1 began or finished.
fn adopt(cursors: &FileCursors, old: &FileCursor, file: &Found, content: &Content) -> Step {
    if !old.done {
        return go_on(cursors, old, file, content, Why::Unfinished);
    }
    let mut cursor = old.clone();
    cursor.is_of(file.state.inode);
    cursor.aim = content.whole.clone();
    cursor.end = Place {
        mark: content.whole.clone(),
        line: old.end.line,
        next: content.line_feeds + 1,
        within: Within::Start,
    };
    cursor.finish(None);
    Step::Remember(Box::new(cursor))
}

/// Creates identities for new publications.
struct Naming<'a> {
    cursors: &'a FileCursors,
    topic: &'a TopicId,
    file: &'a Found,
    content: &'a Content,
}
impl Naming<'_> {
    fn cursor(&self) -> FileCursor {
        let Self { cursors, topic, file, content } = self;
        // The identity depends on the topic, too: a table that outlives its topic must not take the lines for
        // repeats.
        let digest = Sha256::digest(format!("{topic}/{}", content.whole.digest));
        let identity = format!("{}@{}", file.name, hex::encode(&digest[..16]));
        let rounds = cursors.named(&file.name).map(|cursor| cursor.round).max();
        let mut cursor =
            FileCursor::new(topic, identity.clone(), &file.name, file.state.inode, content.whole.clone());
        cursor.round = rounds.map_or(1, |round| round + 1);
        if cursor.round > 1 {
            cursor.identity = format!("{identity}~{}", cursor.round);
        }
        while cursors.get(&cursor.identity).is_some() {
            cursor.round += 1;
            cursor.identity = format!("{identity}~{}", cursor.round);
        }
        cursor
    }
    fn begin(&self, at: Place, why: Why) -> Step {
        let mut cursor = self.cursor();
        cursor.end = at;
        Step::Publish(Box::new(cursor), why)
    }
    fn remember(&self, published: Published) -> Step {
        let mut cursor = self.cursor();
        cursor.end = published.end.clone();
        cursor.finish(published.before_open);
        Step::Remember(Box::new(cursor))
    }
}

#[cfg(test)]
mod tests;
