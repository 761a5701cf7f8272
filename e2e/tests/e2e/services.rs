//! What a pipeline stands on is away: the broker, the registry, room on the disk. At the start and in
//! the middle of a run, nothing is lost or doubled, the process says what is missing, and it goes on by
//! itself.
//!
//! The services are other processes of the binary, killed and started again at the same addresses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Project, Running, count_commits, until};

/// How long a service may be away before its absence is told, and a pipeline may take to catch up.
const SOON: Duration = Duration::from_secs(90);

/// Orders of a run with an outage in the middle of many.
const ORDERS: u64 = 30_000;

/// A broker and a registry outside of the project under test.
pub struct Services {
    project: Project,
    process: Option<Running>,
    /// Where the broker listens, `host:port`.
    pub kafka: String,
    /// Where the registry listens.
    pub registry: String,
}
impl Services {
    pub fn start() -> Self {
        Self::of(Project::empty())
    }
    /// The broker keeps its files on a disk of limited size.
    fn on_a_small_disk() -> Self {
        let mut project = Project::empty();
        project.mount(".lakepulse/broker", 24);
        Self::of(project)
    }
    fn of(project: Project) -> Self {
        project.write("lakepulse.yaml", "version: 1\nname: services\n");
        project.write("topics.yaml", "version: 1\ntopics:\n  services.unused: { value: bytes }\n");
        let mut services = Self { project, process: None, kafka: String::new(), registry: String::new() };
        services.start_again();
        let addresses: Value =
            serde_json::from_str(&services.project.read(".lakepulse/broker.json")).expect("JSON");
        let address = |service: &str| addresses[service].as_str().expect("an address").to_owned();
        (services.kafka, services.registry) = (address("bootstrap"), address("registry"));
        services
    }
    /// Ends both, as a power cut ends a machine.
    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        until("nothing listens any more", SOON, || TcpStream::connect(&self.kafka).is_err());
    }
    /// Where they were before.
    fn start_again(&mut self) {
        self.process = Some(self.project.start(&["bronze"]));
        let addresses = self.project.dir.path().join(".lakepulse/broker.json");
        until("broker and registry answer", SOON, || {
            let Ok(text) = std::fs::read_to_string(&addresses) else { return false };
            let addresses: Value = serde_json::from_str(&text).unwrap_or_default();
            ["bootstrap", "registry"].iter().all(|service| {
                let address = addresses[service].as_str().unwrap_or_default();
                TcpStream::connect(address.trim_start_matches("http://")).is_ok()
            })
        });
    }
}

