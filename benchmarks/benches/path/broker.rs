//! The embedded broker of a project as a process of its own, so that its CPU is nobody else's.
//!
//! It is this program in the role [`HOST`]. It says where it listens on its standard output, and ends
//! when its standard input is closed: it never outlives the benchmark.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use stream::embedded::{Host, Role};
use stream::{Kafka, KafkaSettings};

use crate::process::Process;

/// The role of the process that hosts.
pub const HOST: &str = "host";
/// Where a project keeps its state.
const STATE: &str = ".lakepulse";
/// How long closing the services may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker.
pub struct Broker {
    process: Process,
    bootstrap: String,
}

impl Broker {
    /// Hosts the services of the project in `dir`. Returns once they answer.
    pub async fn start(dir: &Path) -> Result<Self> {
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
        Ok(Self { process, bootstrap })
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How to reach it.
    pub fn kafka(&self) -> Kafka {
        kafka(&self.bootstrap)
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// Closes the services and waits until they are.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.process.child().stdin.take());
        self.process.ended(PATIENCE).await.map(drop)
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
