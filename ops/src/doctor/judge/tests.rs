use rstest::rstest;

use super::*;
use crate::doctor::Verdict::{self, Fail, Ok as Good, Warn};

const DAY: Duration = Duration::from_secs(86_400);

fn judged(
    role: Role,
    config: &[(&str, &str)],
    copies: (usize, usize),
    brokers: usize,
) -> Vec<(&'static str, Verdict)> {
    let usual = [
        ("cleanup.policy", if matches!(role, Role::Gold | Role::Memory) { "compact" } else { "delete" }),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
        ("min.insync.replicas", "2"),
        ("max.message.bytes", "1048588"),
    ];
    let config = usual.iter().chain(config).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let copies = Copies { all: copies.0, in_sync: copies.1 };
    let checks = topic("t", role, &config, Some(copies), brokers, DAY);
    assert!(checks.iter().all(|check| check.of.as_deref() == Some("t") && check.todo.is_some()));
    checks.iter().map(|check| (check.check, check.verdict)).collect()
}

#[rstest]
#[case::changes(Role::Changes)]
#[case::records(Role::Records)]
#[case::gold(Role::Gold)]
#[case::memory(Role::Memory)]
#[case::hints(Role::Hints)]
fn a_topic_that_loses_nothing_is_not_mentioned(#[case] role: Role) {
    assert_eq!(judged(role, &[], (3, 3), 3), []);
}

#[rstest]
#[case::retention_below_the_budget(Role::Changes, &[("retention.ms", "86399999")], Some(("topic.retention", Fail)))]
#[case::retention_of_the_budget(Role::Changes, &[("retention.ms", "86400000")], None)]
#[case::retention_for_ever(Role::Records, &[("retention.ms", "-1")], None)]
#[case::retention_of_gold_is_by_key(Role::Gold, &[("retention.ms", "1")], None)]
#[case::retention_by_size(Role::Records, &[("retention.bytes", "1000000")], Some(("topic.retention", Warn)))]
#[case::compacted_changes(Role::Changes, &[("cleanup.policy", "compact")], Some(("topic.compaction", Fail)))]
#[case::compacted_records(Role::Records, &[("cleanup.policy", "compact")], Some(("topic.compaction", Warn)))]
#[case::gold_that_expires(Role::Gold, &[("cleanup.policy", "delete")], Some(("topic.compaction", Fail)))]
#[case::gold_that_expires_too(Role::Gold, &[("cleanup.policy", "compact,delete")], Some(("topic.compaction", Fail)))]
#[case::memory_that_expires(Role::Memory, &[("cleanup.policy", "delete")], Some(("topic.compaction", Fail)))]
#[case::unclean_election(Role::Hints, &[("unclean.leader.election.enable", "true")], Some(("topic.unclean_election", Fail)))]
#[case::one_acknowledges(Role::Changes, &[("min.insync.replicas", "1")], Some(("topic.min_insync", Fail)))]
#[case::all_acknowledge(Role::Changes, &[("min.insync.replicas", "3")], Some(("topic.min_insync", Warn)))]
#[case::more_than_there_are(Role::Changes, &[("min.insync.replicas", "4")], Some(("topic.min_insync", Fail)))]
#[case::small_records_only(Role::Gold, &[("max.message.bytes", "1000")], Some(("topic.max_bytes", Warn)))]
fn a_setting_that_loses_records_is_named(
    #[case] role: Role,
    #[case] config: &[(&str, &str)],
    #[case] expected: Option<(&'static str, Verdict)>,
) {
    assert_eq!(judged(role, config, (3, 3), 3), Vec::from_iter(expected));
}

#[rstest]
#[case::one_copy_of_three_brokers((1, 1), 3, &[("topic.replication", Warn)])]
#[case::one_broker_has_one_copy((1, 1), 1, &[("topic.min_insync", Fail)])]
#[case::one_is_behind((3, 2), 3, &[("topic.in_sync", Warn)])]
fn copies_are_counted(
    #[case] copies: (usize, usize),
    #[case] brokers: usize,
    #[case] expected: &[(&'static str, Verdict)],
) {
    assert_eq!(judged(Role::Changes, &[], copies, brokers), expected);
}

fn cluster(requests: &[(i16, (i16, i16))]) -> Cluster {
    Cluster { requests: requests.iter().copied().collect(), ..Cluster::default() }
}

#[rstest]
#[case::of_today(&[(1, (4, 17)), (3, (0, 13)), (22, (0, 5)), (65, (0, 0))], Good, "4.0")]
#[case::of_some_years_ago(&[(1, (0, 13)), (3, (0, 12)), (22, (0, 4)), (65, (0, 0))], Good, "3.0")]
#[case::the_oldest_with_ids(&[(1, (0, 12)), (3, (0, 10)), (22, (0, 4))], Good, "2.8")]
#[case::without_ids(&[(1, (0, 12)), (3, (0, 9)), (22, (0, 4))], Fail, "no ids")]
#[case::without_transactions(&[(1, (0, 12)), (3, (0, 12))], Fail, "no transactions")]
#[case::silent(&[], Warn, "does not say")]
fn a_release_is_known_by_what_it_understands(
    #[case] requests: &[(i16, (i16, i16))],
    #[case] verdict: Verdict,
    #[case] says: &str,
) {
    let check = version(&cluster(requests));
    assert_eq!(check.verdict, verdict);
    assert!(check.seen.contains(says), "{check}");
}

