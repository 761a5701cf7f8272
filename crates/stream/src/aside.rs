//! Calls of the client library that block until a broker answers.
//!
//! They wait rather than compute, for as long as a broker is down, so they get a thread of their own
//! and none of the permits of `runtime::cpu`.

use std::ops::Deref;

use tokio::sync::oneshot;

use crate::{Error, Result};

/// Runs `work` on a thread of its own. Dropping the future leaves the thread to end alone.
pub(crate) async fn run<T, F>(name: &'static str, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| Error::NoThread { reason: error.to_string() })?;
    result.await.map_err(|_| Error::Broken { reason: format!("thread `{name}` panicked") })
}

/// A client whose destructor waits for its own threads: it is dropped on a thread, so that an async
/// task that lets go of it does not wait.
pub(crate) struct Parked<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Parked<T> {
    pub fn new(client: T) -> Self {
        Self(Some(client))
    }
}
impl<T: Send + 'static> Deref for Parked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("only `drop` takes it")
    }
}
impl<T: Send + 'static> Drop for Parked<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        // No thread to be had: the closure, and the client with it, is dropped right here.
        drop(std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(client)));
    }
}
