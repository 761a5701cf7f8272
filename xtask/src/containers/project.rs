//! The containers of one run: a compose project of its own, so that nobody's stack and nobody's volumes are touched.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::engine::{Engine, said, said_within, until};

/// Containers, volumes and the network are called after it.
const NAME: &str = "lakepulse-check";

/// Bronze runs three times, so that two can be killed.
const SCALE: &str = "bronze-2=2";

/// How long the stack may take to be healthy, and a container to be so again. Long: the machine may have much to do.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long a container may take to end when asked to.
const GRACE: &str = "40";

/// A container as the engine describes it.
pub struct Container(Value);
impl Container {
    /// Its service in `docker-compose.yaml`.
    pub fn service(&self) -> &str {
        self.0["Config"]["Labels"]["com.docker.compose.service"].as_str().unwrap_or_default()
    }
    /// Its id.
    pub fn id(&self) -> &str {
        self.0["Id"].as_str().unwrap_or_default()
    }
    /// Its name.
    pub fn name(&self) -> &str {
        self.0["Name"].as_str().unwrap_or_default().trim_start_matches('/')
    }
    /// All that is known.
    pub fn facts(&self) -> &Value {
        &self.0
    }
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.0["State"]["Running"] == Value::Bool(true)
    }
    /// What it ended with.
    pub fn exit_code(&self) -> Option<i64> {
        self.0["State"]["ExitCode"].as_i64()
    }
    /// Whether it is as it should be: healthy where it says so, at its end where it has one. Else what it is.
    fn stands(&self) -> std::result::Result<(), String> {
        let state = &self.0["State"];
        let status = state["Status"].as_str().unwrap_or("unknown");
        let health = state["Health"]["Status"].as_str();
        let stands = match (self.service(), health) {
            ("apply" | "bucket" | "registry-data", _) => status == "exited" && self.exit_code() == Some(0),
            (_, Some(health)) => health == "healthy" && status == "running",
            (_, None) => status == "running",
        };
        if stands { Ok(()) } else { Err(format!("{} is {}", self.name(), health.unwrap_or(status))) }
    }
}

/// The project, while it runs.
pub struct Project<'a> {
    engine: &'a Engine,
    root: PathBuf,
    secrets: Vec<(String, String)>,
    keep: bool,
}
impl<'a> Project<'a> {
    /// Nothing runs yet; what a run that was broken off has left is cleared away.
    pub fn begin(engine: &'a Engine, root: &Path, keep: bool) -> Result<Self> {
        let project = Self { engine, root: root.to_owned(), secrets: secrets(drawn)?, keep };
        project.down()?;
        Ok(project)
    }

    fn compose(&self) -> Command {
        let mut compose = self.engine.compose(&self.root);
        compose.envs(self.secrets.iter().cloned()).args(["-p", NAME, "--profile", "sim"]);
        compose
    }

    /// Starts all of it, the simulator too, and waits until it is healthy.
    pub fn up(&self) -> Result<()> {
        said_within(PATIENCE, self.compose().args(["up", "-d", "--no-build", "--scale", SCALE]))?;
        until("healthy", PATIENCE, || Ok(self.containers()?.iter().try_for_each(Container::stands)))
    }

