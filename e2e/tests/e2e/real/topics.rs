//! Topics lose what was in them, and transactions expire.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};

use super::flow::{Flow, PATIENCE, Workload};
use crate::happy::{differences, matches_oracle};
use crate::harness::{Project, until};
use crate::stack::{Ends, PARTITIONS, Stack, wait_for};

/// Deletes a topic and makes another one of the same name.
fn recreate(stack: &Stack, topic: &str) {
    let admin = stack.admin();
    let deleted = wait_for(admin.delete_topics(&[topic], &AdminOptions::new())).expect("the broker answers");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let fresh = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    until("the name is free again", PATIENCE, || {
        let made = wait_for(admin.create_topics([&fresh], &AdminOptions::new())).expect("the broker answers");
        made.iter().all(Result::is_ok)
    });
}

/// Publishes the first changes of the log; those that the topics hold are passed over.
fn publish(project: &Project, events: &str) {
    project.run(&["sim", "--events", events, "--seed", "31", "--summary", "s.json"]).ok();
}

/// A project whose first changes have come to their end.
fn drained(stack: &Arc<Stack>, events: &str) -> Project {
    let project = Project::reference_on(stack, &stack.places(), super::flow::SHORT_SESSIONS);
    publish(&project, events);
    project.run(&["up", "--plain", "--no-sources", "--until-drained"]).ok();
    matches_oracle(&project, "s.json");
    project
}

/// Every table comes to what the source says but this one, which stands still and holds nothing wrong.
#[track_caller]
fn the_others_arrive(project: &Project, table: &str) {
    let mut bronze = project.start(&["bronze"]);
    let silver = project.start(&["silver"]);
    let mut differ = Vec::new();
    until("the others arrive", PATIENCE, || {
        differ = differences(project, "s.json");
        differ.iter().all(|line| line.contains(table))
    });
    assert!(!differ.is_empty(), "`{table}` has gone on");
    assert!(bronze.alive(), "one table that halts does not end the others");
    drop((bronze, silver));
}

/// What stands still is a fault of `verify`, with its reason; what has gone on is proved.
#[track_caller]
fn only_fault(project: &Project, table: &str) {
    let verified = project.run(&["verify"]).code(4);
    let faults: Vec<_> = verified.stdout.lines().filter(|line| line.starts_with("FAULT")).collect();
    let [fault] = faults.as_slice() else { panic!("not one fault:\n{}", verified.stdout) };
    for part in [&format!("bronze.cdc_{table} "), "it has halted"] {
        assert!(fault.contains(part), "`{part}` is not in\n{fault}");
    }
}

/// Told to, the table goes on behind its loss, which is on the record.
#[track_caller]
fn goes_on(project: &Project, topic: &str, loss: &str) {
    let accepted = project.run(&["accept-loss", topic]).ok();
    assert!(accepted.stdout.contains(loss), "{}", accepted.stdout);
    let again = project.run(&["accept-loss", topic]).ok();
    assert!(again.stdout.contains("nothing of"), "{}", again.stdout);
    project.run(&["bronze", "--until-drained"]).ok();
    project.run(&["silver", "--until-drained"]).ok();
    let verified = project.run(&["verify"]).ok();
    assert!(verified.stdout.contains("losses accepted"), "{}", verified.stdout);
}

/// Nothing depends on it but gold's customer analytics.
const TABLE: &str = "customer_transactions";
const TOPIC: &str = "lakepulse.cdc.customer_transactions";

// Holds P5 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_topic_recreated_while_bronze_was_away_halts_its_table_alone_and_is_named() {
    let stack = Stack::shared();
    let project = drained(&stack, "4000");
    let rows = || project.value(&format!("SELECT count(*) AS n FROM bronze.cdc_{TABLE}"));
    let before = rows();
    let topic = project.topic(TOPIC);
    recreate(&stack, &topic);
    // The whole log again on the new topic, the rest of it on the others.
    publish(&project, "8000");
    let halted = project.run(&["bronze", "--until-drained"]).code(5);
    for part in ["created anew", &topic] {
        assert!(halted.stderr.contains(part), "`{part}` is not in\n{}", halted.stderr);
    }
    // The others have gone on, and nothing of the new topic was taken for the old one's.
    the_others_arrive(&project, TABLE);
    only_fault(&project, TABLE);
    assert_eq!(rows(), before);
    goes_on(&project, &topic, "created anew");
    // Nothing was lost after all: the new topic has the whole log.
    matches_oracle(&project, "s.json");
}