/// Orders and payments of a shop, fed from files.
struct Shop(Project);
impl Shop {
    /// On the project's own broker and registry.
    fn embedded() -> Self {
        Self::with("")
    }
    /// On services outside, its topics, schemas and tables made.
    fn on(kafka: &Services, registry: &Services) -> Self {
        Self::on_with(kafka, registry, "config: {}")
    }
    /// The same, with settings for Kafka's clients.
    fn on_with(kafka: &Services, registry: &Services, config: &str) -> Self {
        let (kafka, registry) = (&kafka.kafka, &registry.registry);
        let shop = Self::with(&format!(
            "targets:\n  services:\n    kafka: {{ bootstrap: \"{kafka}\", {config} }}\n    \
             registry: {{ url: \"{registry}\" }}\n"
        ));
        shop.0.run(&["apply", "--target", "services"]).ok();
        shop
    }
    fn with(targets: &str) -> Self {
        let project = Project::empty();
        let interval = "commit: { interval: 200ms }";
        project.write("lakepulse.yaml", &format!("version: 1\nname: shop\n{interval}\n{targets}"));
        project.write(
            "topics.yaml",
            "version: 1
defaults: { partitions: 2 }
topics:
  shop.orders: { schema: schemas/order.avsc, key: [id], event_time: at }
  shop.payments: { schema: schemas/payment.avsc, key: [id], event_time: at }
  shop.dead: { value: bytes }
",
        );
        for name in ["Order", "Payment"] {
            let schema = r#"{"type":"record","name":"NAME","namespace":"shop","fields":[
                {"name":"id","type":"string"},{"name":"customer","type":"string"},
                {"name":"cents","type":"long"},{"name":"note","type":["null","string"],"default":null},
                {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
            project.write(&format!("schemas/{}.avsc", name.to_lowercase()), &schema.replace("NAME", name));
        }
        for table in ["orders", "payments"] {
            project.write(
                &format!("models/silver/{table}.sql"),
                &format!(
                    "/* lakepulse\nkind: append\nkeys: [id]\n*/\n\
                     SELECT id, customer, cents, note, at FROM changes(bronze.{table})"
                ),
            );
        }
        project.write(
            "models/gold/customers.sql",
            "/* lakepulse\nkind: table\nkeys: [customer]\npublish: shop.customers\n*/\n\
             SELECT customer, count(*) AS orders, sum(cents) AS cents FROM silver.orders GROUP BY customer",
        );
        Self(project)
    }
    /// Drops a file with these rows into the folder of a stream.
    fn drop_file(&self, stream: &str, rows: Range<u64>) {
        let text: String = rows
            .clone()
            .map(|i| {
                let customer = i % 7;
                format!(
                    "{{\"id\":\"{i}\",\"customer\":\"c{customer}\",\"cents\":{i},\"at\":\"2026-01-01T00:00:00Z\"}}\n"
                )
            })
            .collect();
        self.0.write(&format!("in/{stream}/{}.jsonl", rows.start), &text);
    }
    /// What watches the folder of a stream.
    fn feed(&self, stream: &str, more: &[&str]) -> Vec<String> {
        let (dir, topic) = (format!("in/{stream}"), format!("shop.{stream}"));
        let feed = ["ingest", "files", &dir, "--topic", &topic, "--dead-letters", "shop.dead"];
        feed.iter().chain(more).map(|&word| word.to_owned()).collect()
    }
    /// Rows of a table.
    fn rows(&self, table: &str) -> Option<u64> {
        self.0.value(&format!("SELECT count(*) AS n FROM {table}")).as_u64()
    }
    /// What the processes of a verb have said.
    fn said(&self, verb: &str) -> String {
        self.0.read(&format!("started-{verb}.err"))
    }
    /// Waits until they have said all of it.
    #[track_caller]
    fn until_said(&self, verb: &str, parts: &[&str]) {
        let path = self.0.dir.path().join(format!("started-{verb}.err"));
        let missing = |text: &str| parts.iter().any(|part| !text.contains(part));
        until(&format!("`{verb}` says {parts:?}"), SOON, || {
            !missing(&std::fs::read_to_string(&path).unwrap_or_default())
        });
    }
    /// Each row is in silver once and in gold's sums, nothing panicked, and `verify` finds no fault.
    #[track_caller]
    fn holds(&self, orders: u64, payments: u64, target: &str) {
        assert_eq!(
            (self.rows("silver.orders"), self.rows("silver.payments")),
            (Some(orders), Some(payments))
        );
        let sums = self.0.query("SELECT sum(orders) AS orders, sum(cents) AS cents FROM gold.customers");
        let expected = (Some(orders), Some((0..orders).sum()));
        assert_eq!((sums[0]["orders"].as_u64(), sums[0]["cents"].as_u64()), expected, "{sums:?}");
        assert!(!self.said("up").contains("panicked"), "{}", self.said("up"));
        self.0.run(&["verify", "--target", target]).ok();
    }
    /// Waits until gold has counted all orders.
    #[track_caller]
    fn until_counted(&self, orders: u64) {
        until(&format!("gold counts {orders} orders"), SOON, || {
            let counted = self.0.value("SELECT coalesce(sum(orders), 0) AS n FROM gold.customers");
            counted.as_u64() == Some(orders)
        });
    }
}

/// A test that fails shows what its processes said.
impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for verb in ["up", "bronze", "ingest"] {
                let path = self.0.dir.path().join(format!("started-{verb}.err"));
                println!("--- {verb}\n{}", std::fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
}

/// Everything but the sources, outside services, health at a known address.
fn up(health: &str) -> [&str; 7] {
    ["up", "--plain", "--no-sources", "--target", "services", "--listen", health]
}

/// An address nobody listens on.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// What `/health/ready` answers.
fn ready(address: &str) -> Option<u16> {
    get(address, "/health/ready")?.split(' ').nth(1)?.parse().ok()
}

/// What a plain HTTP server answers, headers and all. `None`: nobody does.
pub fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Starts what a list of words says.
fn start(project: &Project, words: &[String]) -> Running {
    project.start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs it to its end.
fn run(project: &Project, words: &[String]) {
    project.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
}

#[test]
fn a_broker_that_is_down_at_the_start_is_named_and_waited_for() {
    let mut services = Services::start();
    let shop = Shop::on(&services, &services);
    shop.drop_file("orders", 0..300);
    run(&shop.0, &shop.feed("orders", &["--until-drained", "--target", "services"]));
    services.stop();
    let health = free_address();
    let mut all = shop.0.start(&up(&health));
    let bronze = shop.0.start(&["bronze", "--until-drained", "--target", "services"]);
    for verb in ["up", "bronze"] {
        shop.until_said(verb, &[&services.kafka, "check that it runs", "kafka.bootstrap"]);
    }
    assert!(all.alive(), "{}", shop.said("up"));
    assert_eq!(ready(&health), Some(503));
    services.start_again();
    assert_eq!(bronze.wait(SOON), Some(0), "{}", shop.said("bronze"));
    until("ready", SOON, || ready(&health) == Some(200));
    shop.until_counted(300);
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(300, 0, "services");
}

#[test]
fn a_broker_that_goes_down_in_the_middle_loses_and_doubles_nothing() {
    let mut services = Services::start();
    let shop = Shop::on(&services, &services);
    let mut all = shop.0.start(&up("127.0.0.1:0"));
    let _feed = start(&shop.0, &shop.feed("orders", &["--target", "services"]));
    shop.drop_file("orders", 0..300);
    shop.until_counted(300);
    services.stop();
    shop.drop_file("orders", 300..600);
    for verb in ["up", "ingest"] {
        shop.until_said(verb, &[&services.kafka, "check that it runs"]);
    }
    assert!(all.alive(), "{}", shop.said("up"));
    services.start_again();
    shop.until_counted(600);
    // Once more, with transactions and commits on their way.
    let bronze = shop.0.dir.path().join(".lakepulse/lake/bronze");
    let before = count_commits(&bronze);
    shop.drop_file("orders", 600..ORDERS);
    until("bronze commits", SOON, || count_commits(&bronze) > before);
    services.stop();
    services.start_again();
    shop.until_counted(ORDERS);
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(ORDERS, 0, "services");
}

#[test]
fn a_registry_that_is_down_at_the_start_is_named_and_waited_for() {
    let (broker, mut registry) = (Services::start(), Services::start());
    let shop = Shop::on(&broker, &registry);
    shop.drop_file("orders", 0..300);
    run(&shop.0, &shop.feed("orders", &["--until-drained", "--target", "services"]));
    registry.stop();
    let mut all = shop.0.start(&up("127.0.0.1:0"));
    shop.until_said("up", &[&registry.registry, "check that it runs", "registry.url", "schema_id"]);
    assert!(all.alive(), "{}", shop.said("up"));
    assert_eq!(
        shop.rows("bronze.orders"),
        Some(0),
        "a record is no error row because nobody could decode it"
    );
    registry.start_again();
    shop.until_counted(300);
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(300, 0, "services");
}

#[test]
fn a_registry_that_goes_down_in_the_middle_stops_only_tables_whose_schemas_are_new() {
    let (broker, mut registry) = (Services::start(), Services::start());
    let shop = Shop::on(&broker, &registry);
    let all = shop.0.start(&up("127.0.0.1:0"));
    let feeds = ["orders", "payments"].map(|stream| {
        shop.0.write(&format!("in/{stream}/bad.jsonl"), "no row\n");
        start(&shop.0, &shop.feed(stream, &["--target", "services"]))
    });
    shop.drop_file("orders", 0..300);
    shop.until_counted(300);
    // Both feeds have registered their schemas once their bad line is on the topic.
    until("two bad lines", SOON, || shop.rows("bronze.dead") == Some(2));
    registry.stop();
    shop.drop_file("orders", 300..600);
    shop.drop_file("payments", 0..200);
    shop.until_counted(600);
    shop.until_said("up", &[&registry.registry, "check that it runs", "registry.url"]);
    assert_eq!(shop.rows("bronze.payments"), Some(0), "their schema is not known yet");
    registry.start_again();
    until("payments arrive", SOON, || shop.rows("silver.payments") == Some(200));
    drop(feeds);
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(600, 200, "services");
}

#[test]
fn a_full_lake_is_named_and_nothing_is_lost_once_there_is_room() {
    let mut shop = Shop::embedded();
    shop.0.mount(".lakepulse/lake", 24);
    let mut all = shop.0.start(&["up", "--plain", "--no-sources"]);
    let _feed = start(&shop.0, &shop.feed("orders", &[]));
    shop.drop_file("orders", 0..300);
    until("tables are made", SOON, || shop.0.run(&["query", "SELECT 1 FROM gold.customers"]).code == Some(0));
    shop.until_counted(300);
    shop.0.disk().fill(0);
    shop.drop_file("orders", 300..2_000);
    shop.until_said("up", &["no space left in the lake for", "lake/bronze/orders/", "free some"]);
    assert!(all.alive(), "{}", shop.said("up"));
    shop.0.disk().free();
    shop.until_counted(2_000);
    // Once more, with room for the first of what silver and gold would write.
    shop.0.disk().fill(16);
    shop.drop_file("orders", 2_000..2_100);
    shop.drop_file("payments", 0..100);
    run(&shop.0, &shop.feed("payments", &["--until-drained"]));
    let full = || shop.said("up").matches("no space left").count();
    let before = full();
    until("it is full again", SOON, || full() > before);
    assert!(all.alive(), "{}", shop.said("up"));
    shop.0.disk().free();
    shop.until_counted(2_100);
    until("payments arrive", SOON, || shop.rows("silver.payments") == Some(100));
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(2_100, 100, "embedded");
}

#[test]
fn a_full_broker_is_named_and_nothing_is_lost_once_there_is_room() {
    let services = Services::on_a_small_disk();
    // Transactions of this length end while there is no room.
    let shop = Shop::on_with(&services, &services, "config: { transaction.timeout.ms: 5000 }");
    let mut all = shop.0.start(&up("127.0.0.1:0"));
    let mut feed = start(&shop.0, &shop.feed("orders", &["--target", "services"]));
    shop.drop_file("orders", 0..300);
    shop.until_counted(300);
    services.project.disk().fill(0);
    shop.drop_file("orders", 300..5_000);
    until("the broker says what is wrong, and it or the feed gives the transaction up", SOON, || {
        let said = services.project.read("started-bronze.err");
        let parts = ["No space left on device", ".lakepulse/broker", "free some"];
        let by_broker = said.contains("it was open for too long");
        let by_feed = shop.said("ingest").contains("read on from their cursors");
        parts.iter().all(|part| said.contains(part)) && (by_broker || by_feed)
    });
    assert!(all.alive(), "{}", shop.said("up"));
    services.project.disk().free();
    shop.until_counted(5_000);
    assert!(feed.alive(), "{}", shop.said("ingest"));
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0), "{}", shop.said("up"));
    shop.holds(5_000, 0, "services");
}
