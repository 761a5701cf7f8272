//! The broker of a project: that of its target, or the embedded one as a process of its own, so that its
//! CPU is nobody else's.
//!
//! That process is this program in the role [`HOST`]. It says where it listens on its standard output, and ends
//! when its standard input is closed: it never outlives the benchmark.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use embedded::{Host, Role};
use stream::{Kafka, KafkaSettings};

use crate::process::Process;
use crate::project::{self, Project};

/// The role of the process that hosts.
pub const HOST: &str = "host";
/// Where a project keeps its state.
const STATE: &str = ".lakepulse";
/// How long closing the services may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker.
pub struct Broker {
    /// `None`: somebody else's.
    process: Option<Process>,
    bootstrap: String,
}

impl Broker {
    /// The broker of a project. An embedded one is started; returns once it answers.
    pub async fn of(project: &Project) -> Result<Self> {
        if project::embedded() {
            return Self::start(project.path()).await;
        }
        let open = project.open().await?;
        let kafka = open.project.target.kafka.as_ref().context("the target names no `kafka`")?;
        Ok(Self { process: None, bootstrap: kafka.resolve()?.0 })
    }

    /// Hosts the services of the project in `dir`.
    async fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(crate::ROLE, HOST).arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start("broker", &mut command, dir)?;
        let out = process.child().stdout.take().context("the broker's output is a pipe")?;
        let first = runtime::cpu::run(move || {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map(|_| line)
        });
        let bootstrap = first.await?.trim().to_owned();
        if bootstrap.is_empty() {
            process.ended(PATIENCE).await?;
            bail!("the broker ended before it said where it listens");
        }
        Ok(Self { process: Some(process), bootstrap })
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How to reach it.
    pub fn kafka(&self) -> Kafka {
        kafka(&self.bootstrap)
    }

    /// CPU time so far, of a broker that is ours.
    pub fn cpu(&self) -> Result<Option<Duration>> {
        self.process.as_ref().map(Process::cpu).transpose()
    }

    /// CPU time since an earlier look.
    pub fn spent(&self, before: Option<Duration>) -> Result<Option<Duration>> {
        Ok(self.cpu()?.zip(before).map(|(now, before)| now.saturating_sub(before)))
    }

    /// Closes the services that are ours and waits until they are.
    pub async fn stop(self) -> Result<()> {
        let Some(mut process) = self.process else { return Ok(()) };
        drop(process.child().stdin.take());
        process.ended(PATIENCE).await.map(drop)
    }
}

/// A cluster without further settings.
pub fn kafka(bootstrap: &str) -> Kafka {
    Kafka::new(KafkaSettings { bootstrap: bootstrap.to_owned(), ..KafkaSettings::default() })
}

/// The process: hosts the project in the folder that is its argument, until its input is closed.
pub async fn host(args: &[String]) -> Result<()> {
    let [dir] = args else { bail!("role `{HOST}` takes the project's folder") };
    let host = Host::join(&Path::new(dir).join(STATE)).await?;
    ensure!(host.role() == Role::Host, "another process hosts the broker of `{dir}`");
    let mut out = std::io::stdout();
    writeln!(out, "{}", host.bootstrap)?;
    out.flush()?;
    let (closed, input) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(closed);
    });
    // Dropped, never sent.
    let _ = input.await;
    host.stop().await;
    Ok(())
}
