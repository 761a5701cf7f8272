//! The tables that silver runs, and their tasks: the pipeline and the upkeep.

use std::sync::Arc;

use catalog::Catalog;
use futures::FutureExt as _;
use lake::Followers;
use model::TableName;
use runtime::CancellationToken;
use stage::{Control, Ownership, Task};
use tokio::sync::Semaphore;

use crate::Settings;
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::table::{deleted_name, quarantine_name};

/// The context of this stage.
pub type Context = stage::Context<Settings>;

/// The tables the stage runs, upstream first.
pub fn tables(ctx: &Context) -> Vec<TableName> {
    ctx.tables(ctx.project.catalog.silver())
}

/// Runs the tables that this process owns until `stop`. Returns the halted tables as an error at the end.
pub async fn run(ctx: Context, owners: impl Ownership, stop: CancellationToken) -> Result<()> {
    let turns = Arc::new(Semaphore::new(ctx.settings.at_once.get()));
    let silver = SilverStage { tables: tables(&ctx), ctx, turns };
    let halted = stage::run(silver, owners, stop).await.map_err(|source| Error::Owners { source })?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.iter().map(|h| format!("{}: {}", h.table, h.reason)).collect() })
}

/// The stage in one process.
struct SilverStage {
    ctx: Context,
    tables: Vec<TableName>,
    /// Limits how many tables work on a batch at once.
    turns: Arc<Semaphore>,
}
impl stage::Stage for SilverStage {
    type Error = Error;
    type Settings = Settings;
    const NAME: &'static str = "silver";

    fn context(&self) -> &Context {
        &self.ctx
    }
    fn runs(&self, table: &TableName) -> bool {
        self.tables.contains(table)
    }
    fn start(&self, table: &TableName, control: Control) -> Vec<Task<Error>> {
        let ctx = &self.ctx;
        let followed = followed(&ctx.project.catalog, table);
        let kept = ctx.upkeep(followed, ctx.settings.maintain, |_| true, control.stop.clone());
        let pipeline = Pipeline::new(ctx.clone(), table.clone(), Arc::clone(&self.turns), control);
        vec![
            Task { name: "silver table", run: pipeline.run().boxed() },
            Task { name: "silver upkeep", run: kept.map(Ok).boxed() },
        ]
    }
}

/// The table with its followers, plus its sibling tables, which have none.
pub fn followed(catalog: &Catalog, table: &TableName) -> Vec<(TableName, Followers)> {
    let alone = |name: TableName| (name, Followers::of(Vec::new()));
    let followers = Followers::of(catalog.followers(table));
    vec![(table.clone(), followers), alone(deleted_name(table)), alone(quarantine_name(table))]
}
