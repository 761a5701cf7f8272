//! Checks of the brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result as Anyhow};
use arrow::array::Array as _;
use avro::{BadSchema, Decoder, Frame};
use catalog::{Envelope, Project, ValueFormat};
use model::TopicName;
use runtime::Clock;
use stream::trial::{self, Bench, Cluster};
use stream::{Admin, Kafka, Registry, internal};

use super::judge::{self, Role};
use super::{Check, SETTINGS};

const REACH: &str = "check that it runs, and `kafka` of the target";

/// Checks that the cluster is reachable, its version, its behaviour, and the settings of every topic.
pub async fn checks(project: &Project, kafka: &Kafka, clock: &dyn Clock, embedded: bool) -> Vec<Check> {
    let cluster = match trial::cluster(kafka).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let todo = if matches!(error, stream::Error::Settings { .. }) { SETTINGS } else { REACH };
            return vec![Check::fail("kafka.reach", error.to_string(), todo)];
        }
    };
    let bootstrap = &kafka.settings().bootstrap;
    let mut checks = vec![judge::brokers(&cluster, bootstrap, embedded), judge::version(&cluster)];
    checks.extend(tried(project, kafka, clock).await);
    match topics(project, kafka, &cluster, embedded).await {
        Ok(of_topics) => checks.extend(of_topics),
        Err(error) => checks.push(Check::fail("topic.settings", error.to_string(), REACH)),
    }
    checks
}

/// Checks of transactions and consumer groups by trying them, and of the brokers' clock.
async fn tried(project: &Project, kafka: &Kafka, clock: &dyn Clock) -> Vec<Check> {
    let allow = "allow creating and deleting `_lakepulse.*` topics; `apply` and `doctor` need it";
    let replication = project.target.topics.replication.unwrap_or(1);
    let bench = match Bench::make(kafka, &project.name, replication).await {
        Ok(bench) => bench,
        Err(error) => return vec![Check::fail("kafka.topic", error.to_string(), allow)],
    };
    let mut checks = Vec::new();
    match bench.transactions(clock).await {
        Ok(seen) => {
            checks.extend(judge::transactions(&seen));
            checks.extend(seen.stamped.map(|stamped| judge::clock("kafka.clock", stamped, 1)));
        }
        Err(error) => {
            let todo = "use a broker with transactions, and allow `transactional.id`s that begin with the project's name";
            checks.push(Check::fail("kafka.transactions", error.to_string(), todo));
        }
    }
    checks.push(match bench.group().await {
        Ok(took) => {
            let took = humantime::format_duration(Duration::from_millis(took.as_millis() as u64));
            Check::ok("kafka.group", format!("a consumer group gave its member a partition in {took}"))
        }
        Err(error) => {
            let todo = "allow consumer groups that begin with the project's name";
            Check::fail("kafka.group", error.to_string(), todo)
        }
    });
    if let Err(error) = bench.clear().await {
        checks.push(Check::warn("kafka.topic", error.to_string(), allow));
    }
    checks
}

