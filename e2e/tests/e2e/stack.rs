//! The real services: `compose/native/stack`, shared by all tests or one test's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use crate::harness::until;

/// Where the tests run: unset for the embedded services, `compose` for the real ones.
pub const TARGET: &str = "LAKEPULSE_E2E_TARGET";

/// What the pipeline stands on.
const SERVICES: [&str; 3] = ["kafka", "registry", "minio"];

/// Partitions of every topic of the reference project.
pub const PARTITIONS: i32 = 6;
/// How long a broker may think.
const SOON: Duration = Duration::from_secs(10);

/// Servers, and what their clients need to know.
pub struct Stack {
    /// Settings of `compose/native/stack`, by their names in the environment. Empty: its defaults.
    settings: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    /// Stopped and deleted with this.
    own: Option<TempDir>,
}

/// Where clients find the services; one of them may be a proxy's address.
#[derive(Debug, Clone)]
pub struct Places {
    /// `host:port`.
    pub kafka: String,
    pub registry: String,
    pub minio: String,
}

impl Stack {
    /// The real services that all tests share, if the environment says that tests run on them.
    pub fn chosen() -> Option<Arc<Self>> {
        match std::env::var(TARGET).ok().as_deref() {
            None | Some("" | "embedded") => None,
            Some("compose") => Some(Self::shared()),
            Some(other) => panic!("{TARGET} is `{other}`: it may be `embedded` or `compose`"),
        }
    }
    /// The real services that all tests share. They must be up.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Stack>> = LazyLock::new(|| {
            let mut stack = Stack { settings: BTreeMap::new(), keys: BTreeMap::new(), own: None };
            let status = stack.script(&["status"]).args(SERVICES).output().expect("bash runs");
            assert!(
                status.status.success(),
                "these tests need the real services: `e2e/real`, or `compose/native/stack up`\n{}{}",
                String::from_utf8_lossy(&status.stdout),
                String::from_utf8_lossy(&status.stderr)
            );
            stack.learn_keys();
            Arc::new(stack)
        });
        SHARED.clone()
    }
    /// Servers of this test alone, to be killed. Their programs are those of the shared stack.
    pub fn own() -> Arc<Self> {
        Self::own_behind(None)
    }
    /// The same; Kafka sends its clients to the port of a proxy.
    pub fn own_behind(proxy: Option<u16>) -> Arc<Self> {
        let dir = tempfile::Builder::new().prefix("lakepulse-stack-").tempdir().expect("a temporary folder");
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: String| settings.insert(format!("LAKEPULSE_STACK_{name}"), value);
        set("DIR", dir.path().join("stack").display().to_string());
        set("PROGRAMS", shared_folder().join("install").display().to_string());
        for port in PORTS {
            set(port, free_port().to_string());
        }
        if let Some(port) = proxy {
            set("KAFKA_ADVERTISED_PORT", port.to_string());
        }
        let mut stack = Self { settings, keys: BTreeMap::new(), own: Some(dir) };
        for service in SERVICES {
            stack.up(service);
        }
        stack.learn_keys();
        Arc::new(stack)
    }

    /// `compose/native/stack` with this stack's settings.
    fn script(&self, args: &[&str]) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let mut command = Command::new(root.join("compose/native/stack"));
        command.args(args).envs(&self.settings).envs(&self.keys);
        command
    }
    fn learn_keys(&mut self) {
        let said = self.script(&["env"]).output().expect("bash runs");
        let lines = String::from_utf8_lossy(&said.stdout).into_owned();
        let pairs = lines.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        self.keys = pairs.map(|(name, key)| (name.to_owned(), key.to_owned())).collect();
        assert!(self.keys.contains_key("LAKE_ACCESS_KEY"), "{lines}");
    }
    /// Starts a service, unless it runs, and waits until it is ready.
    pub fn up(&self, service: &str) {
        let up = self.script(&["up", service]).output().expect("bash runs");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    }
    /// `kill -9`.
    pub fn kill(&self, service: &str) {
        self.signal(service, "KILL");
    }
    /// Sends a signal to the server.
    pub fn signal(&self, service: &str, signal: &str) {
        assert!(self.own.is_some(), "servers that others use are not killed");
        let file = self.folder().join("run").join(format!("{service}.pid"));
        let text = std::fs::read_to_string(&file).expect("it was started");
        let pid = text.split(' ').next().expect("a pid");
        let sent = Command::new("kill").args(["-s", signal, pid]).status().expect("kill runs");
        assert!(sent.success(), "{service} runs as {pid}");
    }
    fn folder(&self) -> PathBuf {
        self.settings.get("LAKEPULSE_STACK_DIR").map_or_else(shared_folder, PathBuf::from)
    }

    /// Secrets, by their names in the environment.
    pub fn keys(&self) -> &BTreeMap<String, String> {
        &self.keys
    }
    /// Where it is found without anything in between.
    pub fn places(&self) -> Places {
        let at = |name: &str, default: &str| {
            let name = format!("LAKEPULSE_STACK_{name}_PORT");
            let port = self.settings.get(&name).cloned().or_else(|| std::env::var(&name).ok());
            format!("127.0.0.1:{}", port.unwrap_or_else(|| default.to_owned()))
        };
        Places { kafka: at("KAFKA", "9092"), registry: at("REGISTRY", "8081"), minio: at("MINIO", "9000") }
    }

    /// Where Trino is found, once it was started.
    pub fn trino(&self) -> String {
        format!("127.0.0.1:{}", self.settings["LAKEPULSE_STACK_TRINO_PORT"])
    }

    /// Kafka's administration.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.kafka_client().create().expect("settings are valid")
    }
    /// Settings of any client of Kafka.
    pub fn kafka_client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.places().kafka);
        config
    }
    /// The lake's bucket.
    pub fn bucket(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.places().minio))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name("lake")
            .with_access_key_id(&self.keys["LAKE_ACCESS_KEY"])
            .with_secret_access_key(&self.keys["LAKE_SECRET_KEY"])
            .build()
            .expect("settings are valid")
    }
    /// Paths of the objects below a folder of the bucket.
    pub fn objects(&self, folder: &str) -> Vec<String> {
        let (bucket, folder) = (self.bucket(), folder.into());
        wait_for(async move {
            let found = bucket.list(Some(&folder)).map_ok(|object| object.location.to_string());
            found.try_collect().await.expect("the store answers")
        })
    }
    /// Forgets a project: its topics and its lake.
    pub fn forget(&self, id: &str) {
        let (admin, bucket) = (self.admin(), self.bucket());
        let internal = format!("_lakepulse.{id}.");
        let metadata = admin.inner().fetch_metadata(None, SOON);
        let Ok(metadata) = metadata else { return };
        let topics = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
        let ours = |name: &&str| name.starts_with(&format!("{id}.")) || name.starts_with(&internal);
        let topics: Vec<&str> = topics.filter(ours).collect();
        let folder = id.into();
        // What stays in spite of it is in nobody's way.
        wait_for(async move {
            drop(admin.delete_topics(&topics, &AdminOptions::new()).await);
            let objects = bucket.list(Some(&folder)).map_ok(|object| object.location).boxed();
            bucket.delete_stream(objects).for_each(|_| async {}).await;
        });
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.own.is_some() {
            let _ = self.script(&["down"]).output();
        }
    }
}

