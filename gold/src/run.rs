//! Which tables gold runs, and the tasks of each: one keeps the table, one deletes now and then what nothing
//! needs, and beside them run those of whatever follows the table.
//!
//! What keeps two owners of a table apart is the compare-and-set of each commit.

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

/// Runs the tables this process owns until `stop`. A table's halt is reported at the end; when every
/// table owned has halted for good, that is at once. Who drains looks at the tables, and stops. The `followers` run
/// beside each table and take its rows elsewhere.
pub async fn run(
    ctx: Context,
    followers: Followers,
    owners: impl Ownership,
    stop: CancellationToken,
) -> Result<()> {
    let gold = Gold { tables: tables(&ctx), ctx: Arc::new(ctx), followers };
    let halted = stage::run(gold, owners, stop).await;
    let halted = halted.map_err(|source| Error::Owners { source: Box::new(source) })?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.into_iter().map(|halted| halted.table).collect() })
}

/// The stage in one process.
struct Gold {
    ctx: Arc<Context>,
    followers: Followers,
    tables: Vec<TableName>,
}
impl stage::Stage for Gold {
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
