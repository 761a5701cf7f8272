//! Turns what was seen into verdicts, without any I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime::format_duration;
use lake::probe::Tried;
use model::ClockMs;
use stream::trial::{Cluster, Copies, Stamped, Transactions};

use super::Check;

#[cfg(test)]
mod tests;
mod topic;

pub use topic::{Role, topic};

/// Requests of Kafka's protocol, by number, whose supported versions tell releases apart.
mod request {
    pub const FETCH: i16 = 1;
    pub const METADATA: i16 = 3;
    pub const INIT_PRODUCER: i16 = 22;
    pub const DESCRIBE_TRANSACTIONS: i16 = 65;
}

/// Checks the Kafka release. Brokers never report it; the supported request versions identify it.
pub fn version(cluster: &Cluster) -> Check {
    let versions = |request| cluster.requests.get(&request).copied();
    let Some((_, metadata)) = versions(request::METADATA) else {
        let todo = "LakePulse is tried on Kafka 2.8 and later";
        return Check::warn("kafka.version", "the broker does not say what it understands", todo);
    };
    // Topic ids came with Metadata 10. They tell a topic that was deleted and created again from the old one.
    if metadata < 10 {
        let todo = "use Kafka 2.8 or later";
        return Check::fail("kafka.version", "older than 2.8: topics have no ids", todo);
    }
    if versions(request::INIT_PRODUCER).is_none_or(|(_, most)| most < 3) {
        let todo = "use Kafka 2.8 or later";
        return Check::fail("kafka.version", "no transactions as of Kafka 2.5", todo);
    }
    let release = if versions(request::FETCH).is_some_and(|(least, _)| least >= 4) {
        "4.0"
    } else if versions(request::DESCRIBE_TRANSACTIONS).is_some() {
        "3.0"
    } else {
        "2.8"
    };
    Check::ok("kafka.version", format!("what Kafka {release} and later understand"))
}

/// Checks the number of brokers.
pub fn brokers(cluster: &Cluster, bootstrap: &str, embedded: bool) -> Check {
    match cluster.brokers.as_slice() {
        [one] if embedded => {
            Check::ok("kafka.reach", format!("{one}, embedded: for one machine and for trying out"))
        }
        [one] => Check::warn(
            "kafka.reach",
            format!("one broker, {one}: it holds the only copy of every record"),
            "have three brokers, `topics: { replication: 3, config: { min.insync.replicas: 2 } }`",
        ),
        many => Check::ok("kafka.reach", format!("{} brokers at {bootstrap}", many.len())),
    }
}

/// Checks the observed behaviour of transactions.
pub fn transactions(seen: &Transactions) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.push(if seen.committed_seen {
        Check::ok("kafka.transactions", "a committed record was read")
    } else {
        let todo = "gold topics and sources write in transactions: use a broker that has them";
        Check::fail("kafka.transactions", "a committed record was not read", todo)
    });
    checks.push(if seen.aborted_seen {
        let todo = "readers would see what was taken back: use a broker that honours `read_committed`";
        Check::fail("kafka.read_committed", "the record of an aborted transaction was read", todo)
    } else {
        Check::ok("kafka.read_committed", "the record of an aborted transaction is hidden")
    });
    checks.push(if seen.older_accepted {
        let todo = "two publishers could write at once: use a broker that fences by `transactional.id`";
        Check::fail("kafka.fencing", "a producer could commit although a newer one has its id", todo)
    } else {
        Check::ok("kafka.fencing", "a producer is shut out once a newer one has its id")
    });
    checks
}

/// Warn if two clocks differ by more than this.
const APART: i64 = 5_000;
/// S3 refuses requests signed this far from its own time.
const FAR_APART: i64 = 15 * 60_000;

/// Compares another clock with ours. `resolution`: the unit that the other clock truncates to, in
/// milliseconds.
pub fn clock(check: &'static str, stamped: Stamped, resolution: i64) -> Check {
    let Stamped { before: ClockMs(before), at: ClockMs(at), after: ClockMs(after) } = stamped;
    // Truncation makes a time earlier by less than `resolution`.
    let ahead = (at - after).max(0) - (before - (at + resolution - 1)).max(0);
    if ahead == 0 {
        return Check::ok(check, "agrees with this machine");
    }
    let by = format_duration(Duration::from_millis(ahead.unsigned_abs()));
    let seen = format!("is {by} {} this machine's", if ahead > 0 { "ahead of" } else { "behind" });
    let todo = "let NTP set both: freshness, retention and the dates of bronze go by them";
    match ahead.abs() {
        0..=APART => Check::ok(check, seen),
        FAR_APART.. => Check::fail(check, seen, todo),
        _ => Check::warn(check, seen, todo),
    }
}

