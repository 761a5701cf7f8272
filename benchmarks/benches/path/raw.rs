//! Reading topics to their ends by librdkafka's batch queue: the most that bronze could reach.
//!
//! The process in the role [`ROLE`] does nothing but take messages from the batch queue and count.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use model::{Offset, TopicName};
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, TopicPartitionList};
use serde_json::{Value, json};
use stream::Admin;

use crate::broker;
use crate::process::{Cost, Process};

/// The role of the process that counts.
pub const ROLE: &str = "raw";
/// Longer than reading may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Reads the topics in a process of its own.
pub async fn measure(bootstrap: &str, topics: &[TopicName], dir: &Path) -> Result<(Count, Cost)> {
    eprintln!("raw consume …");
    let out = dir.join("raw.out");
    let mut command = Command::new(std::env::current_exe()?);
    command.env(crate::ROLE, ROLE).arg(bootstrap).args(topics.iter().map(TopicName::as_str));
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&out)?);
    let cost = Process::start("raw", &mut command, dir)?.ended(PATIENCE).await?;
    let said: Value =
        serde_json::from_slice(&std::fs::read(&out)?).context("what the raw consumer counted")?;
    let number =
        |name: &str| said[name].as_u64().with_context(|| format!("the raw consumer says no `{name}`"));
    Ok((Count { records: number("records")?, bytes: number("bytes")? }, cost))
}

/// The process: `BOOTSTRAP TOPIC…`. Prints what it counted.
pub async fn run(args: &[String]) -> Result<()> {
    let [bootstrap, topics @ ..] = args else { bail!("role `{ROLE}` takes an address and topics") };
    let topics = topics.iter().map(|topic| topic.parse()).collect::<Result<Vec<TopicName>, _>>()?;
    let mut spans = Vec::new();
    let admin = Admin::try_new(&broker::kafka(bootstrap))?;
    for topic in topics {
        let ends = admin.watermarks(&topic).await?.into_iter().filter(|(_, (low, high))| low < high);
        spans.extend(ends.map(|(partition, (low, _))| (topic.clone(), partition, low)));
    }
    let bootstrap = bootstrap.clone();
    let count = std::thread::spawn(move || drain(&bootstrap, &spans));
    let count = count.join().map_err(|_| anyhow::anyhow!("the raw consumer panicked"))??;
    println!("{}", json!({ "records": count.records, "bytes": count.bytes }));
    Ok(())
}

/// Takes every message of the partitions up to their ends, and nothing more.
#[allow(unsafe_code, reason = "the safe layer has no batch call")]
fn drain(bootstrap: &str, spans: &[(TopicName, i32, Offset)]) -> Result<Count> {
    let config = [
        ("bootstrap.servers", bootstrap),
        ("group.id", "raw"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("fetch.queue.backoff.ms", "20"),
    ];
    let config: ClientConfig =
        config.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for (topic, partition, from) in spans {
        list.add_partition_offset(topic.as_str(), *partition, rdkafka::Offset::Offset(from.0))?;
    }
    consumer.assign(&list)?;
    let (mut count, mut open) = (Count { records: 0, bytes: 0 }, spans.len());
    let mut taken: Vec<*mut rd::rd_kafka_message_t> = vec![std::ptr::null_mut(); 10_000];
    // SAFETY: the client lives until the end of this function, and its queue until it is destroyed below.
    let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    while open > 0 {
        // SAFETY: the queue is live, and there is room for as many messages as are asked for.
        let n = unsafe { rd::rd_kafka_consume_batch_queue(queue, 20, taken.as_mut_ptr(), taken.len()) };
        for message in &taken[..usize::try_from(n).unwrap_or(0)] {
            // SAFETY: taken just now; read, then destroyed once.
            unsafe {
                match (**message).err {
                    rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                        count.records += 1;
                        count.bytes += ((**message).len + (**message).key_len) as u64;
                    }
                    rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => open -= 1,
                    other => bail!("raw consume: {other:?}"),
                }
                rd::rd_kafka_message_destroy(*message);
            }
        }
    }
    // SAFETY: the last use of it.
    unsafe { rd::rd_kafka_queue_destroy(queue) }
    Ok(count)
}
