//! How old a change is when the gold record it led to is on its topic.
//!
//! The reference project runs as `up`, with its simulator at an even rate that does not wait for
//! anyone. Afterwards every record of `bronze.cdc_orders` is followed through what the tables say of
//! themselves: the bronze version whose position first covers its offset, the silver version that first
//! covers that one, the gold version that first pins that one, and the records that carry the gold
//! version in their header. Its freshness is the timestamp of the last of those records less its own,
//! both as Kafka has them. A gold version that changed no row publishes nothing; then the next one that
//! did counts. Records behind which nothing was published any more have no freshness and are counted apart.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use arrow::array::AsArray as _;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use lake::{LogEntry, Table};
use model::{AppId, TableName, TopicId, Version};
use stream::{Admin, Records};

use crate::broker::Broker;
use crate::process::Cost;
use crate::project::{self, Open, Project};
use crate::report::{Grid, grouped, mebibytes, quantile, rate, seconds};

const EVENTS: u64 = 60_000;
const RATE: u64 = 2_000;
/// What the second set of numbers leaves out at the start: stages that open tables and join groups.
const WARM_UP_MS: i64 = 10_000;
/// The most that 99 of 100 records should take.
const TARGET_MS: i64 = 5_000;
const TABLES: [&str; 3] = ["bronze.cdc_orders", "silver.orders", "gold.customer_analytics"];

/// One record on its way: milliseconds since its timestamp.
struct Journey {
    stamped: i64,
    bronze: i64,
    silver: i64,
    gold: i64,
    published: i64,
}

/// How far one record was, out of those of its journey.
type Step = (&'static str, fn(&Journey) -> i64);
const STEPS: [Step; 4] = [
    ("bronze commit", |journey| journey.bronze),
    ("silver commit", |journey| journey.silver),
    ("gold commit", |journey| journey.gold),
    ("gold record", |journey| journey.published),
];

/// What was measured.
pub struct Freshness {
    journeys: Vec<Journey>,
    lost: usize,
    versions: [Version; 3],
    commit_seconds: f64,
    cost: Cost,
}

/// Runs the reference project for half a minute and looks at what it left behind.
pub async fn measure(binary: &Path) -> Result<Freshness> {
    let project = Project::copy(binary)?;
    if !project::embedded() {
        // An embedded `up` applies by itself.
        project.run(&["apply"]).await?;
    }
    let (events, rate) = (EVENTS.to_string(), RATE.to_string());
    let up = ["up", "--plain", "--until-drained", "--seed", "9", "--events", &events, "--rate", &rate];
    let cost = project.run(&up).await?;
    let open = project.open().await?;
    let broker = Broker::of(&project).await?;
    let traced = trace(&open, &broker).await;
    broker.stop().await?;
    let (journeys, lost, versions) = traced?;
    let commit_seconds = open.project.commit.interval.as_secs_f64();
    Ok(Freshness { journeys, lost, versions, commit_seconds, cost })
}

async fn trace(open: &Open, broker: &Broker) -> Result<(Vec<Journey>, usize, [Version; 3])> {
    let [bronze, silver, gold] = [
        open.table(&TABLES[0].parse()?).await?,
        open.table(&TABLES[1].parse()?).await?,
        open.table(&TABLES[2].parse()?).await?,
    ];
    let versions = [bronze.version(), silver.version(), gold.version()];
    let landed = Covered::by(&entries(&bronze).await?);
    let folded = Covered::by(&entries(&silver).await?);
    let pinned = Covered::by(&entries(&gold).await?);
    let published = published(open, broker, &gold).await?;
    let (silver_input, gold_input) = (AppId::table(bronze.id()), AppId::table(silver.id()));
    let (mut journeys, mut lost) = (Vec::new(), 0);
    for (partition, offset, stamped) in records(&bronze).await? {
        let missing = |what| format!("{what} does not cover offset {offset} of `{partition}`");
        let in_bronze = landed.first(&partition, offset + 1).with_context(|| missing(TABLES[0]))?;
        let in_silver =
            folded.first(&silver_input, in_bronze.0.position()).with_context(|| missing(TABLES[1]))?;
        // A silver version that changed no row need not be pinned before a later one is.
        let in_gold = pinned.first(&gold_input, in_silver.0.position());
        let seen = in_gold.and_then(|gold| Some((gold.1, *published.range(gold.0.0..).next()?.1)));
        match seen {
            Some((gold, published)) => journeys.push(Journey {
                stamped,
                bronze: in_bronze.1 - stamped,
                silver: in_silver.1 - stamped,
                gold: gold - stamped,
                published: published - stamped,
            }),
            None => lost += 1,
        }
    }
    ensure!(!journeys.is_empty(), "no record of `{}` led to a gold record", TABLES[0]);
    Ok((journeys, lost, versions))
}

async fn entries(table: &Table) -> Result<Vec<LogEntry>> {
    Ok(table.log(None, table.version()).await?)
}

/// Which version first covered a position of an input, and when it was committed.
struct Covered(BTreeMap<AppId, Vec<(i64, Version, i64)>>);
impl Covered {
    fn by(entries: &[LogEntry]) -> Self {
        let mut inputs: BTreeMap<AppId, Vec<(i64, Version, i64)>> = BTreeMap::new();
        for entry in entries {
            for (input, position) in &entry.positions.0 {
                let step = (*position, entry.version, entry.timestamp_ms);
                inputs.entry(input.clone()).or_default().push(step);
            }
        }
        Self(inputs)
    }
    /// Positions never fall, so the first that suffices is found by halving.
    fn first(&self, input: &AppId, position: i64) -> Option<(Version, i64)> {
        let steps = self.0.get(input)?;
        let at = steps.partition_point(|(reached, ..)| *reached < position);
        steps.get(at).map(|(_, version, committed)| (*version, *committed))
    }
}

/// Partition, offset and Kafka's timestamp of every record that bronze holds.
async fn records(bronze: &Table) -> Result<Vec<(AppId, i64, i64)>> {
    let columns = ["_topic_id", "_partition", "_offset", "_timestamp"].map(str::to_owned);
    let mut records = Vec::new();
    for batch in bronze.scan(Some(&columns)).await? {
        let topics = batch.column(0).as_string::<i32>();
        let partitions = batch.column(1).as_primitive::<Int64Type>();
        let offsets = batch.column(2).as_primitive::<Int64Type>();
        let stamps = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let topic: TopicId = topics.value(row).parse()?;
            let partition = AppId::partition(&topic, i32::try_from(partitions.value(row))?);
            records.push((partition, offsets.value(row), stamps.value(row) / 1_000));
        }
    }
    Ok(records)
}

