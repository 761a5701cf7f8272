//! Reads a project's files and collects their faults.
//!
//! The order is `settings`, `avsc` and `topics`, `header` (headers and SQL of models), `sources`, `graph`
//! (which model reads which), `models` (plans the SQL, upstream first), `rules` on rows and tables, `publish`
//! (gold topics), `cases` (tests). Each step uses only what the earlier steps found sound. What depends on
//! something with a fault is skipped silently, so one mistake gives one fault.

use std::collections::BTreeMap;
use std::path::Path;

use model::TopicName;

use crate::fault::Faults;
use crate::{Catalog, Fault, Project};

mod avsc;
mod cases;
mod contracts;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod graph;
mod header;
mod models;
mod publish;
mod rules;
mod settings;
mod sources;
mod targets;
#[cfg(test)]
mod tests;
mod topics;

/// Avro schemas that were looked up in the registry, by topic.
pub type Learned = BTreeMap<TopicName, LearnedSchemas>;

/// The schemas of a topic's records in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedSchemas {
    /// Avro schema of the value as JSON.
    pub value: String,
    /// Avro schema of the key as JSON, if the registry has one.
    pub key: Option<String>,
}

/// Loads the project in `dir` for `target` (`embedded` always exists). Returns all faults at once, in order of
/// file and line. It contacts no service: models on topics whose schema only the registry has come back
/// `unlearned`. [`load_with`] takes those schemas.
pub async fn load(dir: &Path, target: &str) -> Result<Project, Vec<Fault>> {
    load_with(dir, target, &Learned::new()).await
}

/// As [`load`], with the schemas of topics that declare none. A topic that only a pattern matches joins the
/// catalog if it is among `learned`.
pub async fn load_with(dir: &Path, target: &str, learned: &Learned) -> Result<Project, Vec<Fault>> {
    match read(dir, target, learned) {
        Ok((project, faults)) if faults.is_empty() => Ok(project),
        Ok((_, faults)) | Err(faults) => Err(faults),
    }
}

/// As [`load_with`], for callers that only look: returns the project without the models that have a fault or
/// depend on one, and the faults. Settings and topics must be sound, because models depend on them.
pub async fn load_sound(
    dir: &Path,
    target: &str,
    learned: &Learned,
) -> Result<(Project, Vec<Fault>), Vec<Fault>> {
    let (mut project, faults) = read(dir, target, learned)?;
    let apart = |fault: &Fault| fault.file.starts_with("models") || fault.file.starts_with("sources");
    if !faults.iter().all(apart) {
        return Err(faults);
    }
    let catalog = &mut project.catalog;
    loop {
        let sound = |model: &crate::Model, models: &indexmap::IndexMap<model::TableName, crate::Model>| {
            let known = |input: &model::TableName| {
                models.contains_key(input)
                    || catalog.topics.values().any(|topic| topic.table == *input)
                    || model.unlearned
            };
            faults.iter().all(|fault| fault.file != model.location.file) && model.inputs.iter().all(known)
        };
        let before = catalog.models.len();
        let models = catalog.models.clone();
        catalog.models = models
            .iter()
            .filter(|(_, model)| sound(model, &models))
            .map(|(n, m)| (n.clone(), m.clone()))
            .collect();
        if catalog.models.len() == before {
            break;
        }
    }
    let models = &catalog.models;
    catalog.published.retain(|_, published| models.contains_key(&published.table));
    catalog.tests.retain(|test| models.contains_key(&test.model));
    Ok((project, faults))
}

/// The sound part of the project, and all faults. An error if there is nothing to load.
fn read(dir: &Path, target: &str, learned: &Learned) -> Result<(Project, Vec<Fault>), Vec<Fault>> {
    let mut faults = Faults::default();
    let found = files::find(dir, &mut faults);
    if found.is_nothing() {
        if faults.is_empty() {
            let message =
                format!("`{}` is no project: it declares no topics, sources or models", dir.display());
            let help = "begin with `lakepulse init`, or write topics.yaml, then models/<schema>/<table>.sql";
            faults.add_at(Path::new("topics.yaml"), 1, message, help);
        }
        return Err(faults.into_sorted());
    }
    let mut cx = Context { dir, faults, session: query::session() };
    let settings = settings::read(&mut cx, target);
    let mut contracts = topics::read(&mut cx, &found, &settings.target.topics, learned);
    let (drafts, broken) = header::read(&mut cx, &found);
    let claims = publish::claim(&mut cx, &drafts, &mut contracts);
    let sources = sources::read(&mut cx, &found, &contracts, &claims);
    contracts.check_keys(&mut cx, &sources);
    let order = graph::order(&mut cx, drafts, &broken, &contracts);
    let planned = models::plan(&mut cx, order, &contracts, &sources);
    rules::check(&mut cx, &planned);
    let published = publish::check(&mut cx, claims, &planned, &settings.target.topics, &contracts);
    let tests = cases::read(&mut cx, &found, &planned);
    let faults = cx.faults.into_sorted();
    let mut notices = planned.notices();
    notices.append(&mut contracts.notices);
    let catalog = Catalog {
        topics: contracts.topics,
        sized: contracts.sized,
        patterns: contracts.patterns,
        published,
        sources,
        models: planned.into_models(),
        tests,
    };
    let settings::Settings { name, clock, commit, stages, lag_budget, target } = settings;
    let dir = dir.to_owned();
    Ok((Project { dir, name, clock, commit, stages, lag_budget, target, catalog, notices }, faults))
}

/// State that all steps read and extend.
struct Context<'a> {
    dir: &'a Path,
    faults: Faults,
    /// Functions and settings for compiling expressions.
    session: datafusion::prelude::SessionContext,
}
impl Context<'_> {
    /// The text of a file below the project's folder. Adds a fault at line 1 if it cannot be read.
    fn text(&mut self, file: &Path) -> Option<String> {
        match std::fs::read(self.dir.join(file)) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
                Err(bad) => {
                    let before = &bad.as_bytes()[..bad.utf8_error().valid_up_to()];
                    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                    self.faults.add_at(file, line, "the file is not UTF-8", "save it as UTF-8");
                    None
                }
            },
            Err(error) => {
                self.faults.add_at(file, 1, format!("cannot read the file: {error}"), "make it readable");
                None
            }
        }
    }
    fn has(&self, file: &str) -> bool {
        self.dir.join(file).is_file()
    }
    /// Reads a YAML file with its shape.
    fn object(
        &mut self,
        file: &Path,
        shape: &'static crate::shape::Shape,
    ) -> Option<crate::shape::object::Object> {
        let text = self.text(file)?;
        crate::shape::check::read(&text, shape, file, 1, self.dir, &mut self.faults)
    }
}

/// The first line of `text` that contains `what`.
fn line_holding(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).map_or(1, |line| line + 1)
}
