//! Reading topics to their ends by librdkafka's batch queue: the most that bronze could reach.
//!
//! [`read`] reads; the process in the role [`ROLE`] does nothing else, and counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use model::{Offset, Reaction, TopicName};
use serde_json::{Value, json};
use stream::{Admin, Consumer, Event, Kafka, Limits, Records};

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
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
}

/// Reads every partition from its start to its end as it is now.
pub async fn read(
    kafka: &Kafka,
    topics: &[TopicName],
    mut each: impl FnMut(&Records) -> Result<()>,
) -> Result<()> {
    let admin = Admin::try_new(kafka)?;
    let (mut open, mut from) = (BTreeMap::new(), Vec::new());
    for topic in topics {
        for (partition, (low, high)) in admin.watermarks(topic).await? {
            if low < high {
                from.push((topic.clone(), partition, low));
                open.insert((topic.clone(), partition), high);
            }
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut consumer = Consumer::assign(kafka, from, Limits::default())?;
    let mut reached = |at: (TopicName, i32), end: Offset| {
        if open.get(&at).is_some_and(|high| end >= *high) {
            open.remove(&at);
        }
        open.is_empty()
    };
    loop {
        let done = match consumer.next().await.context("the consumer ended")? {
            Event::Records(records) => {
                each(&records)?;
                let end = records.next().unwrap_or(Offset(0));
                reached((records.topic.clone(), records.partition), end)
            }
            Event::End(topic, partition, end) => reached((topic, partition), end),
            Event::Lost(loss) => bail!("{loss}"),
            Event::Error(error) if error.reaction() == Reaction::Retry => false,
            Event::Error(error) => return Err(error.into()),
            Event::Assigned(_) | Event::Revoked(_) => false,
        };
        if done {
            consumer.stop().await;
            return Ok(());
        }
    }
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
    let mut count = Count { records: 0, bytes: 0 };
    read(&broker::kafka(bootstrap), &topics, |records| {
        count.records += records.len() as u64;
        count.bytes += records.bytes() as u64;
        Ok(())
    })
    .await?;
    println!("{}", json!({ "records": count.records, "bytes": count.bytes }));
    Ok(())
}
