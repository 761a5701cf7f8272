//! The `Fetch` route. It answers as soon as there is anything to read, or when the client's wait time ends. The
//! first batch is sent whatever its size, so no record is too large to be read.

use std::sync::Arc;
use std::time::Duration;

use rama::{Context, Service};
use runtime::time::{Instant, sleep, timeout_at};
use tansu_sans_io::fetch_request::{FetchPartition, FetchTopic};
use tansu_sans_io::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use tansu_sans_io::record::deflated::Frame;
use tansu_sans_io::{ApiKey, ErrorCode, FetchRequest, FetchResponse, NULL_TOPIC_ID};
use tansu_storage::TopicId;
use uuid::Uuid;

use super::store::{Refusal, Store, StoredTopic};

/// The most bytes of one answer, whatever the client asks for: they are all in memory at once.
const MAX_BYTES: i64 = 16 << 20;
/// After the first arrival, the answer waits this long for more.
const GATHER: Duration = Duration::from_millis(1);

/// The route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch;

impl ApiKey for Fetch {
    const KEY: i16 = FetchRequest::KEY;
}

impl Service<Store, FetchRequest> for Fetch {
    type Response = FetchResponse;
    type Error = tansu_storage::Error;

    async fn serve(&self, ctx: Context<Store>, request: FetchRequest) -> Result<FetchResponse, Self::Error> {
        let store = ctx.state();
        let committed = request.isolation_level == Some(1);
        let wanted: Vec<RequestedTopic> =
            request.topics.into_iter().flatten().map(|t| RequestedTopic::find(store, t)).collect();
        let patience = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now() + patience;
        let mut moved = store.moved();
        loop {
            moved.mark_unchanged();
            if wanted.iter().any(|topic| topic.is_ready(committed)) || request.min_bytes <= 0 {
                break;
            }
            if !matches!(timeout_at(deadline, moved.changed()).await, Ok(Ok(()))) {
                break;
            }
            sleep(GATHER).await;
        }
        let mut budget = i64::from(request.max_bytes.unwrap_or(i32::MAX)).min(MAX_BYTES);
        let mut empty = true;
        let answers =
            wanted.iter().map(|topic| topic.read(store, committed, &mut budget, &mut empty)).collect();
        Ok(FetchResponse::default()
            .throttle_time_ms(Some(0))
            .error_code(Some(ErrorCode::None.into()))
            .session_id(Some(0))
            .node_endpoints(Some(Vec::new()))
            .responses(Some(answers)))
    }
}

/// The requested partitions of one topic.
struct RequestedTopic {
    asked: FetchTopic,
    topic: Option<Arc<StoredTopic>>,
}

impl RequestedTopic {
    fn find(store: &Store, asked: FetchTopic) -> Self {
        let id = match (&asked.topic, asked.topic_id) {
            (Some(name), _) => Some(TopicId::Name(name.clone())),
            (None, Some(id)) => Some(TopicId::Id(Uuid::from_bytes(id))),
            (None, None) => None,
        };
        Self { topic: id.and_then(|id| store.find(&id)), asked }
    }

    /// Whether there is something to answer: records, or an error.
    fn is_ready(&self, committed: bool) -> bool {
        let Some(topic) = &self.topic else { return true };
        self.asked.partitions.iter().flatten().any(|asked| match topic.partition(asked.partition) {
            None => true,
            Some(partition) => {
                let end = if committed { partition.stable() } else { partition.next() };
                asked.fetch_offset < end || asked.fetch_offset > partition.next()
            }
        })
    }

    fn read(
        &self,
        store: &Store,
        committed: bool,
        budget: &mut i64,
        empty: &mut bool,
    ) -> FetchableTopicResponse {
        let partitions = self.asked.partitions.iter().flatten();
        let answers = partitions.map(|asked| {
            let answer = self.topic.as_ref().map(|topic| read(topic, asked, committed, budget, empty));
            let answer = answer.unwrap_or_else(|| {
                let by_id = self.asked.topic.is_none();
                Err(if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition }.into())
            });
            answer.unwrap_or_else(|refusal| blank(asked.partition).error_code(store.code(refusal).into()))
        });
        let answers = Some(answers.collect());
        let id = self.topic.as_ref().map_or(NULL_TOPIC_ID, |topic| topic.id.into_bytes());
        FetchableTopicResponse::default()
            .topic(self.asked.topic.clone())
            .topic_id(Some(self.asked.topic_id.unwrap_or(id)))
            .partitions(answers)
    }
}

fn read(
    topic: &StoredTopic,
    asked: &FetchPartition,
    committed: bool,
    budget: &mut i64,
    empty: &mut bool,
) -> Result<PartitionData, Refusal> {
    let partition = topic.partition(asked.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let (start, next) = (partition.start(), partition.next());
    let bounds = |answer: PartitionData| {
        answer.high_watermark(next).last_stable_offset(Some(partition.stable())).log_start_offset(Some(start))
    };
    if asked.fetch_offset < start || asked.fetch_offset > next {
        let code = ErrorCode::OffsetOutOfRange;
        return Ok(bounds(blank(asked.partition)).error_code(code.into()));
    }
    let room = i64::from(asked.partition_max_bytes).min(*budget).max(0);
    let read = partition.read(asked.fetch_offset, committed, usize::try_from(room).unwrap_or(0), *empty)?;
    let answer = bounds(blank(asked.partition));
    if read.batches.is_empty() {
        return Ok(answer);
    }
    *empty = false;
    *budget -= read.batches.iter().map(|batch| i64::from(batch.batch_length)).sum::<i64>();
    let aborted = read
        .aborted
        .iter()
        .map(|txn| AbortedTransaction::default().producer_id(txn.producer).first_offset(txn.first));
    Ok(answer.aborted_transactions(Some(aborted.collect())).records(Some(Frame { batches: read.batches })))
}

/// An answer without records.
fn blank(partition: i32) -> PartitionData {
    PartitionData::default()
        .partition_index(partition)
        .error_code(ErrorCode::None.into())
        .high_watermark(-1)
        .last_stable_offset(Some(-1))
        .log_start_offset(Some(-1))
        .aborted_transactions(Some(Vec::new()))
        .preferred_read_replica(Some(-1))
}
