//! What the processes of a run share: the project, the models of its services, and the seed.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use catalog::Project;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lake::{Lake, LakeSettings};
use runtime::health::HealthRegistry;
use runtime::simulation::Simulation;
use runtime::{CancellationToken, Meters, SeededIds, time};
use tempfile::TempDir;
use testkit::fate::Fate;
use testkit::memory::Memory;
use testkit::objects::Objects;
use testkit::registry::Schemas;

use super::check;
use super::effects::Effects;
use super::process::{self, Role};
use crate::apply;
use crate::drain::{Drain, Drained, Ends};
use crate::select::StageKind;
use crate::wiring::{Location, Wiring};

const FILES: &[(&str, &str)] = &[
    ("topics.yaml", TOPICS),
    (
        "sources/wwi.yaml",
        "version: 1\nconnector: wwi-sim\nstreams:\n  customers: s.customers\n  orders: s.orders\n  order_lines: s.order_lines\n",
    ),
    ("schemas/customers.avsc", include_str!("../../../schemas/cdc/customers.avsc")),
    ("schemas/customers.key.avsc", include_str!("../../../schemas/cdc/customers.key.avsc")),
    ("schemas/orders.avsc", include_str!("../../../schemas/cdc/orders.avsc")),
    ("schemas/orders.key.avsc", include_str!("../../../schemas/cdc/orders.key.avsc")),
    ("schemas/order_lines.avsc", include_str!("../../../schemas/cdc/order_lines.avsc")),
    ("schemas/order_lines.key.avsc", include_str!("../../../schemas/cdc/order_lines.key.avsc")),
    ("models/silver/customers.sql", include_str!("../../../models/silver/customers.sql")),
    ("models/silver/customers_history.sql", include_str!("../../../models/silver/customers_history.sql")),
    ("models/silver/orders.sql", include_str!("../../../models/silver/orders.sql")),
    ("models/silver/order_lines.sql", include_str!("../../../models/silver/order_lines.sql")),
    ("models/gold/customer_sales.sql", SALES),
];

/// Small enough that a short run compacts and looks for what to delete. That takes time, so it is in one run of four.
const BUSY: &str = "\
version: 1
name: simulated
clock: events
commit: { interval: 700ms, max_rows: 250 }
stages:
  bronze: { compact_every: 3, maintain: 2s }
  silver: { compact_every: 3, maintain: 2s, at_once: 2 }
  gold: { compact_every: 2, maintain: 2s }
";

const PLAIN: &str = "\
version: 1
name: simulated
clock: events
commit: { interval: 700ms, max_rows: 250 }
stages:
  silver: { at_once: 2 }
";

const TOPICS: &str = "\
version: 1
defaults: { value: avro, envelope: debezium, partitions: 2 }
topics:
  s.customers: { schema: schemas/customers.avsc, key_schema: schemas/customers.key.avsc, key: [customer_id], replica_identity: full, table: bronze.cdc_customers }
  s.orders: { schema: schemas/orders.avsc, key_schema: schemas/orders.key.avsc, key: [order_id], replica_identity: full, table: bronze.cdc_orders }
  s.order_lines: { schema: schemas/order_lines.avsc, key_schema: schemas/order_lines.key.avsc, key: [order_line_id], replica_identity: full, table: bronze.cdc_order_lines }
";

const SALES: &str = "\
/* lakepulse
kind: table
keys: [customer_id]
publish: s.customer_sales
*/
SELECT
    orders.customer_id,
    min(customers.customer_name) AS customer_name,
    count(DISTINCT orders.order_id) AS orders,
    CAST(sum(order_lines.quantity * order_lines.unit_price) AS DECIMAL(18, 2)) AS revenue
FROM silver.orders
INNER JOIN silver.order_lines ON orders.order_id = order_lines.order_id
LEFT JOIN silver.customers ON orders.customer_id = customers.customer_id
GROUP BY orders.customer_id
";

/// Longer than any run takes in virtual time unless it stands still.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Things may fail for so many milliseconds after the last record was published.
const RESTLESS: u64 = 1_500;

/// The projects of all runs.
pub struct Prepared {
    plain: ReadProject,
    busy: ReadProject,
}

impl Prepared {
    /// Writes and reads them.
    pub fn new() -> Self {
        Self { plain: ReadProject::new(PLAIN), busy: ReadProject::new(BUSY) }
    }
}

/// A project that was read once, for all runs.
struct ReadProject {
    at: Location,
    project: Arc<Project>,
    _folder: TempDir,
}

