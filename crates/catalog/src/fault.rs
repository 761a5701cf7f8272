//! Mistakes in a project, and their places.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a project's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Path below the project's folder.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
}
impl Location {
    /// The place at `line` of `file`.
    pub fn new(file: impl Into<PathBuf>, line: usize) -> Self {
        Self { file: file.into(), line }
    }
    /// Another line of the same file.
    #[must_use]
    pub fn at(&self, line: usize) -> Self {
        Self { file: self.file.clone(), line }
    }
}
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A mistake in a project: place, message and advice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}:{}: {message}; {help}", file.display(), line)]
pub struct Fault {
    /// Path below the project's folder.
    pub file: PathBuf,
    /// Line of the key, or of the place in the SQL, counted from 1.
    pub line: usize,
    /// The mistake.
    pub message: String,
    /// The advice.
    pub help: String,
}

/// Collects faults while reading goes on.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);
impl Faults {
    pub(crate) fn add(&mut self, at: &Location, message: impl Into<String>, help: impl Into<String>) {
        self.add_at(&at.file, at.line, message, help);
    }
    pub(crate) fn add_at(
        &mut self,
        file: &Path,
        line: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.0.push(Fault { file: file.to_owned(), line: line.max(1), message, help });
    }
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Sorted by place, without duplicates.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// "did you mean `x`?" if one of `known` is similar to `word`, else the list of `known`.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|k| (distance(&word.to_lowercase(), &k.to_lowercase()), *k))
        .filter(|(d, k)| *d <= 1 + k.chars().count().min(word.chars().count()) / 4)
        .min();
    match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None if known.len() <= 24 => format!("known are {}", listed(known)),
        None => format!("none of the {} known is near it", known.len()),
    }
}

/// "`a`, `b`, `c`".
pub(crate) fn listed<S: fmt::Display>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Edit distance: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_offered_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("tabel", ["table", "value"]), "did you mean `table`?");
        assert_eq!(did_you_mean("envelop", ["envelope", "event_time"]), "did you mean `envelope`?");
        assert_eq!(did_you_mean("qqq", ["table", "value"]), "known are `table`, `value`");
        assert_eq!(did_you_mean("x", []), "there is none to choose from");
    }

    #[test]
    fn a_fault_reads_as_place_what_and_what_to_do() {
        let mut faults = Faults::default();
        faults.add(&Location::new("topics.yaml", 12), "unknown key `tabel`", "did you mean `table`?");
        assert_eq!(
            faults.into_sorted()[0].to_string(),
            "topics.yaml:12: unknown key `tabel`; did you mean `table`?"
        );
    }
}
