//! A model of an object store, in memory, as one process sees it.
//!
//! The store itself is `object_store`'s own [`InMemory`]; what is added is [`Fate`]: each request is a step that may
//! fail, with or without effect, or be the last of its process. Objects bear the time of a clock that the test brings.
//! An upload in several parts is no step: nothing of ours makes one.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use runtime::Clock;

use crate::fate::{Fate, Moment, Step, Verdict};

/// A store. Those that are made of the same objects see each other's writes.
#[derive(Clone)]
pub struct Objects {
    objects: Arc<InMemory>,
    /// When each was written, milliseconds.
    written: Arc<Mutex<BTreeMap<Path, i64>>>,
    clock: Arc<dyn Clock>,
    fate: Arc<dyn Fate>,
}

impl Objects {
    /// An empty store in which every request succeeds.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { objects: Arc::new(InMemory::new()), written: Arc::default(), clock, fate: Arc::new(()) }
    }

    /// The same objects for a process whose requests end as `fate` says.
    #[must_use]
    pub fn with(&self, fate: Arc<dyn Fate>) -> Self {
        Self { fate, ..self.clone() }
    }

    /// What is known of an object, with the time of the test's clock.
    fn stamped(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let at = self.written.lock().get(&meta.location).copied();
        meta.last_modified = at.and_then(DateTime::from_timestamp_millis).unwrap_or(meta.last_modified);
        meta
    }

    async fn pass(&self, step: Step, moment: Moment, path: &Path) -> Result<()> {
        match self.fate.at(step, moment, path.as_ref()) {
            Verdict::Go => Ok(()),
            Verdict::Fail => Err(failed()),
            Verdict::Die => std::future::pending().await,
        }
    }

    async fn write(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.objects.put_opts(path, payload, options).await;
        if put.is_ok() {
            self.written.lock().insert(path.clone(), self.clock.now().0);
        }
        put
    }

    /// Reading changes nothing. A dead process gets an error too: threads that are not its own may wait for this.
    fn read(&self, path: Option<&Path>) -> Result<()> {
        match self.fate.at(Step::Get, Moment::Before, path.map_or("", AsRef::as_ref)) {
            Verdict::Go => Ok(()),
            Verdict::Fail | Verdict::Die => Err(failed()),
        }
    }
}

fn failed() -> Error {
    Error::Generic { store: "memory", source: "the test lets it fail".into() }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects in memory")
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let step = if matches!(options.mode, PutMode::Create) { Step::Create } else { Step::Put };
        let verdict = self.fate.at(step, Moment::Before, path.as_ref());
        if verdict != Verdict::Go {
            if let Some(wait) = self.fate.lands_after(step, path.as_ref()) {
                let (store, path) = (self.clone(), path.clone());
                // Nobody waits for it: whoever sent it is dead, or was told that it failed.
                drop(runtime::tasks::spawn("late request", async move {
                    runtime::time::sleep(wait).await;
                    drop(store.write(&path, payload, options).await);
                }));
            }
            return match verdict {
                Verdict::Die => std::future::pending().await,
                _ => Err(failed()),
            };
        }
        let put = self.write(path, payload, options).await;
        self.pass(step, Moment::After, path).await?;
        put
    }
    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(path, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(Some(path))?;
        let mut got = self.objects.get_opts(path, options).await?;
        got.meta = self.stamped(got.meta);
        Ok(got)
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(Some(path))?;
        self.objects.get_ranges(path, ranges).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        paths
            .then(move |path| {
                let store = store.clone();
                async move {
                    let path = path?;
                    store.pass(Step::Delete, Moment::Before, &path).await?;
                    store.objects.delete(&path).await?;
                    store.pass(Step::Delete, Moment::After, &path).await?;
                    Ok(path)
                }
            })
            .boxed()
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read(prefix) {
            Ok(()) => {
                let store = self.clone();
                self.objects.list(prefix).map_ok(move |meta| store.stamped(meta)).boxed()
            }
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read(prefix) {
            Ok(()) => {
                let store = self.clone();
                self.objects.list_with_offset(prefix, offset).map_ok(move |meta| store.stamped(meta)).boxed()
            }
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read(prefix)?;
        let mut listed = self.objects.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(|meta| self.stamped(meta)).collect();
        Ok(listed)
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.pass(Step::Put, Moment::Before, to).await?;
        self.objects.copy_opts(from, to, options).await?;
        self.written.lock().insert(to.clone(), self.clock.now().0);
        self.pass(Step::Put, Moment::After, to).await
    }
}
