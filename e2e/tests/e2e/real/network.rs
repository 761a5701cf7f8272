//! The network between us and the services fails. `testkit::proxy` is the network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::proxy::{Fault, Proxy};

use super::flow::{Flow, PATIENCE, STAGES, Workload};
use crate::harness::until;
use crate::stack::{Places, Stack, free_port};

const FLOW: Workload = Workload { events: None, rate: 300, schema_change: None };

/// A flow whose object store is behind a proxy.
fn behind_a_proxy() -> (Arc<Stack>, Proxy, Flow) {
    let stack = Stack::shared();
    let proxy = Proxy::start(0, &stack.places().minio).expect("started");
    let places = Places { minio: proxy.address().to_string(), ..stack.places() };
    let flow = Flow::begin(&stack, &places, FLOW);
    (stack, proxy, flow)
}

/// Slow, then cut off five times, then silent for longer than a session and a transaction may be.
fn slow_then_cut_off_then_silent(proxy: &Proxy, mut flow: Flow) {
    flow.until_commits("gold", 2);
    proxy.switch(Fault::Delay(Duration::from_millis(50)));
    flow.until_commits("bronze", 4);
    for _ in 0..5 {
        proxy.switch(Fault::Cut);
        let cut = proxy.cut();
        until("connections are refused", PATIENCE, || proxy.cut() > cut + 5);
        proxy.switch(Fault::None);
        flow.until_commits("bronze", 2);
    }
    lasts(proxy, &mut flow, Fault::Stall, |_, time| time > Duration::from_secs(15));
    flow.holds();
}

/// A fault that lasts until it is enough, and then until gold has commits again.
fn lasts(proxy: &Proxy, flow: &mut Flow, fault: Fault, enough: impl Fn(&Flow, Duration) -> bool) {
    let begun = Instant::now();
    proxy.switch(fault);
    until("it has lasted", PATIENCE, || enough(flow, begun.elapsed()));
    proxy.switch(Fault::None);
    flow.until_commits("gold", 2);
}

/// Whether every stage has said that it cannot reach the lake.
fn all_say(flow: &Flow, part: &str) -> bool {
    STAGES.iter().all(|stage| flow.said(stage).contains(part))
}

// Holds P2 (docs/invariants.md).
#[test]
#[ignore = "needs the real services: e2e/real"]
fn answers_to_puts_that_landed_are_lost_and_nothing_is_doubled() {
    let (_stack, proxy, mut flow) = behind_a_proxy();
    flow.until_commits("gold", 2);
    proxy.switch(Fault::LoseAnswers { begins: "PUT /", every: 3 });
    until("a hundred answers are lost while data flows", PATIENCE, || {
        flow.flows();
        proxy.lost() >= 100
    });
    proxy.switch(Fault::None);
    flow.holds();
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_store_that_is_slow_stalls_or_is_cut_off_delays_and_loses_nothing() {
    let (_stack, proxy, flow) = behind_a_proxy();
    slow_then_cut_off_then_silent(&proxy, flow);
}

#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_a_store_that_is_unreachable_for_a_minute_is_named_and_waited_for() {
    let (_stack, proxy, mut flow) = behind_a_proxy();
    flow.until_commits("gold", 2);
    // The store's client tries again for a while before a stage hears of it.
    let enough = |flow: &Flow, time| time > Duration::from_secs(60) && all_say(flow, "in the lake");
    lasts(&proxy, &mut flow, Fault::Cut, enough);
    flow.holds();
}

#[test]
#[ignore = "needs the real services, and minutes: e2e/real all"]
fn long_a_store_that_does_not_answer_for_a_minute_is_waited_for() {
    let (_stack, proxy, mut flow) = behind_a_proxy();
    flow.until_commits("gold", 2);
    lasts(&proxy, &mut flow, Fault::Stall, |_, time| time > Duration::from_secs(60));
    flow.holds();
}

#[test]
#[ignore = "needs the real services: e2e/real"]
fn a_broker_that_is_slow_stalls_or_is_cut_off_delays_and_loses_nothing() {
    let port = free_port();
    let stack = Stack::own_behind(Some(port));
    let proxy = Proxy::start(port, &stack.places().kafka).expect("started");
    let places = Places { kafka: proxy.address().to_string(), ..stack.places() };
    slow_then_cut_off_then_silent(&proxy, Flow::begin(&stack, &places, FLOW));
}
