//! The requests this broker answers: tansu's services over our storage, and our own services for metadata,
//! fetch and the end of a transaction (which tansu does not have).

use rama::layer::{MapErrLayer, MapStateLayer};
use rama::{Context, Layer as _, Service};
use tansu_broker::Error;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::service::{coordinator, storage};
use tansu_sans_io::metadata_response::MetadataResponseBroker;
use tansu_sans_io::{ApiKey, EndTxnRequest, EndTxnResponse, FetchRequest, MetadataRequest, MetadataResponse};
use tansu_service::{FrameRequestLayer, FrameRouteService};
use tansu_storage::{Storage, TopicId};

use super::fetch::Fetch;
use super::store::{CLUSTER, NODE, Store, describe};

/// "All operations": the answer of an unsecured Kafka to a request that does not ask to compute them.
const NOT_COMPUTED: i32 = i32::MIN;

/// All routes, answered from `store`.
pub(super) fn routes(store: &Store) -> Result<FrameRouteService<(), Error>, Error> {
    let groups = Controller::with_storage(store.clone())?;
    let tansus = [
        storage::add_offsets_to_txn,
        storage::add_partitions_to_txn,
        storage::consumer_group_describe,
        storage::create_topics,
        storage::delete_groups,
        storage::delete_records,
        storage::delete_topics,
        storage::describe_cluster,
        storage::describe_configs,
        storage::describe_groups,
        storage::describe_topic_partitions,
        storage::find_coordinator,
        storage::incremental_alter_configs,
        storage::init_producer_id,
        storage::list_groups,
        storage::list_offsets,
        storage::list_partition_reassignments,
        storage::produce,
        storage::txn_offset_commit_request,
    ];
    let mut builder = FrameRouteService::<(), Error>::builder();
    for service in tansus {
        builder = service(builder, store.clone())?;
    }
    builder = coordinator::services(builder, groups)?;
    macro_rules! own {
        ($request:ty, $service:expr) => {{
            let store = store.clone();
            let layers = (
                MapErrLayer::new(Error::from),
                MapStateLayer::new(move |()| store),
                FrameRequestLayer::<$request>::new(),
            );
            builder = builder.with_route(<$request>::KEY, layers.into_layer($service).boxed())?;
        }};
    }
    own!(FetchRequest, Fetch);
    own!(MetadataRequest, Metadata);
    own!(EndTxnRequest, EndTxn);
    Ok(builder.build()?)
}

/// The `EndTxn` route.
#[derive(Clone, Copy, Debug)]
struct EndTxn;

impl ApiKey for EndTxn {
    const KEY: i16 = EndTxnRequest::KEY;
}

impl Service<Store, EndTxnRequest> for EndTxn {
    type Response = EndTxnResponse;
    type Error = tansu_storage::Error;

    async fn serve(&self, ctx: Context<Store>, asked: EndTxnRequest) -> Result<EndTxnResponse, Self::Error> {
        let EndTxnRequest { transactional_id, producer_id, producer_epoch, committed, .. } = asked;
        let store: &Store = ctx.state();
        let code = Storage::txn_end(store, &transactional_id, producer_id, producer_epoch, committed).await?;
        Ok(EndTxnResponse::default().throttle_time_ms(0).error_code(code.into()))
    }
}

/// The `Metadata` route. A request for metadata never creates a topic.
#[derive(Clone, Copy, Debug)]
struct Metadata;

impl ApiKey for Metadata {
    const KEY: i16 = MetadataRequest::KEY;
}

impl Service<Store, MetadataRequest> for Metadata {
    type Response = MetadataResponse;
    type Error = tansu_storage::Error;

    async fn serve(
        &self,
        ctx: Context<Store>,
        asked: MetadataRequest,
    ) -> Result<MetadataResponse, Self::Error> {
        let store = ctx.state();
        let topics = match asked.topics {
            None => store.topics().iter().map(|topic| describe(topic)).collect(),
            Some(topics) => {
                // By name if there is one: a request by name has an all-zero id.
                let id = |topic: &tansu_sans_io::metadata_request::MetadataRequestTopic| match &topic.name {
                    Some(name) => TopicId::Name(name.clone()),
                    None => TopicId::Id(uuid::Uuid::from_bytes(topic.topic_id.unwrap_or_default())),
                };
                topics.iter().map(|topic| store.metadata_of(&id(topic))).collect()
            }
        };
        let (host, port) = store.address();
        let broker = MetadataResponseBroker::default()
            .node_id(NODE)
            .host(host.to_owned())
            .port(port.into())
            .rack(None);
        Ok(MetadataResponse::default()
            .throttle_time_ms(Some(0))
            .brokers(Some(vec![broker]))
            .cluster_id(Some(CLUSTER.to_owned()))
            .controller_id(Some(NODE))
            .topics(Some(topics))
            .cluster_authorized_operations(Some(NOT_COMPUTED)))
    }
}
