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
    /// The watched folder.
    #[error("cannot read the folder `{}`: make it, or correct `dir`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The topic is another than it was.
    #[error("topic `{topic}` was deleted and made again: it is fed from the start")]
    Recreated {
        /// The topic.
        topic: TopicName,
    },
    /// A file in the folder.
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
    /// PostgreSQL, or the way to it.
    #[error("cannot read source `{name}`")]
    Postgres {
        /// The source.
        name: String,
        /// What the client or the server says.
        source: Box<pgwire_replication::PgWireError>,
    },
    /// A database that cannot be read as it is.
    #[error("source `{name}` cannot be read: {why}; {help}")]
    Refused {
        /// The source.
        name: String,
        /// What is in the way.
        why: String,
        /// What to do.
        help: String,
    },
    /// Somebody reads the slot.
    #[error(
        "replication slot `{slot}` of source `{name}` is being read by server process {pid}: stop who reads it"
    )]
    SlotInUse {
        /// The source.
        name: String,
        /// The slot.
        slot: String,
        /// Process of the server.
        pid: String,
    },
    /// The database has another history than what is on the topics.
    #[error(
        "source `{name}` has another history than its topics: {why}; to go on as a new epoch, with every \
         table read anew, run `lakepulse ingest postgres {name} --new-epoch`"
    )]
    NewEpoch {
        /// The source.
        name: String,
        /// How that shows.
        why: String,
    },
    /// The server ended the stream.
    #[error("the server ended the replication stream of source `{name}`")]
    StreamEnded {
        /// The source.
        name: String,
    },
    /// The stream says what cannot be.
    #[error("the replication stream of source `{name}` cannot be read")]
    BadStream {
        /// The source.
        name: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
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

/// What a loop does after an error of PostgreSQL. Who may not log in, or names what is not there, waits in
/// vain; a server that is away, starting or full comes back.
fn of_postgres(error: &pgwire_replication::PgWireError) -> Reaction {
    const IN_VAIN: [&str; 4] = ["28", "42", "3D", "0A"];
    let text = error.to_string();
    let state = text.split_once("SQLSTATE ").map_or("", |(_, rest)| rest);
    if error.is_auth() || IN_VAIN.iter().any(|class| state.starts_with(class)) {
        return Reaction::Halt;
    }
    Reaction::Retry
}
