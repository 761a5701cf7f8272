//! What stops a source, and what its loop does next. A bad line is none of these.

use std::path::PathBuf;

use model::{Reaction, TopicName};

/// A fault of a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error("cannot publish to topic `{topic}`")]
    Stream {
        /// The topic.
        topic: TopicName,
        /// What it said.
        source: stream::Error,
    },
    /// The registry.
    #[error("cannot register the schemas of topic `{topic}`")]
    Registry {
        /// The topic.
        topic: TopicName,
        /// What it said.
        source: stream::registry::Error,
    },
    /// The topic cannot take rows of files.
    #[error("topic `{topic}` cannot be fed from files: {why}")]
    BadTopic {
        /// The topic.
        topic: TopicName,
        /// What is missing, or in the way.
        why: String,
    },
    /// The folder or a file in it.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file changed while it was read.
    #[error("file `{}` changed while it was read; it is read again as what it is now", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// A cursor that this version cannot read.
    #[error("cursor `{key}` cannot be read: {why}")]
    BadCursor {
        /// Its key.
        key: String,
        /// What is wrong.
        why: String,
    },
}
impl Error {
    /// What the loop does next.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Stream { source, .. } => source.reaction(),
            Self::Registry { source, .. } => source.reaction(),
            Self::File { .. } => Reaction::Retry,
            Self::Changed { .. } => Reaction::Reload,
            Self::BadTopic { .. } | Self::BadCursor { .. } => Reaction::Halt,
        }
    }
    /// Whether the transactional id is not ours any more.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::Stream { source: stream::Error::Fenced { .. }, .. })
    }
}