#[test]
fn each_promise_of_transactions_is_judged_alone() {
    let good =
        Transactions { committed_seen: true, aborted_seen: false, older_accepted: false, stamped: None };
    let failed = |seen: Transactions| {
        let checks = transactions(&seen);
        assert_eq!(checks.len(), 3);
        checks.into_iter().filter(|check| check.verdict == Fail).map(|check| check.check).collect::<Vec<_>>()
    };
    assert_eq!(failed(good), [""; 0]);
    assert_eq!(failed(Transactions { committed_seen: false, ..good }), ["kafka.transactions"]);
    assert_eq!(failed(Transactions { aborted_seen: true, ..good }), ["kafka.read_committed"]);
    assert_eq!(failed(Transactions { older_accepted: true, ..good }), ["kafka.fencing"]);
}

#[rstest]
#[case::between_two_looks(1_000_400, 1, Good)]
#[case::cut_to_its_second(1_000_000, 1_000, Good)]
#[case::a_little_ahead(1_005_000, 1, Good)]
#[case::ahead(1_006_000, 1, Warn)]
#[case::behind(994_000, 1, Warn)]
#[case::an_hour_ahead(4_600_000, 1, Fail)]
#[case::far_behind(0, 1_000, Fail)]
fn clocks_are_compared_between_two_looks(#[case] at: i64, #[case] resolution: i64, #[case] verdict: Verdict) {
    let stamped = Stamped { before: ClockMs(1_000_300), at: ClockMs(at), after: ClockMs(1_000_500) };
    let check = clock("kafka.clock", stamped, resolution);
    assert_eq!(check.verdict, verdict, "{check}");
}

#[test]
fn a_listing_that_lags_is_a_fault() {
    let stamped = (ClockMs(0), ClockMs(0), ClockMs(0));
    let tried = Tried { rounds: 10, racers: 16, written: 32, unlisted: 0, stamped };
    assert!(store(&tried).iter().all(|check| check.verdict == Good));
    let lagging = store(&Tried { unlisted: 1, ..tried });
    assert_eq!(lagging[1].verdict, Fail, "{}", lagging[1]);
}

#[rstest]
#[case::as_declared("BACKWARD_TRANSITIVE", Some("BACKWARD_TRANSITIVE"), "NONE", Good)]
#[case::by_default("BACKWARD", None, "BACKWARD", Good)]
#[case::weaker("BACKWARD_TRANSITIVE", Some("BACKWARD"), "FULL", Fail)]
#[case::weaker_by_default("BACKWARD", None, "NONE", Fail)]
#[case::another("BACKWARD", Some("FORWARD"), "BACKWARD", Warn)]
#[case::stronger("NONE", Some("FULL_TRANSITIVE"), "BACKWARD", Warn)]
fn levels_are_held_against_topics_yaml(
    #[case] declared: &str,
    #[case] own: Option<&str>,
    #[case] default: &str,
    #[case] verdict: Verdict,
) {
    let subjects = BTreeMap::from([("t-value".to_owned(), (declared.to_owned(), own.map(str::to_owned)))]);
    let checks = levels(&subjects, Some(default), "real");
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].verdict, verdict, "{}", checks[0]);
}

#[test]
fn a_registry_that_takes_no_schema_is_a_fault() {
    assert_eq!(mode(Some("READWRITE")).verdict, Good);
    assert_eq!(mode(None).verdict, Good);
    assert_eq!(mode(Some("READONLY")).verdict, Fail);
}

#[rstest]
#[case::too_few(Some(256), Fail)]
#[case::few(Some(1_024), Warn)]
#[case::enough(Some(65_536), Good)]
#[case::unlimited(None, Good)]
fn open_files_are_held_against_what_is_needed(#[case] limit: Option<u64>, #[case] verdict: Verdict) {
    assert_eq!(files(limit).verdict, verdict);
}

#[rstest]
#[case::none_left(GIB - 1, Fail)]
#[case::little(2 * GIB, Warn)]
#[case::enough(20 * GIB, Good)]
fn room_is_held_against_what_is_needed(#[case] free: u64, #[case] verdict: Verdict) {
    assert_eq!(disk("/lake", free, 100 * GIB).verdict, verdict);
}

#[test]
fn brokers_are_counted_unless_there_is_but_one_by_design() {
    let of = |brokers: &[&str]| Cluster {
        brokers: brokers.iter().map(|b| (*b).to_owned()).collect(),
        ..Cluster::default()
    };
    assert_eq!(brokers(&of(&["a:1"]), "a:1", true).verdict, Good);
    assert_eq!(brokers(&of(&["a:1"]), "a:1", false).verdict, Warn);
    assert_eq!(brokers(&of(&["a:1", "b:1", "c:1"]), "a:1", false).verdict, Good);
}

#[test]
fn a_topic_without_transaction_metadata_says_what_that_weakens() {
    assert_eq!(transaction_metadata("t", true).verdict, Good);
    let check = transaction_metadata("t", false);
    assert_eq!(check.verdict, Warn);
    assert!(check.todo.is_some_and(|todo| todo.contains("provide.transaction.metadata=true")));
}
