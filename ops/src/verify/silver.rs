//! Silver: every bronze row is accounted for, and the table and its siblings equal the fold of bronze by code
//! that is independent of the stage ([`super::refold`]).

use anyhow::{Context as _, Result};
use catalog::{Kind, Model};
use lake::{LogEntry, Table};
use model::{AppId, TableName, Version};
use stage::info::SilverCommit;
use stage::{CommitInfo, Outcomes};

use super::follow::{self, Standing};
use super::refold::Refold;
use super::refold::fold::columns;
use super::siblings::{self, Notes, Sibling};
use super::{Finding, Scope, compare};

/// Checks one silver table and its siblings.
pub async fn check(scope: &Scope<'_>, model: &Model) -> Result<Finding> {
    let lake = scope.lake;
    let mut finding = Finding::new(&model.name);
    let Some(source) = &model.source else {
        finding.leave_out("it reads no bronze table");
        return Ok(finding);
    };
    let bronze = lake.table(source).await?;
    let Some(table) = lake.table(&model.name).await? else {
        let rows = match &bronze {
            Some(bronze) => follow::rows(bronze).await?,
            None => 0,
        };
        return Ok(follow::missing(&model.name, &[(source.clone(), rows)]));
    };
    let Some(bronze) = bronze else {
        finding.leave_out(format!("its bronze table `{source}` does not exist"));
        if follow::rows(&table).await? > 0 {
            finding.fault(format!("the table holds rows, and `{source}`, which they come from, is missing"));
        }
        return Ok(finding);
    };
    if model.unlearned {
        finding.leave_out("the columns of its topic are not known yet");
        return Ok(finding);
    }
    if table.positions().get(&AppId::plan()) != Some(model.fingerprint) {
        finding.leave_out("its rows are of another plan than the model's: `lakepulse apply` has not run");
        return Ok(finding);
    }
    let input = AppId::table(bronze.id());
    let consumed = table.positions().get(&input).and_then(|at| u64::try_from(at).ok()).map(Version);
    if let Some(at) = consumed.filter(|at| *at > bronze.version()) {
        finding
            .fault(format!("its position is version {at} of `{source}`, which ends at {}", bronze.version()));
        return Ok(finding);
    }
    Standing::of(&bronze, consumed).await?.say(source, consumed, scope.now, &mut finding);
    let Some(consumed) = consumed else {
        if follow::rows(&table).await? > 0 {
            finding.fault("the table holds rows and no position says where they come from");
        }
        if finding.unchecked.is_empty() && finding.faults.is_empty() {
            finding.leave_out(format!("nothing was read yet: `{source}` holds no row"));
        }
        return Ok(finding);
    };
    let log = super::never_falls(&table, &mut finding).await?;
    let read = bronze.at(consumed).await?;
    let rows = follow::count(&read).await?;
    accounts(&log, &input, &read.log(None, consumed).await?, rows, &mut finding);
    fold_again(scope, model, &table, read, &input, rows, &mut finding).await?;
    Ok(finding)
}

/// Folds bronze again, and compares the result with the table and its siblings.
async fn fold_again(
    scope: &Scope<'_>,
    model: &Model,
    table: &Table,
    bronze: Table,
    input: &AppId,
    rows: u64,
    finding: &mut Finding,
) -> Result<()> {
    let consumed = bronze.version();
    let source: TableName = bronze.name().clone();
    let topic = scope.project.catalog.topic_of(&source).context("no topic is kept in its bronze table")?;
    let refold = Refold::open(model, topic, bronze, rows).await?;
    let deleted = Sibling::open(scope.lake, table, "deleted", input).await?;
    let aside = Sibling::open(scope.lake, table, "quarantine", input).await?;
    let mut notes = Notes::read(deleted, &refold, &model.keys, finding).await?;
    let keys: Vec<String> = match model.kind {
        Kind::Scd2 => model.keys.iter().cloned().chain(["__START_AT".to_owned()]).collect(),
        Kind::Append => ["_topic_id", "_partition", "_offset"].map(str::to_owned).to_vec(),
        _ => model.keys.clone(),
    };
    let schema = columns(model.kind, &model.schema);
    let (mut outcomes, mut difference) = (Outcomes::default(), compare::Difference::default());
    let mut put_aside = Vec::new();
    for part in 0..refold.parts {
        let (folded, quarantined) = refold.fold(part).await?;
        put_aside.extend(quarantined);
        outcomes += folded.outcomes;
        if model.kind != Kind::Append {
            notes.check(part, &refold, &folded, finding);
        }
        let mut actual = Vec::new();
        for batch in table.scan(None).await? {
            actual.push(refold.of_part(&batch, part)?);
        }
        let (schema, keys, expected) = (schema.clone(), keys.clone(), vec![folded.rows]);
        let compared =
            runtime::cpu::run(move || compare::compare(&schema, &keys, &expected, &actual)).await?;
        difference.add(compared);
    }
    if outcomes.total() != rows {
        finding.fault(format!("{} outcomes for {rows} rows of `{source}`", outcomes.total()));
    }
    let said = siblings::quarantine(&aside, &refold, put_aside, finding).await?;
    super::report(&difference, finding);
    finding.checked = format!(
        "{} rows = fold of {rows} at v{consumed}: {} applied, {} superseded, {} repeat, {} filtered, \
         {} quarantined, {} dropped, {} tombstone, {} error; {said}, {} remembered",
        difference.actual,
        outcomes.applied,
        outcomes.superseded,
        outcomes.repeat,
        outcomes.filtered,
        outcomes.quarantined,
        outcomes.dropped,
        outcomes.tombstone,
        outcomes.error,
        notes.count()
    );
    Ok(())
}

/// Checks that each commit begins where the previous one ended, and that its outcomes add up to the bronze
/// rows in between; for a commit that replaced the table, to all rows.
fn accounts(log: &[LogEntry], input: &AppId, bronze: &[LogEntry], all: u64, finding: &mut Finding) {
    let complete = bronze.first().is_some_and(|entry| entry.version.0 == 0);
    let brought = |entry: &LogEntry| CommitInfo::parse_lossy(entry).map_or(0, |info| info.records());
    let between = |from: Option<i64>, to: i64| -> u64 {
        let within = |entry: &&LogEntry| {
            let version = entry.version.position();
            from.is_none_or(|from| version > from) && version <= to
        };
        bronze.iter().filter(within).map(brought).sum()
    };
    let mut held: Option<i64> = None;
    for entry in log {
        let position = entry.positions.get(input);
        let info = match CommitInfo::parse(entry) {
            Ok(info) => info,
            Err(error) => {
                finding.fault(format!("{error}: {}", error.source));
                None
            }
        };
        if let Some(CommitInfo::Silver(SilverCommit { input: span, outcomes: Some(outcomes), .. })) = info {
            let (from, to) = (span.from, Version(span.to).position());
            let stated = outcomes.total();
            if from != held && held.is_some() {
                finding.fault(format!(
                    "version {} goes on from version {from:?} of its input, the one before ended at {held:?}",
                    entry.version
                ));
            }
            if position.is_some_and(|position| position != to) {
                finding.fault(format!(
                    "version {} says it read up to {to} and sets {position:?}",
                    entry.version
                ));
            }
            let (brought, whole) = (between(from, to), between(None, to));
            let known = complete
                || from.is_some_and(|from| bronze.first().is_some_and(|b| b.version.position() <= from + 1));
            if known && stated != brought && !(complete && stated == whole) && stated != all {
                finding.fault(format!(
                    "version {} accounts for {stated} rows where its input brought {brought}",
                    entry.version
                ));
            }
        }
        held = position.or(held);
    }
}