    /// Everything that there is of it.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let of = format!("label=com.docker.compose.project={NAME}");
        let ids = said(&mut self.engine.docker(["ps", "--all", "--quiet", "--no-trunc", "--filter", &of]))?;
        self.inspect(ids.split_whitespace())
    }
    fn inspect<'s>(&self, ids: impl Iterator<Item = &'s str>) -> Result<Vec<Container>> {
        let text = said(&mut self.engine.docker(["container", "inspect"].into_iter().chain(ids)))?;
        let mut list: Vec<Container> =
            serde_json::from_str::<Vec<Value>>(&text)?.into_iter().map(Container).collect();
        list.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(list)
    }

    /// The containers of a service.
    pub fn of(&self, service: &str) -> Result<Vec<Container>> {
        let mut list = self.containers()?;
        list.retain(|container| container.service() == service);
        ensure!(!list.is_empty(), "there is no container of `{service}`");
        Ok(list)
    }

    /// What a command writes that is run within a container that runs.
    pub fn within(&self, container: &Container, command: &[&str]) -> Result<String> {
        said(&mut self.engine.docker(["exec", container.id()].into_iter().chain(command.iter().copied())))
    }

    /// What `lakepulse` writes, run in a new container like those of the stages.
    pub fn lakepulse(&self, arguments: &[&str]) -> Result<String> {
        let mut run = self.compose();
        said_within(PATIENCE, run.args(["run", "--rm", "--no-deps", "-T", "gold"]).args(arguments))
    }

    /// Kills a container, as by `kill -9`.
    pub fn kill(&self, container: &Container) -> Result<()> {
        said(&mut self.engine.docker(["kill", container.id()])).map(drop)
    }

    /// Asks a container to end, and gives what it ended with.
    pub fn stop(&self, container: &Container) -> Result<Option<i64>> {
        said(&mut self.engine.docker(["stop", "--time", GRACE, container.id()]))?;
        Ok(self.inspect([container.id()].into_iter())?.first().context("it is gone")?.exit_code())
    }

    /// Starts a container that has ended, and waits until it is healthy.
    pub fn start(&self, container: &Container) -> Result<()> {
        said(&mut self.engine.docker(["start", container.id()]))?;
        until(container.name(), PATIENCE, || {
            Ok(self.inspect([container.id()].into_iter())?.iter().try_for_each(Container::stands))
        })
    }

    /// What a container has written to its standard output.
    pub fn output(&self, container: &Container) -> Result<String> {
        said(&mut self.engine.docker(["logs", container.id()]))
    }

    /// States of all, and the last words of those that are not as they should be. Best effort: something has failed.
    pub fn show_what_failed(&self) {
        let of = format!("label=com.docker.compose.project={NAME}");
        let shown = |words: &[&str]| {
            let _ = self.engine.docker(words.iter().copied()).stdout(Stdio::from(std::io::stderr())).status();
        };
        shown(&["ps", "--all", "--filter", &of]);
        for container in self.containers().into_iter().flatten() {
            match container.stands() {
                Err(what) if container.is_running() || container.exit_code() != Some(0) => {
                    eprintln!("-- {what}");
                    shown(&["logs", "--tail", "30", container.id()]);
                }
                _ => {}
            }
        }
    }

    /// Takes all of it away, volumes too.
    pub fn end(self) -> Result<()> {
        if self.keep {
            eprintln!("   kept: `docker ps --filter label=com.docker.compose.project={NAME}`");
            return Ok(());
        }
        self.down()
    }
    fn down(&self) -> Result<()> {
        said(self.compose().args(["down", "--volumes", "--remove-orphans", "--timeout", GRACE])).map(drop)
    }
}

/// A value for each variable of `.env.example` that has none: the environment wins over a file `.env`.
pub fn secrets(mut draw: impl FnMut() -> Result<String>) -> Result<Vec<(String, String)>> {
    let example = include_str!("../../../compose/.env.example").lines();
    let empty = example.filter(|line| !line.starts_with('#')).filter_map(|line| line.strip_suffix('='));
    let mut secrets = Vec::new();
    // Where traces go is no secret, and there shall be none.
    for name in empty.filter(|name| *name != "OTEL_EXPORTER_OTLP_ENDPOINT") {
        secrets.push((name.to_owned(), draw()?));
    }
    if secrets.is_empty() {
        bail!(".env.example leaves nothing to be filled in");
    }
    Ok(secrets)
}

fn drawn() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(service: &str, state: Value) -> Container {
        let labels = json!({"com.docker.compose.service": service});
        Container(json!({"Name": "/x", "Config": {"Labels": labels}, "State": state}))
    }

    #[test]
    fn a_container_stands_when_it_is_healthy_or_has_ended_well_where_it_ends() {
        let healthy = json!({"Status": "running", "Health": {"Status": "healthy"}});
        let starting = json!({"Status": "running", "Health": {"Status": "starting"}});
        assert!(container("gold", healthy).stands().is_ok());
        assert_eq!(container("gold", starting).stands(), Err("x is starting".to_owned()));
        assert!(container("sim", json!({"Status": "running"})).stands().is_ok());
        assert!(container("apply", json!({"Status": "exited", "ExitCode": 0})).stands().is_ok());
        assert!(container("apply", json!({"Status": "exited", "ExitCode": 5})).stands().is_err());
        assert!(container("gold", json!({"Status": "exited", "ExitCode": 0})).stands().is_err());
    }

    #[test]
    fn every_secret_of_the_example_gets_a_value_of_its_own() {
        let secrets = secrets(drawn).expect("random bytes");
        let values: std::collections::BTreeSet<&String> = secrets.iter().map(|(_, value)| value).collect();
        assert!(secrets.iter().any(|(name, _)| name == "LAKE_SECRET_KEY") && values.len() == secrets.len());
        assert!(secrets.iter().all(|(name, value)| !name.contains("OTEL") && value.len() == 32));
    }
}
