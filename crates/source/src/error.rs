//! Why a source stops, and what the loop does next.

use std::fmt;

use model::Reaction;
use runtime::Failure;

/// Why a source stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the connector says.
    #[error(transparent)]
    Connector(Cause),
    /// A source that comes to its own end when it is stopped could not.
    #[error("stopped before kafka had acknowledged all records; the next run sends what is missing")]
    Unacknowledged,
}

/// An error of a connector's own type, shown as that one, with what the loop does about it.
#[derive(Debug)]
pub struct Cause {
    error: Box<dyn std::error::Error + Send + Sync>,
    reaction: Reaction,
}
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Failure for Error {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Connector(cause) => cause.reaction,
            Self::Unacknowledged => Reaction::Reload,
        }
    }
    /// What may pass is waited for: a source has one system, which has to answer.
    fn patience(&self) -> Option<u32> {
        None
    }
}

impl Error {
    /// An error of a connector's own type.
    pub fn new(reaction: Reaction, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Connector(Cause { error: Box::new(error), reaction })
    }
    /// The connector's own error.
    ///
    /// # Errors
    /// Gives the error back when it is of another type.
    pub fn downcast<E: std::error::Error + Send + Sync + 'static>(self) -> Result<E, Self> {
        match self {
            Self::Connector(Cause { error, reaction }) => match error.downcast() {
                Ok(error) => Ok(*error),
                Err(error) => Err(Self::Connector(Cause { error, reaction })),
            },
            Self::Unacknowledged => Err(self),
        }
    }
    /// Whether another producer has the transactional id, or a transaction was open for too long.
    pub(crate) fn is_fenced(&self) -> bool {
        let Self::Connector(cause) = self else { return false };
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(cause.error.as_ref());
        while let Some(error) = next {
            if matches!(error.downcast_ref(), Some(stream::Error::Fenced { .. })) {
                return true;
            }
            next = error.source();
        }
        false
    }
}