/// Where the logs of a topic's partitions start and end: for a reader of committed records, or of all.
pub struct Ends {
    client: BaseConsumer,
    topic: String,
}
impl Ends {
    /// `isolation` is `read_committed` or `read_uncommitted`.
    pub fn of(stack: &Stack, topic: &str, isolation: &str) -> Self {
        let mut config = stack.kafka_client();
        config.set("isolation.level", isolation).set("group.id", "ends");
        Self { client: config.create().expect("settings are valid"), topic: topic.to_owned() }
    }
    /// As they are now, by partition.
    pub fn now(&self) -> Vec<(i64, i64)> {
        let mut ends = Vec::new();
        until("the broker answers", SOON * 30, || {
            let of = |partition| self.client.fetch_watermarks(&self.topic, partition, SOON);
            (0..PARTITIONS).map(of).collect::<Result<_, _>>().map(|now| ends = now).is_ok()
        });
        ends
    }
}

/// Runs a future to its end, from a test that is none.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The folder of the stack that is shared, as `compose/native/settings.sh` has it.
fn shared_folder() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("LAKEPULSE_STACK_DIR").unwrap_or_else(|| {
        let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
        cache.expect("HOME is set").join("lakepulse/stack")
    })
}

const PORTS: [&str; 8] = [
    "KAFKA_PORT",
    "KAFKA_CONTROLLER_PORT",
    "KAFKA_METRICS_PORT",
    "REGISTRY_PORT",
    "REGISTRY_MANAGEMENT_PORT",
    "MINIO_PORT",
    "MINIO_CONSOLE_PORT",
    "TRINO_PORT",
];

/// A port nobody listens on, outside of the range that outgoing connections take theirs from: a server
/// that is killed finds it free again.
pub fn free_port() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().expect("no panic holds it");
    // Several processes of tests begin at different places.
    let begin = 15_000 + u16::try_from(std::process::id() % 150).expect("below 150") * 100;
    loop {
        assert!(*next < 1_500, "no free port from {begin} on");
        let port = begin + *next;
        *next += 1;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
