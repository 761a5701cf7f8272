//! The object store below a lake.
//!
//! A commit is one PUT that must create its object or fail. The S3 client resends a request whose answer was
//! lost. The second request for our own create then meets our own object, so a commit that landed looks like a
//! lost race. So creates go through a client that never resends, and the outcome "unknown" reaches the commit
//! loop. All other requests may be repeated and go through a client that does so.

pub mod settings;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreUrl;
use delta_kernel::Engine;
use deltalake::logstore::{LogStore as _, StorageConfig, default_logstore};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RetryConfig,
};
use url::Url;

use crate::store::settings::{LakeSettings, Scheme};
use crate::{Error, Result};

/// A store, the lake's place in it, and the Delta kernel's view of it.
#[derive(Clone)]
pub(crate) struct Store {
    /// Its root is the bucket, or `/` for local files.
    pub objects: Arc<dyn ObjectStore>,
    /// Reads checkpoints and log segments.
    pub engine: Arc<dyn Engine>,
    /// The URL of the lake, with a trailing slash.
    pub url: Url,
    /// The lake's path below the store's root.
    pub root: Path,
    /// Identifies this store in a DataFusion session.
    pub key: ObjectStoreUrl,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.url)
    }
}

/// The outcome of a create, as far as it is known.
#[derive(Debug)]
pub(crate) enum Created {
    /// The object was created.
    Yes,
    /// The object exists. It may be the one we sent.
    Exists,
    /// The object may or may not have been created.
    Unknown(object_store::Error),
}

static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// A store over `objects`. Call it inside a tokio runtime, preferably a multi-threaded one.
    pub fn over(url: Url, objects: Arc<dyn ObjectStore>) -> Result<Self> {
        let bad = |fault: String| Error::BadSettings { url: url.to_string(), fault };
        let root = Path::from_url_path(url.path()).map_err(|e| bad(e.to_string()))?;
        let key = format!("lake-{}://", SESSIONS.fetch_add(1, Ordering::Relaxed));
        let key = ObjectStoreUrl::parse(key).map_err(|e| bad(e.to_string()))?;
        let log = default_logstore(objects.clone(), objects.clone(), &url, &StorageConfig::default());
        Ok(Self { engine: log.engine(None), objects, url, root, key })
    }

    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<()> {
        self.objects.put(path, bytes.into()).await.map(drop).map_err(|e| unreachable(path, e))
    }

    /// Creates `path` in one attempt.
    pub async fn create(&self, path: &Path, bytes: Bytes) -> Created {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(path, bytes.into(), options).await {
            Ok(_) => Created::Yes,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Created::Exists
            }
            Err(error) => Created::Unknown(error),
        }
    }

    /// The object's bytes; `None` if there is no such object.
    pub async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.objects.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unreachable(path, error)),
        }
    }

    /// One range of a file that the log refers to.
    pub async fn range(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        self.objects.get_range(path, range).await.map_err(|e| missing(path, e))
    }

    /// Ranges of a file that the log refers to.
    pub async fn ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(path, ranges).await.map_err(|e| missing(path, e))
    }

    /// Size of a file that the log refers to.
    pub async fn size(&self, path: &Path) -> Result<u64> {
        Ok(self.objects.head(path).await.map_err(|e| missing(path, e))?.size)
    }
}

pub(crate) fn unreachable(path: &Path, source: object_store::Error) -> Error {
    let path = path.to_string();
    if is_full(&source) { Error::Full { path, source } } else { Error::Unreachable { path, source } }
}

