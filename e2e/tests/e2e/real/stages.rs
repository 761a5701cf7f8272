//! Our own processes fail.

use std::time::{Duration, Instant};

use super::flow::{Flow, PATIENCE, STAGES, Workload};
use crate::harness::until;
use crate::stack::Stack;

const FLOW: Workload = Workload { events: None, rate: 300, schema_change: None };

// Holds P1 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn every_process_killed_twice_while_data_flows_and_nothing_is_lost_or_doubled() {
    let stack = Stack::shared();
    let mut flow = Flow::begin(&stack, &stack.places(), FLOW);
    for round in 0..2 {
        for stage in STAGES {
            // A moment that differs from round to round, told by progress and not by a clock.
            flow.until_commits(stage, 3 + round * 4);
            flow.take(stage).kill();
            flow.start(stage);
        }
        flow.until_commits("bronze", 5);
        flow.take_sim().kill();
        flow.start_sim();
    }
    flow.holds();
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn two_of_three_bronze_processes_killed_and_the_third_takes_their_partitions() {
    let stack = Stack::shared();
    let mut flow = Flow::begin(&stack, &stack.places(), FLOW);
    flow.start("bronze");
    flow.start("bronze");
    flow.until_commits("bronze", 30);
    flow.take("bronze").kill();
    flow.take("bronze").kill();
    flow.until_commits("bronze", 10);
    flow.holds();
}

/// Longer than a session, a transaction and an attempt to reach the store may take.
const PAST_EVERY_TIMEOUT: Duration = Duration::from_secs(35);

/// One process is stopped, another takes over, and the first goes on with what it had in hand.
fn a_zombie_is_fenced(stage: &'static str) {
    let stack = Stack::shared();
    let mut flow = Flow::begin(&stack, &stack.places(), FLOW);
    flow.until_commits(stage, 6);
    let zombie = flow.take(stage);
    zombie.signal("STOP");
    let stopped = Instant::now();
    flow.start(stage);
    flow.until_commits(stage, 10);
    until("past every timeout", PATIENCE, || stopped.elapsed() > PAST_EVERY_TIMEOUT);
    flow.until_commits(stage, 2);
    zombie.signal("CONT");
    // It goes on as one of two, and stops when asked like the other.
    flow.give(stage, zombie);
    flow.until_commits(stage, 6);
    flow.holds();
}

// Holds P2 (docs/invariants.md).
#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_a_zombie_of_bronze_is_fenced() {
    a_zombie_is_fenced("bronze");
}

// Holds P2 (docs/invariants.md).
#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_a_zombie_of_silver_is_fenced() {
    a_zombie_is_fenced("silver");
}

// Holds P2 (docs/invariants.md).
#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_a_zombie_of_gold_is_fenced() {
    a_zombie_is_fenced("gold");
}

// Holds P6 (docs/invariants.md).
#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_what_a_zombie_of_the_source_sends_again_is_folded_once() {
    let stack = Stack::shared();
    let workload = Workload { events: Some(30_000), ..FLOW };
    let mut flow = Flow::begin(&stack, &stack.places(), workload);
    flow.until_commits("bronze", 6);
    let zombie = flow.take_sim();
    zombie.signal("STOP");
    let stopped = Instant::now();
    flow.start_sim();
    flow.until_commits("bronze", 10);
    until("past every timeout", PATIENCE, || stopped.elapsed() > PAST_EVERY_TIMEOUT);
    zombie.signal("CONT");
    // It sends what the other has sent already, to the end of the log.
    assert_eq!(zombie.wait(PATIENCE), Some(0), "{}", flow.said("sim"));
    flow.holds();
}
