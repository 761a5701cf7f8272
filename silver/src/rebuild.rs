//! Recomputes a table from bronze.
//!
//! [`recompute`] folds every event with the code of the stage, but without its short cuts: `verify` compares
//! a table with the result. [`rebuild`] replaces the table's rows by it in one commit, so that every reader
//! sees either the old rows or the new.
//!
//! The siblings are committed first, with the same position. Crash between the commits: the table still has
//! the old plan, and the rebuild starts over.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::{Catalog, Kind, Model};
use lake::{Lake, Table};
use model::{AppId, Micros, Version};

use crate::append::Appender;
use crate::commit::{Committer, InputRange, Tables};
use crate::decide::{fold_all, result};
use crate::error::{Error, Fitting as _, OfTable as _, Result};
use crate::event::{Event, Outcome, Outcomes, Truncate};
use crate::fold::Fold;
use crate::judge::{Desk, Rules};
use crate::memory::{self, Note};
use crate::pool::Comparing;
use crate::refold::every_row;
use crate::snapshots::Snapshots;
use crate::table::{self, deleted_name, quarantine_name, table_schema};

/// The expected content of a table.
#[derive(Debug, Clone)]
pub struct Recomputed {
    /// Its columns: the model's, then those that silver adds.
    pub schema: SchemaRef,
    /// Its rows, in any order.
    pub rows: Vec<RecordBatch>,
    /// Outcomes of all bronze rows. Their sum is the number of bronze rows.
    pub outcomes: Outcomes,
    /// The expected quarantined rows.
    pub quarantine: Vec<RecordBatch>,
    notes: Option<RecordBatch>,
    newest_event: Option<Micros>,
    /// The bronze version that was folded.
    pub upto: Version,
}

/// Folds all events of a model's bronze table up to version `upto`. Keeps the model's columns of all events
/// in memory.
pub async fn recompute(catalog: &Catalog, model: &Model, lake: &Lake, upto: Version) -> Result<Recomputed> {
    let (rules, bronze) = open(catalog, model, lake).await?;
    let bronze = bronze.at(upto).await.of(&model.name)?;
    if rules.kind == Kind::Append {
        let reading = (Appender::try_new(rules.clone())?, None);
        let (reader, table) = (Arc::clone(&rules.reader), rules.table.clone());
        let keep = move |(on, newest): &mut (Appender, Option<Micros>), rows: &RecordBatch| {
            *newest = (*newest).max(reader.newest_event(rows).fitting(&table, "event times")?);
            on.take(rows, Version(0), true)
        };
        let (all, newest_event) = every_row(&rules, &bronze, reading, keep).await?;
        let decision = runtime::cpu::run(move || all.decide()).await?;
        return Ok(Recomputed {
            schema: table_schema(rules.kind, &rules.columns),
            rows: decision.upserts.into_iter().collect(),
            outcomes: decision.outcomes,
            quarantine: decision.quarantine,
            notes: None,
            newest_event,
            upto,
        });
    }
    let all = every_row(&rules, &bronze, All::try_new(rules.clone())?, All::take).await?;
    runtime::cpu::run(move || all.fold(upto)).await
}

/// Recomputes a model's table and cuts over to it: replaces all rows and sets the model's plan in one commit.
/// Returns its version.
pub async fn rebuild(catalog: &Catalog, model: &Model, by: &Committer) -> Result<Version> {
    let name = &model.name;
    let (rules, bronze) = open(catalog, model, &by.lake).await?;
    let main = table::create(&by.lake, &by.project, model).await?;
    let mut tables = Tables::around(&by.lake, main).await?;
    let input = AppId::table(bronze.id());
    let from = tables.main.positions().get(&input);
    let new = recompute(catalog, model, &by.lake, bronze.version()).await?;
    let range = InputRange {
        bronze: rules.bronze.clone(),
        input,
        from,
        to: new.upto,
        plan: model.fingerprint,
        newest_event: new.newest_event.map(Micros::millis),
        newest_arrival: None,
        cause: None,
    };
    if tables.quarantine.is_some() || !new.quarantine.is_empty() {
        let schema = rules.quarantine_schema();
        let mut aside = by.sibling(tables.quarantine.take(), &quarantine_name(name), &schema).await?;
        by.replace(&mut aside, &range, schema, new.quarantine, None).await?;
    }
    if tables.deleted.is_some() || new.notes.is_some() {
        let schema = memory::schema(&rules.key_schema());
        let mut deleted = by.sibling(tables.deleted.take(), &deleted_name(name), &schema).await?;
        by.replace(&mut deleted, &range, schema, new.notes.into_iter().collect(), None).await?;
    }
    by.replace(&mut tables.main, &range, new.schema, new.rows, Some(new.outcomes)).await
}