/// Whether an error anywhere in the chain says that the disk is full.
pub(crate) fn is_full(error: &object_store::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(StorageFull | QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn missing(path: &Path, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::FileMissing { path: path.to_string(), source },
        _ => unreachable(path, source),
    }
}

/// Milliseconds since the epoch, for fields of the log that people read. No event is ordered by it; compaction begins
/// with the files that it says are the oldest.
pub(crate) fn wall_ms() -> i64 {
    runtime::Clock::now(&runtime::WallClock).0
}

/// The client for a checked URL.
pub(crate) fn client(settings: &LakeSettings, scheme: Scheme, url: &Url) -> Result<Arc<dyn ObjectStore>> {
    Ok(match scheme {
        Scheme::File => Arc::new(LocalFileSystem::new()),
        Scheme::Memory => Arc::new(InMemory::new()),
        Scheme::S3 => {
            let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
            Arc::new(CreateOnce {
                store: s3(settings, url, RetryConfig::default())?,
                once: s3(settings, url, once)?,
            })
        }
    })
}

fn s3(settings: &LakeSettings, url: &Url, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    let bad = |fault: String| Error::BadSettings { url: url.to_string(), fault };
    let keyed = settings.options.keys().any(|k| k.contains("access_key"));
    // Without keys in the settings, the lake takes them from the environment, as any S3 tool does.
    let mut builder = if keyed { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder.with_url(url.as_str()).with_retry(retry);
    if builder.get_config_value(&AmazonS3ConfigKey::Region).is_none() {
        builder = builder.with_region("us-east-1");
    }
    for (name, value) in &settings.options {
        let known = match name.as_str() {
            "access_key" => "access_key_id",
            "secret_key" => "secret_access_key",
            "ca" => continue,
            other => other,
        };
        let key: AmazonS3ConfigKey =
            known.parse().map_err(|_| bad(format!("option `{name}` is not known to the S3 client")))?;
        if key == AmazonS3ConfigKey::Endpoint && value.reveal().starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        builder = builder.with_config(key, value.reveal());
    }
    let hidden = |error: object_store::Error| {
        bad(settings.options.values().fold(error.to_string(), |text, value| value.hide_in(&text)))
    };
    if let Some(ca) = settings.options.get("ca") {
        builder = builder.with_http_connector(Trusting { ca: trusted(ca.reveal()).map_err(bad)? });
    }
    Ok(Arc::new(builder.build().map_err(hidden)?))
}

/// Reads certificates from a file.
fn trusted(path: &str) -> Result<Vec<Certificate>, String> {
    let help = "`ca` is a file of certificates in PEM";
    let pem = std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}; {help}"))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(ca) if ca.is_empty() => Err(format!("there is no certificate in `{path}`; {help}")),
        Ok(ca) => Ok(ca),
        Err(error) => Err(format!("cannot use `{path}`: {error}; {help}")),
    }
}

/// Makes HTTP clients that trust additional certificates and keep all other options.
#[derive(Debug)]
struct Trusting {
    ca: Vec<Certificate>,
}
impl HttpConnector for Trusting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let trust = |options: ClientOptions, ca: &Certificate| options.with_root_certificate(ca.clone());
        ReqwestConnector::default().connect(&self.ca.iter().fold(options.clone(), trust))
    }
}

/// Sends creates through `once`, and all other requests through `store`.
#[derive(Debug)]
struct CreateOnce {
    store: Arc<dyn ObjectStore>,
    once: Arc<dyn ObjectStore>,
}

impl fmt::Display for CreateOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for CreateOnce {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let client = if matches!(options.mode, PutMode::Create) { &self.once } else { &self.store };
        client.put_opts(path, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(path, options).await
    }
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.store.get_ranges(path, ranges).await
    }
    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// All objects below a path.
pub(crate) async fn list(store: &Store, path: &Path) -> Result<Vec<ObjectMeta>> {
    store.objects.list(Some(path)).try_collect().await.map_err(|e| unreachable(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_that_is_none_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem").display().to_string();
        assert!(trusted(&path).is_err_and(|fault| fault.contains(&path) && fault.contains("cannot read")));
        std::fs::write(&path, "no certificate").expect("written");
        assert!(trusted(&path).is_err_and(|fault| fault.contains("there is no certificate")));
    }
}