impl ReadProject {
    fn new(settings: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in [("lakepulse.yaml", settings)].iter().chain(FILES) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let at = Location { folder: folder.path().to_owned(), target: "embedded".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let project =
            runtime.block_on(crate::wiring::project(&at)).unwrap_or_else(|error| panic!("{error:#?}"));
        Self { at, project, _folder: folder }
    }
}

/// The world of one run.
#[derive(Clone)]
pub struct World {
    at: Location,
    pub project: Arc<Project>,
    simulation: Simulation,
    cluster: Memory,
    registry: Schemas,
    objects: Objects,
    pub effects: Effects,
    /// Cancelled once everything is published.
    pub draining: CancellationToken,
    pub seed: u64,
}

impl World {
    /// Nothing has happened yet.
    pub fn new(prepared: &Prepared, simulation: Simulation, seed: u64) -> Self {
        let read = if seed.is_multiple_of(4) { &prepared.busy } else { &prepared.plain };
        Self {
            at: read.at.clone(),
            project: Arc::clone(&read.project),
            cluster: Memory::new(simulation.clock()),
            registry: Schemas::new(),
            objects: Objects::new(simulation.clock()),
            effects: Effects::new(simulation.clone()),
            simulation,
            draining: CancellationToken::new(),
            seed,
        }
    }

    /// The services as one life of a process has them.
    pub async fn wiring(&self, fate: Arc<dyn Fate>, number: u64) -> lake::Result<Wiring> {
        let ids = Arc::new(SeededIds::new(self.seed << 16 | number));
        let settings = LakeSettings { url: "memory:///".parse().expect("a url"), options: BTreeMap::new() };
        let objects = Arc::new(self.objects.with(Arc::clone(&fate)));
        let lake = Lake::connect_over(settings, objects, ids.clone()).await?;
        Ok(Wiring {
            at: self.at.clone(),
            project: Arc::clone(&self.project),
            kafka: self.cluster.with(Arc::clone(&fate)).kafka(),
            registry: self.registry.with(fate).registry(),
            lake,
            host: None,
            addresses: Vec::new(),
            clock: self.simulation.clock(),
            ids,
            meters: Meters::new(),
            health: HealthRegistry::default(),
        })
    }

    /// The run.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn run(self) -> Result<(), String> {
        let looks = self.wiring(Arc::new(()), 0).await.map_err(|error| format!("the lake: {error}"))?;
        let applied = apply::apply(&looks, |_| ()).await.map_err(|error| format!("apply: {error:?}"))?;
        if !applied.failed.is_empty() {
            return Err(format!("apply: {:?}", applied.failed));
        }
        let stop = CancellationToken::new();
        let mut stages: Stages<'_> = Role::of(self.seed)
            .into_iter()
            .map(|role| process::stage(&self, role, stop.clone()).boxed_local())
            .collect();
        let summary = beside(process::source(&self), &mut stages).await?;
        self.effects.note("the source has ended");
        self.draining.cancel();
        let rest = Duration::from_millis(runtime::random::below(RESTLESS));
        beside(time::sleep(rest).map(Ok), &mut stages).await?;
        self.effects.note("nothing fails from now on");
        self.effects.calm();
        beside(self.drained(&looks), &mut stages).await?;
        self.effects.note("everything is at its end");
        stop.cancel();
        let stopped = async {
            while let Some(ended) = stages.next().await {
                ended?;
            }
            Ok::<(), String>(())
        };
        time::timeout(PATIENCE, stopped).await.map_err(|_| "a stage does not stop")??;
        self.effects.note("every process has ended");
        check::all(&looks, &summary).await
    }

    /// Waits until everything that was published is at its end.
    async fn drained(&self, looks: &Wiring) -> Result<(), String> {
        let quit = CancellationToken::new();
        let ends =
            Ends::now(looks, &quit).await.map_err(|error| format!("{error:#}"))?.expect("nobody quits");
        let drain = Drain { wiring: looks, stop: quit, select: &[], ours: &[] };
        match drain.wait(&ends, StageKind::Gold).await {
            Ok(drained) if drained.is_whole() => Ok(()),
            Ok(Drained::Done(behind)) => {
                let behind: Vec<String> = behind.iter().map(ToString::to_string).collect();
                Err(behind.join("; "))
            }
            other => Err(format!("{other:?}")),
        }
    }
}

/// The processes of the stages.
type Stages<'a> = FuturesUnordered<LocalBoxFuture<'a, Result<(), String>>>;

/// Does something while the stages run.
async fn beside<T>(
    work: impl Future<Output = Result<T, String>>,
    stages: &mut Stages<'_>,
) -> Result<T, String> {
    let mut work = pin!(time::timeout(PATIENCE, work));
    tokio::select! {
        biased;
        done = &mut work => done.map_err(|_| "it stands still for an hour")?,
        Some(ended) = stages.next() => {
            ended?;
            Err("a stage ended though nobody stopped it".to_owned())
        }
    }
}
