//! What can go wrong between us and a schema registry, and what a loop does then.

use model::Reaction;

/// What can go wrong between us and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The settings do not make a client.
    #[error("`{url}` is no address of a schema registry: {reason}")]
    Address {
        /// What was configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer came.
    #[error(
        "cannot reach the schema registry at `{url}`; check that it runs, and `registry.url` of the target"
    )]
    Unreachable {
        /// The address asked.
        url: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It does not know us, or does not let us (401, 403).
    #[error(
        "the schema registry at `{url}` refuses us ({status}): {message}; check `registry.user` and `registry.password` of the target"
    )]
    Denied {
        /// The address asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It answered that it cannot answer now (429 or 5xx).
    #[error("the schema registry at `{url}` answered {status}: {message}")]
    Busy {
        /// The address asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The registry knows no schema of this id. It may tomorrow.
    #[error("the schema registry knows no schema with id {id}")]
    UnknownSchema {
        /// The id asked for.
        id: u32,
    },
    /// The schema was refused as incompatible with an earlier version.
    #[error("the schema is incompatible with subject `{subject}`: {reason}")]
    Incompatible {
        /// The subject it was meant for.
        subject: String,
        /// The registry's reason.
        reason: String,
    },
    /// Any other refusal: an invalid schema, an operation it does not offer.
    #[error("the schema registry refused `{what}` with {status} (code {code}): {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// Confluent's error code, 0 if none was sent.
        code: u32,
        /// Its words.
        message: String,
    },
    /// The answer is not what the API promises.
    #[error("the answer of the schema registry to `{what}` cannot be read: {reason}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl RegistryError {
    /// What a loop does next.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => Reaction::Retry,
            Self::Address { .. }
            | Self::Denied { .. }
            | Self::UnknownSchema { .. }
            | Self::Incompatible { .. }
            | Self::Refused { .. }
            | Self::Answer { .. } => Reaction::Halt,
        }
    }
}

impl RegistryError {
    /// What an answer means that is no success.
    pub(super) fn refused(url: &str, what: String, status: u16, code: u32, message: String) -> Self {
        let url = || url.to_owned();
        match status {
            401 | 403 => Self::Denied { url: url(), status, message },
            408 | 429 | 500..=599 => Self::Busy { url: url(), status, message },
            _ => Self::Refused { what, status, code, message },
        }
    }
}