async fn topics(
    project: &Project,
    kafka: &Kafka,
    cluster: &Cluster,
    embedded: bool,
) -> stream::Result<Vec<Check>> {
    let admin = Admin::try_new(kafka)?;
    let (mut checks, mut absent, mut sound) = (Vec::new(), Vec::new(), 0);
    for (topic, role) in roles(project) {
        let config = match admin.config(&topic).await {
            Ok(config) => config,
            Err(stream::Error::NoTopic { .. }) => {
                absent.push(format!("`{topic}`"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let copies = cluster.copies.get(topic.as_str()).copied();
        let brokers = cluster.brokers.len();
        let found = judge::topic(topic.as_str(), role, &config, copies, brokers, project.lag_budget);
        sound += usize::from(found.is_empty());
        checks.extend(found);
    }
    if !absent.is_empty() {
        let target = &project.target.name;
        let (seen, listed) = (format!("{} topics are not there: ", absent.len()), absent.join(", "));
        checks.push(if embedded {
            Check::ok("topic.absent", format!("{seen}`up` makes them"))
        } else {
            Check::warn(
                "topic.absent",
                format!("{seen}{listed}"),
                format!("run `lakepulse apply --target {target}`"),
            )
        });
    }
    if sound > 0 {
        checks
            .push(Check::ok("topic.settings", format!("{sound} topics have no setting that loses records")));
    }
    Ok(checks)
}

/// Every topic of the project with its role.
fn roles(project: &Project) -> BTreeMap<TopicName, Role> {
    let input = |envelope| if envelope == Envelope::None { Role::Records } else { Role::Changes };
    let catalog = &project.catalog;
    let inputs = catalog.topics.values().map(|topic| (topic.name.clone(), input(topic.envelope)));
    let gold = catalog.published.keys().map(|topic| (topic.clone(), Role::Gold));
    let own = [
        (internal::commits(&project.name), Role::Hints),
        (internal::progress(&project.name), Role::Memory),
        (internal::cursors(&project.name), Role::Memory),
    ];
    inputs.chain(gold).chain(own).collect()
}

/// Whether Debezium's records say which transaction a change belongs to. Skips topics without records.
pub async fn debezium(project: &Project, kafka: &Kafka, registry: &Registry) -> Vec<Check> {
    let mut checks = Vec::new();
    for topic in project.catalog.topics.values().filter(|topic| topic.envelope == Envelope::Debezium) {
        let seen = match has_transaction(&topic.name, topic.value, kafka, registry).await {
            Ok(Some(has)) => judge::transaction_metadata(topic.name.as_str(), has),
            Ok(None) => continue,
            Err(error) => {
                let todo =
                    "look at its newest records; bronze keeps what it cannot decode as rows with `_error`";
                Check::warn("debezium.transaction", format!("{error:#}"), todo).of(topic.name.as_str())
            }
        };
        checks.push(seen);
    }
    // One line if every topic is fine.
    if checks.len() > 1 && checks.iter().all(|check| check.todo.is_none()) {
        let seen =
            format!("records of {} topics carry their transaction and their order in it", checks.len());
        return vec![Check::ok("debezium.transaction", seen)];
    }
    checks
}

/// Whether the newest record of a topic has a transaction. `None`: no such topic, or no record on it.
async fn has_transaction(
    topic: &TopicName,
    value: ValueFormat,
    kafka: &Kafka,
    registry: &Registry,
) -> Anyhow<Option<bool>> {
    let tails = match stream::tail(kafka, topic).await {
        Err(stream::Error::NoTopic { .. }) => return Ok(None),
        tails => tails?,
    };
    // Any partition will do: one connector writes them all.
    let Some(newest) = tails.values().find_map(|tail| tail.value.as_deref()) else { return Ok(None) };
    match value {
        ValueFormat::Bytes => Ok(None),
        ValueFormat::Json => {
            let json: serde_json::Value =
                serde_json::from_slice(newest).context("the newest record is no JSON")?;
            let envelope = json.get("payload").unwrap_or(&json);
            Ok(Some(envelope.get("transaction").is_some_and(|part| !part.is_null())))
        }
        ValueFormat::Avro => {
            let frame = Frame::decode(newest).context("the newest record is not framed")?;
            let mut decoder = match Decoder::try_new(frame.id, registry.schema(frame.id).await?) {
                // No envelope, so no transaction to look for.
                Err(BadSchema::Shape(_)) => return Ok(None),
                decoder => decoder?,
            };
            if !decoder.check(newest)? {
                return Ok(Some(false));
            }
            let record = decoder.decode(std::iter::once(newest)).context("the newest record is refused")?;
            Ok(Some(record.column_by_name("transaction").is_some_and(|part| part.is_valid(0))))
        }
    }
}