/// When each version of the gold table was on its topic: the newest timestamp of its records.
async fn published(open: &Open, broker: &Broker, gold: &Table) -> Result<BTreeMap<u64, i64>> {
    let name: &TableName = gold.name();
    let model = open.project.catalog.models.get(name).with_context(|| format!("no model `{name}`"))?;
    let topic = model.publish.clone().with_context(|| format!("`{name}` is published on no topic"))?;
    let kafka = broker.kafka();
    let ends = Admin::try_new(&kafka)?.watermarks(&topic).await?;
    let (mut versions, mut outcome) = (BTreeMap::new(), Ok(()));
    let mut note = |records: &Records| -> Result<()> {
        for row in 0..records.len() {
            let text = records.header(row, "lp.version").map(std::str::from_utf8).transpose()?;
            let version = text.context("a gold record without header `lp.version`")?.parse()?;
            let newest = versions.entry(version).or_insert(i64::MIN);
            *newest = records.timestamp(row).max(*newest);
        }
        Ok(())
    };
    let each = |records: Records| {
        if outcome.is_ok() {
            outcome = note(&records);
        }
    };
    stream::read(&kafka, &topic, &ends, each).await?;
    outcome?;
    Ok(versions)
}

impl Freshness {
    /// Prints what was measured, and the target beside it.
    pub fn print(&self) {
        let start = self.journeys.iter().map(|journey| journey.stamped).min().unwrap_or_default();
        let mut grid =
            Grid::new(&["records of cdc_orders", "count", "until", "p50 s", "p99 s", "max s", "p99 target"]);
        for (which, from) in [("all", start), ("after the first 10 s", start + WARM_UP_MS)] {
            let journeys = || self.journeys.iter().filter(|journey| journey.stamped >= from);
            for (step, of) in STEPS {
                let mut taken: Vec<i64> = journeys().map(of).collect();
                taken.sort_unstable();
                let at = |share| quantile(&taken, share).map_or("-".to_owned(), millis);
                let target =
                    if step == "gold record" { format!("<= {}", millis(TARGET_MS)) } else { String::new() };
                let count = grouped(taken.len() as u64);
                grid.row([which.to_owned(), count, step.to_owned(), at(0.5), at(0.99), at(1.0), target]);
            }
        }
        let [bronze, silver, gold] = self.versions;
        grid.print(&format!(
            "Freshness: {} events at {RATE}/s, commits every {} s, everything in one process \
             ({} of wall, {:.0} events/s over all of it, {} CPU s, peak RSS {}, {}simulator included)",
            grouped(EVENTS),
            self.commit_seconds,
            seconds(self.cost.wall),
            rate(EVENTS, self.cost.wall),
            seconds(self.cost.cpu),
            mebibytes(self.cost.peak),
            if project::embedded() { "broker and " } else { "" },
        ));
        println!(
            "  from a record's Kafka timestamp; versions {bronze} bronze, {silver} silver, {gold} gold; \
             {} records without a later gold record",
            self.lost
        );
    }
}

fn millis(ms: i64) -> String {
    format!("{:.2}", ms as f64 / 1e3)
}