/// Checks the other behaviour of a store that passed the race of conditional creates.
pub fn store(tried: &Tried) -> Vec<Check> {
    let Tried { rounds, racers, written, unlisted, .. } = *tried;
    let raced = format!("{rounds} races of {racers} creates had one winner each, latecomers refused");
    let listing = if unlisted == 0 {
        Check::ok("lake.list_after_write", format!("{written} of {written} new objects listed at once"))
    } else {
        let seen = format!("{unlisted} of {written} new objects were missing from a listing");
        Check::fail("lake.list_after_write", seen, "use a store whose listings are consistent, as S3's are")
    };
    vec![Check::ok("lake.conditional_put", raced), listing]
}

/// Checks that the registry accepts schemas.
pub fn mode(mode: Option<&str>) -> Check {
    match mode {
        None => Check::ok("registry.mode", "the registry has no modes"),
        Some("READWRITE") => Check::ok("registry.mode", "READWRITE"),
        Some(other) => {
            let todo = "set it to READWRITE, or register every schema by other means before `apply`";
            Check::fail("registry.mode", format!("{other}: it registers no schema"), todo)
        }
    }
}

/// How strict a compatibility level is: how many versions it compares, and in which directions.
fn strength(level: &str) -> u8 {
    match level {
        "NONE" => 0,
        level if level.ends_with("_TRANSITIVE") => 2,
        _ => 1,
    }
}

/// Compares declared and actual compatibility levels by subject. A subject without a level uses the
/// registry's.
pub fn levels(
    subjects: &BTreeMap<String, (String, Option<String>)>,
    default: Option<&str>,
    target: &str,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for (subject, (declared, own)) in subjects {
        let Some(level) = own.as_deref().or(default) else { continue };
        if level == declared {
            continue;
        }
        let whose = if own.is_some() { "" } else { ", the registry's own" };
        let seen = format!("{level}{whose}; topics.yaml says {declared}");
        let todo = format!("`lakepulse apply --target {target}` sets it");
        checks.push(if strength(level) < strength(declared) {
            let todo = format!("a schema that breaks readers could be registered: {todo}");
            Check::fail("registry.compatibility", seen, todo).of(subject)
        } else {
            Check::warn("registry.compatibility", seen, todo).of(subject)
        });
    }
    if checks.is_empty() {
        let seen = format!("{} subjects as topics.yaml says", subjects.len());
        checks.push(Check::ok("registry.compatibility", seen));
    }
    checks
}

/// Limit of open files: the least allowed, and the recommended one.
const FILES: (u64, u64) = (512, 4_096);

/// Checks the limit of open files. `None`: unknown or unlimited.
pub fn files(limit: Option<u64>) -> Check {
    let todo = "raise it: `ulimit -n 65536`, or `LimitNOFILE=` of the service";
    match limit {
        None => Check::ok("machine.open_files", "not limited"),
        Some(limit) if limit < FILES.0 => Check::fail("machine.open_files", format!("at most {limit}"), todo),
        Some(limit) if limit < FILES.1 => Check::warn("machine.open_files", format!("at most {limit}"), todo),
        Some(limit) => Check::ok("machine.open_files", format!("at most {limit}")),
    }
}

const GIB: u64 = 1 << 30;

/// Checks the free space on the disk of a folder.
pub fn disk(folder: &str, free: u64, total: u64) -> Check {
    let gib = |bytes: u64| bytes as f64 / GIB as f64;
    let seen = format!("{:.1} GiB of {:.1} GiB free", gib(free), gib(total));
    let todo = "free some: what runs out of room waits, and its sources fall behind";
    let check = match free {
        free if free < GIB => Check::fail("machine.disk", seen, todo),
        free if free < 10 * GIB => Check::warn("machine.disk", seen, todo),
        _ => Check::ok("machine.disk", seen),
    };
    check.of(folder)
}

/// Checks whether a connector sends transaction metadata. `has`: whether the newest record of the topic has
/// it.
pub fn transaction_metadata(topic: &str, has: bool) -> Check {
    if has {
        return Check::ok("debezium.transaction", "records carry their transaction and their order in it")
            .of(topic);
    }
    let seen = "records do not say which transaction they belong to: changes of one LSN are ordered by offset \
                alone, and a change that is sent again after a restart of the connector counts as a new one \
                (`append` tables hold it twice)";
    let todo = "set `provide.transaction.metadata=true` on the connector";
    Check::warn("debezium.transaction", seen, todo).of(topic)
}
