//! A store that lies about its creates. Every fault here is one that real stores show: a lost answer, a
//! request that was resent and met its own object, a conflict with nothing written, a request that
//! arrives after its sender gave up.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// What happens to one create of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It lands, and the answer is lost.
    LandsUnanswered,
    /// It lands, is sent again, and meets itself.
    LandsAndExists,
    /// Nothing lands, and the answer is lost.
    LostUnanswered,
    /// Nothing lands, and the store says there was a conflict.
    LostAndExists,
    /// The answer is lost, and it lands just before the next create arrives.
    LandsLate,
    /// There is no room for it.
    Full,
}

/// Wraps a store.
#[derive(Debug)]
pub(super) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    faults: Mutex<VecDeque<Fault>>,
    late: tokio::sync::Mutex<Option<(Path, PutPayload, PutOptions)>>,
    /// Creates overwrite, as on a store that ignores the condition.
    forgetful: AtomicBool,
    /// Nothing can be read.
    silent: AtomicBool,
}

impl FaultStore {
    pub fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            late: tokio::sync::Mutex::default(),
            forgetful: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        }
    }
    /// The next creates of log entries meet these, in this order.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().extend(faults);
    }
    pub fn forget_conditions(&self) {
        self.forgetful.store(true, Ordering::SeqCst);
    }
    /// Whether reads get no answer from now on.
    pub fn answer(&self, answers: bool) {
        self.silent.store(!answers, Ordering::SeqCst);
    }
    /// Whether every planned fault has happened: a test whose faults did not happen shows nothing.
    pub fn all_happened(&self) -> bool {
        self.faults.lock().is_empty()
    }
}

fn unanswered() -> Error {
    Error::Generic { store: "faults", source: "connection reset".into() }
}
fn full() -> Error {
    Error::Generic {
        store: "faults",
        source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    }
}
fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "412".into() }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if !matches!(options.mode, PutMode::Create) {
            return self.inner.put_opts(path, payload, options).await;
        }
        if self.forgetful.load(Ordering::SeqCst) {
            options.mode = PutMode::Overwrite;
            return self.inner.put_opts(path, payload, options).await;
        }
        if let Some((path, payload, options)) = self.late.lock().await.take() {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        let is_entry = path.as_ref().contains("_delta_log/");
        let fault = if is_entry { self.faults.lock().pop_front() } else { None };
        match fault {
            None => self.inner.put_opts(path, payload, options).await,
            Some(Fault::LandsUnanswered) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(unanswered())
            }
            Some(Fault::LandsAndExists) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(exists(path))
            }
            Some(Fault::LostUnanswered) => Err(unanswered()),
            Some(Fault::LostAndExists) => Err(exists(path)),
            Some(Fault::Full) => Err(full()),
            Some(Fault::LandsLate) => {
                *self.late.lock().await = Some((path.clone(), payload, options));
                Err(unanswered())
            }
        }
    }
    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(unanswered());
        }
        self.inner.get_opts(path, options).await
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
