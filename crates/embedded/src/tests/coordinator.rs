//! Groups, by the answers that their members are given.

use bytes::Bytes;
use tansu_broker::coordinator::group::Coordinator as _;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_sans_io::join_group_request::JoinGroupRequestProtocol;
use tansu_sans_io::sync_group_request::SyncGroupRequestAssignment;
use tansu_sans_io::{ErrorCode, JoinGroupResponse, SyncGroupResponse};

use crate::store::Store;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_while_a_killed_leader_is_still_waited_for_leads_in_the_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), "localhost", 1).expect("opened");
    let mut groups = Controller::with_storage(store).expect("a coordinator");
    let killed = joined(&mut groups, "").await;
    let killed = joined(&mut groups, &killed.member_id).await;
    let all = [SyncGroupRequestAssignment::default()
        .member_id(killed.member_id.clone())
        .assignment(Bytes::from_static(b"all"))];
    assert_eq!(synced(&mut groups, &killed, &all).await, (ErrorCode::None, Bytes::from_static(b"all")));

    // It is heard no more. A follower's join is held back for three seconds: the second time for longer
    // than the leader's session has left.
    let next = joined(&mut groups, "").await;
    let follower = joined(&mut groups, &next.member_id).await;
    let heard = groups.heartbeat("g", follower.generation_id, &next.member_id, None).await;
    heard.expect("an answer");
    let follower = joined(&mut groups, &next.member_id).await;
    assert_eq!(follower.leader, killed.member_id);
    assert_eq!(synced(&mut groups, &follower, &[]).await.0, ErrorCode::RebalanceInProgress);
    let leader = joined(&mut groups, &next.member_id).await;
    assert_eq!(leader.leader, leader.member_id);
    let all = [SyncGroupRequestAssignment::default()
        .member_id(leader.member_id.clone())
        .assignment(Bytes::from_static(b"all"))];
    assert_eq!(synced(&mut groups, &leader, &all).await, (ErrorCode::None, Bytes::from_static(b"all")));
}

async fn joined(groups: &mut Controller<Store>, member: &str) -> JoinGroupResponse {
    let protocols =
        [JoinGroupRequestProtocol::default().name("sticky".to_owned()).metadata(Bytes::from_static(b"m"))];
    let answer = groups
        .join(Some("c"), "g", 5_000, Some(5_000), member, None, "consumer", Some(&protocols), None)
        .await
        .expect("an answer");
    JoinGroupResponse::try_from(answer).expect("to a join")
}

async fn synced(
    groups: &mut Controller<Store>,
    joined: &JoinGroupResponse,
    assignments: &[SyncGroupRequestAssignment],
) -> (ErrorCode, Bytes) {
    let answer = groups
        .sync("g", joined.generation_id, &joined.member_id, None, None, None, Some(assignments))
        .await
        .expect("an answer");
    let answer = SyncGroupResponse::try_from(answer).expect("to a sync");
    (ErrorCode::try_from(answer.error_code).expect("a known code"), answer.assignment)
}
