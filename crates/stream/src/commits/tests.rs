use super::*;
use crate::tests::{PATIENCE, bench, soon};

fn table(i: usize) -> TableName {
    format!("silver.t{i}").parse().expect("valid")
}
fn tables(n: usize) -> Vec<TableName> {
    (0..n).map(table).collect()
}
fn project() -> ProjectName {
    "p".parse().expect("valid")
}

fn records(partition: i32, keys: &[&str]) -> Records {
    let mut records = Records::new("t".parse().expect("valid"), "id".parse().expect("valid"), partition);
    for (i, key) in keys.iter().enumerate() {
        let key = Some(key.as_bytes());
        let offset = Offset(i as i64);
        records.push(&crate::Record { offset, timestamp: -1, key, value: Some(b"x"), headers: &[] });
    }
    records
}

#[test]
fn who_has_the_partition_owns_its_tables() {
    let all = tables(20);
    let mut state = State::new(&all, 4);
    state.on_assigned(0..4);
    let owned: BTreeSet<_> = state
        .events
        .drain(..)
        .filter_map(|e| if let OwnerEvent::Owned(t) = e { Some(t) } else { None })
        .collect();
    assert_eq!(owned, BTreeSet::from_iter(all.clone()));
    state.on_revoked(0..4);
    assert_eq!(state.events.iter().filter(|e| matches!(e, OwnerEvent::Lost(_))).count(), 20);
    // Told once: the group may name a partition again.
    state.events.clear();
    state.on_revoked(0..4);
    assert!(state.events.is_empty());
}

#[test]
fn many_hints_wake_a_table_once_and_others_tables_never() {
    let mut state = State::new(&tables(1), 4);
    let mine = partition_of(table(0).to_string().as_bytes(), 4);
    state.on_records(&records(mine, &["silver.t0"]));
    assert!(state.events.is_empty(), "not ours yet");
    state.on_assigned([mine].into_iter());
    state.events.clear();
    state.on_records(&records(mine, &["silver.t0", "gold.other", "silver.t0", "no table"]));
    assert_eq!(Vec::from(state.events.clone()), [OwnerEvent::Woken(table(0))]);
}

/// Owned tables of each member after its events so far.
struct Member {
    owners: Owners,
    owned: BTreeSet<TableName>,
    woken: usize,
}
impl Member {
    async fn join(kafka: &Kafka, tick: Duration) -> Self {
        let owners =
            Owners::join(kafka, &project(), "silver", &tables(20)).await.expect("reachable").tick(tick);
        Self { owners, owned: BTreeSet::new(), woken: 0 }
    }
    fn take(&mut self, event: OwnerEvent) {
        match event {
            OwnerEvent::Owned(table) => assert!(self.owned.insert(table), "owned twice"),
            OwnerEvent::Lost(table) => assert!(self.owned.remove(&table), "lost what it had not"),
            OwnerEvent::Woken(table) => {
                assert!(self.owned.contains(&table), "woken for another's table");
                self.woken += 1;
            }
        }
    }
    async fn step(&mut self) {
        let event = soon(self.owners.next()).await.expect("the client goes on");
        self.take(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_shared_handed_over_and_woken() {
    let bench = bench(&[("_lakepulse.p.commits", 16)]).await;
    let kafka = bench.kafka.clone();
    let mut first = Member::join(&kafka, PATIENCE).await;
    while first.owned.len() < 20 || first.woken < 20 {
        first.step().await;
    }
    let announcer = Announcer::try_new(&kafka, &project()).await.expect("reachable");
    let upstream: TableName = "bronze.x".parse().expect("valid");
    for i in 0..20 {
        announcer.announce(&table(i), &upstream, Version(3));
    }
    while first.woken < 40 {
        first.step().await;
    }
    let mut second = Member::join(&kafka, PATIENCE).await;
    while second.owned.is_empty() || first.owned.len() + second.owned.len() != 20 {
        tokio::select! {
            event = soon(first.owners.next()) => first.take(event.expect("goes on")),
            event = soon(second.owners.next()) => second.take(event.expect("goes on")),
        }
    }
    assert!(first.owned.is_disjoint(&second.owned));
    first.owners.stop().await;
    while second.owned.len() < 20 {
        second.step().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_hint_is_made_up_for_by_the_tick() {
    let bench = bench(&[("_lakepulse.p.commits", 16)]).await;
    let kafka = bench.kafka.clone();
    let mut member = Member::join(&kafka, Duration::from_millis(100)).await;
    while member.woken < 60 {
        member.step().await;
    }
    assert_eq!(member.owned.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_were_not_created_are_named() {
    let bench = bench(&[("other", 1)]).await;
    let kafka = bench.kafka.clone();
    let error =
        soon(Announcer::try_new(&kafka, &"absent".parse().expect("valid"))).await.err().expect("no topic");
    assert!(matches!(error, Error::NoTopic { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_its_tables_owns_them_and_takes_none_from_the_group() {
    let bench = bench(&[("_lakepulse.p.commits", 4)]).await;
    let mut group = Member::join(&bench.kafka, Duration::from_secs(600)).await;
    while group.owned.len() < 20 {
        group.step().await;
    }
    let named = [table(3)];
    let mut alone = Owners::alone(&bench.kafka, &project(), &named)
        .await
        .expect("reachable")
        .tick(Duration::from_secs(600));
    assert_eq!(soon(alone.next()).await.expect("owned"), OwnerEvent::Owned(table(3)));
    assert_eq!(soon(alone.next()).await.expect("woken"), OwnerEvent::Woken(table(3)));
    let announcer = Announcer::try_new(&bench.kafka, &project()).await.expect("reachable");
    let woken = group.woken;
    announcer.announce(&table(3), &table(4), Version(1));
    assert_eq!(soon(alone.next()).await.expect("woken"), OwnerEvent::Woken(table(3)));
    while group.woken == woken {
        group.step().await;
    }
    assert_eq!(group.owned.len(), 20, "both are told, and the group has lost nothing");
}
