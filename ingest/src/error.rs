//! What stops a source, and how its loop reacts. A bad line is not an error.

use std::path::PathBuf;

use model::{Reaction, TopicName};

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka failed.
    #[error("cannot publish to topic `{topic}`")]
    Stream {
        /// The topic.
        topic: TopicName,
        /// Kafka's error.
        source: stream::Error,
    },
    /// The registry failed.
    #[error("cannot register the schemas of topic `{topic}`")]
    Registry {
        /// The topic.
        topic: TopicName,
        /// The registry's error.
        source: stream::registry::RegistryError,
    },
    /// The topic cannot accept rows of files.
    #[error("topic `{topic}` cannot be fed from files: {why}")]
    BadTopic {
        /// The topic.
        topic: TopicName,
        /// What is missing, or what prevents it.
        why: String,
    },
    /// The watched folder cannot be read.
    #[error("cannot read the folder `{}`: make it, or correct `dir`", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The topic was deleted and created again.
    #[error("topic `{topic}` was deleted and made again: it is fed from the start")]
    Recreated {
        /// The topic.
        topic: TopicName,
    },
    /// A file in the folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file changed while it was read.
    #[error("file `{}` changed while it was read; it is read again as what it is now", path.display())]
    Changed {
        /// Its path.
        path: PathBuf,
    },
    /// PostgreSQL, or the connection to it, failed.
    #[error("cannot read source `{name}`")]
    Postgres {
        /// The source.
        name: String,
        /// The error of the client or the server.
        source: Box<pgwire_replication::PgWireError>,
    },
    /// The database cannot be read in its current state.
    #[error("source `{name}` cannot be read: {why}; {help}")]
    Refused {
        /// The source.
        name: String,
        /// What prevents it.
        why: String,
        /// What to do.
        help: String,
    },
    /// Another process reads the slot.
    #[error(
        "replication slot `{slot}` of source `{name}` is being read by server process {pid}: stop who reads it"
    )]
    SlotInUse {
        /// The source.
        name: String,
        /// The slot.
        slot: String,
        /// Process id on the server.
        pid: String,
    },
    /// The database's history differs from what is on the topics.
    #[error(
        "source `{name}` has another history than its topics: {why}; to go on as a new epoch, with every \
         table read anew, run `lakepulse ingest postgres {name} --new-epoch`"
    )]
    NewEpoch {
        /// The source.
        name: String,
        /// How the difference shows.
        why: String,
    },
    /// The server ended the stream.
    #[error("the server ended the replication stream of source `{name}`")]
    StreamEnded {
        /// The source.
        name: String,
    },
    /// The stream contains something impossible.
    #[error("the replication stream of source `{name}` cannot be read")]
    BadStream {
        /// The source.
        name: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This version cannot read a cursor.
    #[error("cursor `{key}` cannot be read: {why}")]
    BadCursor {
        /// Its key.
        key: String,
        /// What is wrong.
        why: String,
    },
}
impl Error {
    /// How the loop reacts.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Stream { source, .. } => source.reaction(),
            Self::Registry { source, .. } => source.reaction(),
            Self::File { .. } | Self::Folder { .. } => Reaction::Retry,
            Self::Postgres { source, .. } => of_postgres(source),
            Self::SlotInUse { .. } => Reaction::Retry,
            Self::Changed { .. } | Self::Recreated { .. } | Self::StreamEnded { .. } => Reaction::Reload,
            Self::BadTopic { .. }
            | Self::BadCursor { .. }
            | Self::Refused { .. }
            | Self::NewEpoch { .. }
            | Self::BadStream { .. } => Reaction::Halt,
        }
    }
}
impl From<Error> for source::Error {
    fn from(error: Error) -> Self {
        Self::new(error.reaction(), error)
    }
}

/// How a loop reacts to an error of PostgreSQL. A refused login and a missing object do not change by
/// waiting; a server that is down, starting or full comes back.
fn of_postgres(error: &pgwire_replication::PgWireError) -> Reaction {
    const IN_VAIN: [&str; 4] = ["28", "42", "3D", "0A"];
    let text = error.to_string();
    let state = text.split_once("SQLSTATE ").map_or("", |(_, rest)| rest);
    if error.is_auth() || IN_VAIN.iter().any(|class| state.starts_with(class)) {
        return Reaction::Halt;
    }
    Reaction::Retry
}