/// The compiled rules of a model, and its bronze table.
pub(crate) async fn open(catalog: &Catalog, model: &Model, lake: &Lake) -> Result<(Rules, Table)> {
    let source = model.source.clone().unwrap_or_else(|| model.name.clone());
    let unfit =
        |fault: &str| Error::Unfit { table: model.name.clone(), bronze: source.clone(), fault: fault.into() };
    let topic = catalog.topic_of(&source).ok_or_else(|| unfit("no topic is kept there"))?;
    let bronze = lake.table(&source).await.of(&model.name)?;
    let bronze = bronze.ok_or_else(|| unfit("it does not exist yet; run `lakepulse bronze`"))?;
    Ok((Rules::compile(model, topic, bronze.schema()).await?.over(&bronze)?, bronze))
}

/// Every event of a table that keeps rows by key.
struct All {
    rules: Rules,
    desk: Desk,
    events: Vec<Event>,
    truncates: Vec<Truncate>,
    snapshots: Snapshots,
    outcomes: Outcomes,
    quarantine: Vec<RecordBatch>,
    newest_event: Option<Micros>,
}
impl All {
    fn try_new(rules: Rules) -> Result<Self> {
        Ok(Self {
            desk: rules.desk()?,
            rules,
            events: Vec::new(),
            truncates: Vec::new(),
            snapshots: Snapshots::default(),
            outcomes: Outcomes::default(),
            quarantine: Vec::new(),
            newest_event: None,
        })
    }
    fn take(&mut self, bronze: &RecordBatch) -> Result<()> {
        let newest = self.rules.reader.newest_event(bronze).fitting(&self.rules.table, "event times")?;
        self.newest_event = self.newest_event.max(newest);
        let judged = self.rules.judge(bronze, &mut self.desk, Some(Version(0)))?;
        self.events.extend(judged.events);
        self.truncates.extend(judged.truncates);
        self.snapshots += judged.snapshots;
        self.outcomes += judged.outcomes;
        self.quarantine.extend(judged.quarantine);
        Ok(())
    }
    fn fold(mut self, upto: Version) -> Result<Recomputed> {
        let rows = |truncates: &[Truncate]| truncates.iter().filter(|t| !t.starts_snapshot()).count();
        let given = rows(&self.truncates);
        self.truncates = Truncate::each_once(std::mem::take(&mut self.truncates));
        let copies = given - rows(&self.truncates);
        self.outcomes.applied -= copies as u64;
        self.outcomes.repeat += copies as u64;
        let mut notes: Vec<Note> = self.truncates.iter().cloned().map(Note::Truncated).collect();
        let (first, last) = self.snapshots.beyond(&Snapshots::default());
        notes.extend(first.into_iter().map(Note::Read));
        notes.extend(last.into_iter().map(|(seq, at)| Note::Whole(seq, at)));
        self.truncates.extend(self.snapshots.truncates());
        self.truncates.sort();
        let cells = Comparing::new(&self.desk.pool);
        let history = self.rules.history();
        let fold = Fold {
            history,
            truncates: &self.truncates,
            settled: &[],
            cells: &cells,
            times: self.rules.times(),
        };
        let folded = fold_all(&fold, self.events);
        folded.outcomes.iter().for_each(|outcome: &Outcome| self.outcomes.count(*outcome));
        let versions: Vec<_> = folded.states.values().flat_map(|state| &state.versions).collect();
        let rows = result::upserts(&self.rules, &self.desk, &versions)
            .fitting(&self.rules.table, "recomputed rows")?;
        for (key, state) in &folded.states {
            notes.extend(state.gone.clone().map(|gone| Note::Gone(*key, gone)));
            notes.extend(state.skipped.clone().map(|seq| Note::Skipped(*key, seq)));
        }
        for event in &folded.events {
            if let (Some(old), Some(_)) = (event.moved_from, &event.unchanged) {
                notes.push(Note::Moved { old, new: event.key, seq: event.seq.clone() });
            }
        }
        let notes = if notes.is_empty() {
            None
        } else {
            Some(memory::rows(&notes, &self.desk.keys).fitting(&self.rules.table, "notes")?)
        };
        Ok(Recomputed {
            schema: Arc::clone(rows.schema_ref()),
            rows: vec![rows],
            outcomes: self.outcomes,
            quarantine: self.quarantine,
            notes,
            newest_event: self.newest_event,
            upto,
        })
    }
}