// Holds P5 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_topic_recreated_under_a_running_bronze_halts_its_table_alone_and_is_named() {
    let stack = Stack::shared();
    let project = drained(&stack, "4000");
    let rows = || project.value(&format!("SELECT count(*) AS n FROM bronze.cdc_{TABLE}"));
    let before = rows();
    let topic = project.topic(TOPIC);
    let others = || project.commits("bronze");
    let commits = others();
    let bronze = project.start(&["bronze"]);
    let _silver = project.start(&["silver"]);
    publish(&project, "4500");
    until("bronze reads", PATIENCE, || others() > commits);
    until("all of it", PATIENCE, || differences(&project, "s.json").is_empty());
    let read = rows();
    assert_ne!(read, before);
    recreate(&stack, &topic);
    // More on the new topic than bronze has read of the old one, in every partition.
    publish(&project, "9000");
    let said = || project.read("started-bronze.err");
    until("the loss is named", PATIENCE, || said().contains("created anew"));
    assert!(said().contains(&topic), "{}", said());
    let others_arrived = || {
        let differ = differences(&project, "s.json");
        !differ.is_empty() && differ.iter().all(|line| line.contains(TABLE))
    };
    until("the others arrive", PATIENCE, others_arrived);
    assert_eq!(rows(), read, "nothing of the new topic is taken for the old one's");
    bronze.interrupt();
    assert_eq!(bronze.wait(Duration::from_secs(60)), Some(5), "{}", said());
    only_fault(&project, TABLE);
}

// Holds P5 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn retention_that_passes_the_reader_halts_its_table_alone_and_is_named() {
    let stack = Stack::shared();
    let project = drained(&stack, "4000");
    let topic = project.topic(TOPIC);
    let ends = Ends::of(&stack, &topic, "read_committed");
    let read = ends.now();
    publish(&project, "8000");
    let short = [("retention.ms", "1"), ("segment.ms", "1000")];
    let config =
        short.iter().fold(AlterConfig::new(ResourceSpecifier::Topic(&topic)), |config, (name, value)| {
            config.set(name, value)
        });
    let altered = wait_for(stack.admin().alter_configs([&config], &AdminOptions::new()));
    assert!(altered.expect("the broker answers").iter().all(Result::is_ok));
    until("the log starts behind what was read", PATIENCE, || {
        ends.now().iter().zip(&read).any(|((low, _), (_, read))| low > read)
    });
    let halted = project.run(&["bronze", "--until-drained"]).code(5);
    for part in ["were deleted before they were read", &topic] {
        assert!(halted.stderr.contains(part), "`{part}` is not in\n{}", halted.stderr);
    }
    the_others_arrive(&project, TABLE);
    only_fault(&project, TABLE);
    goes_on(&project, &topic, "were deleted before they were read");
}

// Holds P4 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_transaction_of_gold_that_expired_is_published_again_by_whoever_began_it() {
    let stack = Stack::shared();
    let workload = Workload { events: None, rate: 300, schema_change: None };
    let mut flow = Flow::begin(&stack, &stack.places(), workload);
    let topic = flow.project.topic("lakepulse.gold.customer_analytics");
    flow.until_commits("gold", 3);
    let gold = flow.take("gold");
    // Records that a reader of committed ones may not have yet: a transaction is open. Stopped in one.
    let [committed, all] =
        ["read_committed", "read_uncommitted"].map(|level| Ends::of(&stack, &topic, level));
    let open = || committed.now() != all.now();
    until("gold is stopped in a transaction", PATIENCE, || {
        until("a transaction is open", PATIENCE, &open);
        gold.signal("STOP");
        let caught = open();
        if !caught {
            gold.signal("CONT");
        }
        caught
    });
    until("the broker ends it", PATIENCE, || !open());
    gold.signal("CONT");
    flow.give("gold", gold);
    flow.until_commits("gold", 3);
    flow.holds();
}
