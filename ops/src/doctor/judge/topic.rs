//! Settings of a topic that would lose records.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime::format_duration;

use super::Copies;
use crate::doctor::Check;

/// Kafka's own default for the largest record.
const USUAL_BYTES: i64 = 1_048_588;

/// What the pipeline uses a topic for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Changes of a database: each one counts.
    Changes,
    /// Records that bronze keeps.
    Records,
    /// A gold table: the newest record of each key must be kept for ever.
    Gold,
    /// How far sources are read and tables are published. Must be kept for ever.
    Memory,
    /// Announcements. A lost one does no harm, because readers also poll.
    Hints,
}

/// Checks the settings of an existing topic; empty if all are fine. `brokers`: the size of the cluster.
pub fn topic(
    name: &str,
    role: Role,
    config: &BTreeMap<String, String>,
    copies: Option<Copies>,
    brokers: usize,
    lag_budget: Duration,
) -> Vec<Check> {
    let text = |key: &str| config.get(key).map_or("", String::as_str);
    let number = |key: &str| config.get(key).and_then(|value| value.parse::<i64>().ok());
    let mut checks = Vec::new();
    let mut add = |check: Check| checks.push(check.of(name));
    retention(role, text("cleanup.policy"), &number, lag_budget, &mut add);
    if text("unclean.leader.election.enable") == "true" {
        let seen = "a broker that lacks acknowledged records may become leader";
        add(Check::fail("topic.unclean_election", seen, "set `unclean.leader.election.enable=false`"));
    }
    if let Some(Copies { all, in_sync }) = copies {
        let least = number("min.insync.replicas").and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        if all == 1 && brokers > 1 {
            let todo =
                "reassign its partitions to three brokers; `topics: { replication: 3 }` is for new ones";
            add(Check::warn("topic.replication", "one broker holds the only copy", todo));
        } else if least > all {
            let seen = format!("`min.insync.replicas` is {least} of {all} copies: nothing can be written");
            add(Check::fail("topic.min_insync", seen, "set it to one less than the copies"));
        } else if all > 1 && least < 2 {
            let seen = format!("a record is acknowledged when one of {all} copies has it");
            add(Check::fail("topic.min_insync", seen, "set `min.insync.replicas=2`"));
        } else if all > 1 && least == all {
            let seen =
                format!("`min.insync.replicas` is all {all} copies: one broker away stops every write");
            add(Check::warn("topic.min_insync", seen, "set it to one less than the copies"));
        }
        if in_sync < all {
            let seen = format!("{in_sync} of {all} copies are up to date");
            add(Check::warn("topic.in_sync", seen, "look at the brokers that are behind"));
        }
    }
    if let Some(bytes) = number("max.message.bytes").filter(|bytes| *bytes < USUAL_BYTES) {
        let seen = format!("takes records of at most {bytes} bytes; a larger one stops its writer");
        add(Check::warn(
            "topic.max_bytes",
            seen,
            format!("set `max.message.bytes` to {USUAL_BYTES} or more"),
        ));
    }
    checks
}

/// Checks how records are removed from the topic.
fn retention(
    role: Role,
    policy: &str,
    number: &dyn Fn(&str) -> Option<i64>,
    lag_budget: Duration,
    add: &mut impl FnMut(Check),
) {
    let (compacts, deletes) = (policy.contains("compact"), policy.contains("delete"));
    match role {
        Role::Changes if compacts => {
            let seen = "is compacted: changes that were overtaken before bronze came by are gone";
            add(Check::fail("topic.compaction", seen, "set `cleanup.policy=delete`"));
        }
        Role::Records if compacts => {
            let seen = "is compacted: bronze keeps what is left of each key when it comes by";
            add(Check::warn("topic.compaction", seen, "set `cleanup.policy=delete` if every record counts"));
        }
        Role::Gold if !compacts || deletes => {
            let seen = format!("has `cleanup.policy={policy}`: who begins to read later misses rows");
            add(Check::fail("topic.compaction", seen, "set `cleanup.policy=compact`"));
        }
        Role::Memory if !compacts || deletes => {
            let seen = format!("has `cleanup.policy={policy}`: positions in it would be forgotten");
            add(Check::fail("topic.compaction", seen, "set `cleanup.policy=compact`"));
        }
        _ => {}
    }
    if matches!(role, Role::Changes | Role::Records) && (deletes || !compacts) {
        let kept = number("retention.ms").and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        if let Some(kept) = kept.filter(|kept| *kept < lag_budget) {
            let (kept, budget) = (format_duration(kept), format_duration(lag_budget));
            let seen = format!("keeps records for {kept}, less than the lag budget of {budget}");
            add(Check::fail(
                "topic.retention",
                seen,
                "raise `retention.ms`, or lower `lag_budget` in lakepulse.yaml",
            ));
        }
        if let Some(bytes) = number("retention.bytes").filter(|bytes| *bytes >= 0) {
            let seen = format!("keeps at most {bytes} bytes a partition, however young its records are");
            add(Check::warn("topic.retention", seen, "set `retention.bytes=-1`"));
        }
    }
}
