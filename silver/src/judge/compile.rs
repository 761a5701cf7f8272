//! Compiles a model's SQL and expectations for the current columns of its bronze table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use catalog::{Kind, Model, Topic};
use model::column;
use query::expectations::{Condition, Expectations};
use query::projection::Projection;

use super::{Desk, Rules, Times};
use crate::changes::Reader;
use crate::error::{Error, Fitting as _, OfTable as _, Result};
use crate::keys::Keys;
use crate::pool::Pool;

impl Rules {
    /// Adds the bronze table's defaults for rows that lack columns.
    pub fn over(mut self, bronze: &lake::Table) -> Result<Self> {
        let unfit = |error: String| Error::Unfit {
            table: self.table.clone(),
            bronze: bronze.name().clone(),
            fault: format!("its property `{}`: {error}", lake::DEFAULTS).into(),
        };
        let reader = self.reader.as_ref().clone().with_defaults(bronze.property(lake::DEFAULTS));
        self.reader = Arc::new(reader.map_err(unfit)?);
        Ok(self)
    }

    /// Compiles `model` for a bronze table with these columns.
    pub async fn compile(model: &Model, topic: &Topic, bronze: &Schema) -> Result<Self> {
        let source = model.source.clone().unwrap_or_else(|| topic.table.clone());
        let unfit = |fault: String| Error::Unfit {
            table: model.name.clone(),
            bronze: source.clone(),
            fault: fault.into(),
        };
        if model.unlearned {
            return Err(unfit(
                "its columns are not known yet; load the project with the registry's schema".to_owned(),
            ));
        }
        let reader = Reader::try_new(topic, bronze).map_err(unfit)?;
        let ctx = query::session();
        let parsed = query::sql::parse(&model.sql).of(&model.name)?;
        let projection = Projection::compile(&ctx, &parsed, reader.schema()).await.of(&model.name)?;
        let columns = Arc::clone(&model.schema);
        let output = |name: &String| {
            let missing = || unfit(format!("the model has no column `{name}`"));
            columns.index_of(name).map_err(|_| missing())
        };
        let keys = if model.kind == Kind::Append {
            Vec::new()
        } else {
            model.keys.iter().map(output).collect::<Result<_>>()?
        };
        let tracked = if model.track_history.is_empty() {
            (0..columns.fields().len()).filter(|at| !keys.contains(at)).collect()
        } else {
            model.track_history.iter().map(output).collect::<Result<Arc<[usize]>>>()?
        };
        let rules = model.expectations.iter().map(|e| (e.name.as_str(), e.predicate.as_str()));
        let expectations = Expectations::compile(&ctx, rules, &columns).of(&model.name)?;
        let view = reader.schema();
        let at = |name: &&str| view.index_of(name).expect("compiled for the columns of `changes(…)`");
        let made_of = columns.fields().iter().map(|f| {
            let reads = projection.dependencies(f.name());
            let reads = reads.ok_or_else(|| unfit(format!("its SQL gives no column `{}`", f.name())))?;
            Ok(reads.iter().map(at).collect())
        });
        let made_of = made_of.collect::<Result<Arc<[Vec<usize>]>>>()?;
        let where_reads = projection.filter_dependencies().iter().map(at).collect();
        let condition = |text: &Option<String>| {
            let compiled = text.as_deref().map(|text| Condition::compile(&ctx, text, view));
            Ok::<_, Error>(compiled.transpose().of(&model.name)?.map(Arc::new))
        };
        let sequence_by = match &model.sequence_by {
            Some(name) => {
                Some(view.index_of(name).map_err(|_| unfit(format!("`sequence_by`: no column `{name}`")))?)
            }
            None => None,
        };
        let times = match sequence_by {
            Some(at) if model.kind == Kind::Scd2 && topic.event_time.is_none() => {
                match view.field(at).data_type() {
                    DataType::Date32 => Times::OfSequence(86_400_000_000),
                    DataType::Timestamp(TimeUnit::Second, _) => Times::OfSequence(1_000_000),
                    DataType::Timestamp(TimeUnit::Millisecond, _) => Times::OfSequence(1_000),
                    DataType::Timestamp(TimeUnit::Microsecond, _) => Times::OfSequence(1),
                    _ => Times::Unknown,
                }
            }
            _ => Times::OfEvent,
        };
        Ok(Self {
            table: model.name.clone(),
            times,
            bronze: source.clone(),
            kind: model.kind,
            keys,
            tracked,
            partitioned: model.partition_by.iter().map(output).collect::<Result<_>>()?,
            deletes_when: condition(&model.deletes_when)?,
            truncates_when: condition(&model.truncates_when)?,
            reader: Arc::new(reader),
            projection: Arc::new(projection),
            otherwise: model.expectations.iter().map(|e| e.otherwise).collect(),
            expectations: Arc::new(expectations),
            sequence_by,
            made_of,
            where_reads,
            columns,
        })
    }

    /// An empty desk for rows of this model.
    pub fn desk(&self) -> Result<Desk> {
        let keys = Keys::try_new(self.key_schema()).fitting(&self.table, "the key columns")?;
        Ok(Desk { pool: Pool::new(Arc::clone(&self.columns)), keys })
    }
    /// The key columns.
    pub fn key_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.keys.iter().map(|&at| self.columns.field(at).clone()).collect::<Vec<_>>()))
    }
    /// The columns whose change opens a version, if versions are kept.
    pub fn history(&self) -> Option<&[usize]> {
        (self.kind == Kind::Scd2).then_some(&*self.tracked)
    }
    /// Columns of a quarantined row.
    pub fn quarantine_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.reader.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend([
            Field::new(column::TOPIC_ID, DataType::Utf8, true),
            Field::new(column::PARTITION, DataType::Int64, true),
            Field::new("_bronze_version", DataType::Int64, true),
            Field::new(column::REASON, DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(fields))
    }
}
