//! The keys of every file, once: what may be written ([`files`]), how it is read, and (through
//! [`crate::json_schema`]) what editors are told.
//!
//! A file's text becomes marked nodes, and the nodes, checked against their [`Shape`], an [`Object`] of
//! typed values that remember their lines. Whatever is wrong becomes a fault and is left out of the
//! object, so the rest of the file is still read and its faults are found in the same run.

pub(crate) mod check;
pub mod files;
pub(crate) mod object;
mod scalar;
pub(crate) mod yaml;

/// A mapping with known keys.
#[derive(Debug)]
pub struct Shape {
    /// What it describes: title of its JSON Schema.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}
impl Shape {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Type,
    /// Whether it must be there.
    pub required: bool,
    /// What it says, in a sentence; the default among it.
    pub doc: &'static str,
}

/// What a value may be.
#[derive(Debug)]
pub enum Type {
    /// Any text.
    Text,
    /// A text that may hold `${env:X}` and `${file:…}`.
    Setting,
    /// A setting that is never shown, and never stands in the file itself. In a map, those whose names
    /// say so are.
    Secret,
    /// A setting that is a path, below the project's folder unless absolute.
    Path,
    /// true or false; `on` and `off` too.
    Flag,
    /// A whole number between two bounds.
    Whole(i64, i64),
    /// Any number.
    Number,
    /// `1%` or `0.01`.
    Share,
    /// `500ms`, `15m`, `7d`.
    Duration,
    /// A duration or `forever`.
    Retention,
    /// `128MiB`.
    Size,
    /// One ASCII character other than a letter, a digit or the end of a line; `tab` and `none` too.
    Character,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Name of a Kafka topic.
    Topic,
    /// `schema.table`.
    Table,
    /// A list; a single value stands for a list of one.
    List(&'static Type),
    /// A mapping with free keys.
    Map(&'static Type),
    /// A mapping with known keys.
    Object(&'static Shape),
    /// Whatever YAML can say.
    Any,
}

/// What is wrong with a file's text as far as its own keys say; whatever else it names is not looked at.
pub fn faults_of(text: &str, shape: &'static Shape) -> Vec<crate::Fault> {
    let mut faults = crate::fault::Faults::default();
    let nowhere = std::path::Path::new("");
    drop(check::read(text, shape, nowhere, 1, nowhere, &mut faults));
    faults.into_sorted()
}

/// Shorthand for a table of keys.
pub(crate) const fn key(name: &'static str, kind: Type, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}
pub(crate) const fn required(name: &'static str, kind: Type, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}
