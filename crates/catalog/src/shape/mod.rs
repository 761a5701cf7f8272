//! The keys of every file, defined once: the allowed keys ([`files`]), how they are read, and, through
//! [`crate::json_schema`], what editors show.
//!
//! A file's text becomes nodes with lines. Checked against their [`Shape`], the nodes become an [`Object`] of
//! typed values that remember their lines. Anything wrong becomes a fault and is left out of the object, so the
//! rest of the file is still read and its faults are found in the same run.

pub(crate) mod check;
pub mod files;
pub(crate) mod object;
mod scalar;
pub(crate) mod yaml;

/// A mapping with known keys.
#[derive(Debug)]
pub struct Shape {
    /// The title of its JSON Schema.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [KeySpec],
}
impl Shape {
    /// The key with this name.
    pub fn key(&self, name: &str) -> Option<&'static KeySpec> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a mapping.
#[derive(Debug)]
pub struct KeySpec {
    /// As written.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Type,
    /// Whether the key is required.
    pub required: bool,
    /// What it does, in one sentence, with the default.
    pub doc: &'static str,
}

/// The type of a value.
#[derive(Debug)]
pub enum Type {
    /// Any text.
    Text,
    /// A text that may contain `${env:X}` and `${file:…}`.
    Setting,
    /// A setting that is never shown, and whose value is never in the file itself. In a map, the entries whose
    /// names look like secrets.
    Secret,
    /// A setting that is a path, relative to the project's folder.
    Path,
    /// true or false; also `on` and `off`.
    Flag,
    /// An integer between two bounds.
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
    /// One ASCII character other than a letter, a digit or a line break; also `tab` and `none`.
    Character,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Name of a Kafka topic.
    Topic,
    /// `schema.table`.
    Table,
    /// A list; a single value counts as a list of one.
    List(&'static Type),
    /// A mapping with free keys.
    Map(&'static Type),
    /// A mapping with known keys.
    Object(&'static Shape),
    /// Any YAML.
    Any,
}

/// The faults of a file's text that its own keys show. References to other files are not checked.
pub fn faults_of(text: &str, shape: &'static Shape) -> Vec<crate::Fault> {
    let mut faults = crate::fault::Faults::default();
    let nowhere = std::path::Path::new("");
    drop(check::read(text, shape, nowhere, 1, nowhere, &mut faults));
    faults.into_sorted()
}

/// Shorthand for a table of keys.
pub(crate) const fn key(name: &'static str, kind: Type, doc: &'static str) -> KeySpec {
    KeySpec { name, kind, required: false, doc }
}
pub(crate) const fn required(name: &'static str, kind: Type, doc: &'static str) -> KeySpec {
    KeySpec { name, kind, required: true, doc }
}
