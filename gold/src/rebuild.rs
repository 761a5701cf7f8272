//! Recomputes a table: the second evaluation for `verify`, and the cutover of `apply`.
//!
//! A rebuild stages all rows of the new plan in the table's folder, where no version refers to them, and cuts
//! over in **one** commit: it removes all old files, adds the new ones, and sets the new columns, the pins
//! and the new fingerprint, under the same table id. Readers see either the old rows or the new. A crash
//! before the commit leaves orphans for vacuum. The topic follows with the difference of that version, as for
//! any other.

use catalog::{Model, Project};
use lake::{Expect, Lake, Landing, Remove};
use model::{AppId, ClockMs, Positions, Version};
use runtime::{CancellationToken, Clock, Ids};
use stage::{CommitInfo, columns_of};

use arrow::array::RecordBatch;

use crate::commit::{base, broken, info};
use crate::difference::difference;
use crate::error::{OfTable as _, Result};
use crate::inputs::Inputs;
use crate::judge::{Judge, Verdict};
use crate::refresh::pins;
use crate::table::{create, plan};

/// How many attempts a rebuild has if others commit meanwhile.
const ATTEMPTS: u32 = 5;

/// The result of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The version of the cutover.
    pub version: Version,
    /// Rows before, if known.
    pub before: Option<u64>,
    /// Rows after.
    pub after: u64,
}

/// The rows of a model over the versions in `pins`, at its `as_of`: the expected rows of the table at those
/// pins.
pub async fn recompute(
    project: &Project,
    model: &Model,
    lake: &Lake,
    pins: &Positions,
) -> Result<Vec<RecordBatch>> {
    let as_of = ClockMs(pins.get(&AppId::as_of()).unwrap_or_default());
    let query = plan(&project.catalog, model, as_of)?;
    let inputs = Inputs::at(lake, &model.name, &query.inputs, pins).await?;
    query.maintenance.compute(&inputs.world(Default::default())?, None).await.of(&model.name)
}

/// Recomputes a model's table from the newest versions of its inputs and cuts over. `stop` ends the retries
/// while the store does not answer.
pub async fn rebuild(
    project: &Project,
    model: &Model,
    lake: &Lake,
    clock: &dyn Clock,
    ids: &dyn Ids,
    stop: &CancellationToken,
) -> Result<Rebuilt> {
    let name = &model.name;
    for _ in 0..ATTEMPTS {
        let mut table = match lake.table(name).await.of(name)? {
            Some(table) => table,
            None => create(lake, &project.name, model).await?,
        };
        let held = table.positions().clone();
        let first = plan(&project.catalog, model, ClockMs(0))?;
        let inputs = Inputs::open(lake, name, &first.inputs).await?;
        let time = match project.clock {
            catalog::ClockKind::Wall => clock.now(),
            catalog::ClockKind::Events => {
                let before = held.get(&AppId::as_of());
                inputs.event_time(&Positions::default(), first.uses_as_of, before).await?
            }
        };
        let as_of = held
            .get(&AppId::as_of())
            .map_or(time.floor(model.tick), |held| time.floor(model.tick).max(ClockMs(held)));
        let query = plan(&project.catalog, model, as_of)?;
        let fresh = query.maintenance.compute(&inputs.world(Default::default())?, None).await.of(name)?;
        let fresh = columns_of(&fresh, &model.schema).of(name)?;
        let verdicts = judged(model, &fresh).await?;
        let (now, after) = (inputs.now(), fresh.iter().map(|b| b.num_rows() as u64).sum());
        let mut info = info(&project.name, &now, as_of, "rebuild");
        info.broken = broken(&verdicts);
        let set = held.then(&pins(model.fingerprint, as_of, &now));
        let mut commit = base(ids.ulid(), set, Expect::All(held));
        commit.info = CommitInfo::Gold(info).stored();
        let before = table.rows();
        commit.remove = Remove::Everything;
        commit.append = table.stage_as(&model.schema, fresh).await.of(name)?;
        commit.schema = Some(model.schema.clone());
        if let Landing::Landed(version) = stage::commit(&mut table, &commit, stop).await.of(name)? {
            tracing::info!(table = %name, version = version.0, rows = after, "table rebuilt");
            return Ok(Rebuilt { version, before, after });
        }
    }
    Err(lake::Error::Busy { table: name.to_string(), attempts: ATTEMPTS }).of(name)
}

/// Returns an error if two rows have one key, or one breaks an expectation with `fail`.
async fn judged(model: &Model, fresh: &[RecordBatch]) -> Result<Vec<Verdict>> {
    let judge = Judge::compile(model, &model.schema)?;
    let (name, schema, keys, fresh) =
        (model.name.clone(), model.schema.clone(), model.keys.clone(), fresh.to_vec());
    let checked = runtime::cpu::run(move || {
        let difference = difference(&name, &schema, &keys, &[], &fresh)?;
        judge.judge(&difference.append)
    });
    checked.await
}
