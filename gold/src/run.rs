//! The tables that gold runs, and their tasks: one refreshes the table, one runs its upkeep, and those of its
//! followers.
//!
//! The compare-and-set of each commit keeps two owners of a table apart.

use std::sync::Arc;

use futures::FutureExt as _;
use model::{TableName, Version};
use runtime::CancellationToken;
use stage::{Control, Followers, Ownership, Task};

use crate::Settings;
use crate::error::{Error, Result};
use crate::pipeline::{Keeper, keep};
use crate::upkeep::followers;

/// What the stage runs with.
pub type Context = stage::Context<Settings>;

/// The tables the stage runs, upstream first.
pub fn tables(ctx: &Context) -> Vec<TableName> {
    ctx.tables(ctx.project.catalog.gold())
}

/// Runs the tables that this process owns until `stop`. The `followers` run beside each table and take its rows
/// elsewhere. Returns the halted tables as an error at the end, or at once when all owned tables have halted, unless
/// the process drains.
pub async fn run(
    ctx: Context,
    followers: Followers,
    owners: impl Ownership,
    stop: CancellationToken,
) -> Result<()> {
    let gold = GoldStage { tables: tables(&ctx), ctx: Arc::new(ctx), followers };
    let halted = stage::run(gold, owners, stop).await;
    let halted = halted.map_err(|source| Error::Owners { source: Box::new(source) })?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.into_iter().map(|halted| halted.table).collect() })
}

/// The stage in one process.
struct GoldStage {
    ctx: Arc<Context>,
    followers: Followers,
    tables: Vec<TableName>,
}
impl stage::Stage for GoldStage {
    type Error = Error;
    type Settings = Settings;
    const NAME: &'static str = "gold";

    fn context(&self) -> &Context {
        &self.ctx
    }
    fn runs(&self, table: &TableName) -> bool {
        self.tables.contains(table)
    }
    fn start(&self, table: &TableName, control: Control) -> Vec<Task<Error>> {
        let ctx = &self.ctx;
        let Some(model) = ctx.project.catalog.models.get(table) else { return Vec::new() };
        let model = Arc::new(model.clone());
        let (beside, landed) = self.followers.start(table, &control.stop);
        let mut tasks: Vec<_> = beside.into_iter().map(|task| task.map_err(Error::Beside)).collect();
        let followed = vec![(model.name.clone(), followers(&ctx.project.catalog, &model, &self.followers))];
        let kept = ctx.upkeep(followed, ctx.settings.maintain, |_| true, control.stop.clone());
        tasks.push(Task { name: "gold upkeep", run: kept.map(Ok).boxed() });
        let (announce, downstream) = (Arc::clone(&ctx.announce), ctx.project.catalog.followers(table));
        let of = table.clone();
        let told = move |version: Version| {
            landed.tell();
            downstream.iter().for_each(|downstream| announce.announce(downstream, &of, version));
        };
        let keeper = Keeper::new(Arc::clone(ctx), model, control);
        tasks.push(Task { name: "gold table", run: keep(keeper, told).boxed() });
        tasks
    }
    fn released(&self, table: &TableName) {
        self.ctx.released(Self::NAME, table);
        self.followers.released(table);
    }
    fn ends_when_all_halted(&self) -> bool {
        !self.ctx.draining.is_cancelled()
    }
}
