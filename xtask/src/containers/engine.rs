//! Docker and compose, by their commands.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

/// How long any command may take: the longest builds an image.
const LONGEST: Duration = Duration::from_secs(3_600);

/// An engine that answers, and the compose that there is.
pub struct Engine {
    version: String,
    compose: (Vec<&'static str>, String),
}
impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker {}, {} {}", self.version, self.compose.0.join(" "), self.compose.1)
    }
}
impl Engine {
    /// Fails, and says so, where there is none: nothing else here can be tried then.
    pub fn find() -> Result<Self> {
        let docker = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
        let docker = docker.context("no docker: `docker` cannot be run here, so no container was tried")?;
        ensure!(
            docker.status.success(),
            "no docker: its engine does not answer, so no container was tried: {}",
            String::from_utf8_lossy(&docker.stderr).trim()
        );
        let version = String::from_utf8(docker.stdout)?.trim().to_owned();
        for words in [vec!["docker", "compose"], vec!["docker-compose"]] {
            let mut command = Command::new(words[0]);
            let asked = command.args(&words[1..]).args(["version", "--short"]).output();
            if let Some(answer) = asked.ok().filter(|answer| answer.status.success()) {
                let compose = String::from_utf8(answer.stdout)?.trim().to_owned();
                return Ok(Self { version, compose: (words, compose) });
            }
        }
        bail!(
            "no compose: neither `docker compose` nor `docker-compose` can be run here, so no container was tried"
        );
    }

    /// `docker`, with some words.
    pub fn docker<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("docker");
        command.args(words);
        command
    }

    /// Compose, in the folder of its file.
    pub fn compose(&self, root: &Path) -> Command {
        let words = &self.compose.0;
        let mut command = Command::new(words[0]);
        // Old ones give up on an engine that is busy for a minute.
        command.args(&words[1..]).current_dir(root.join("compose")).env("COMPOSE_HTTP_TIMEOUT", "600");
        command
    }
}

/// What a command writes, once it has ended well. What it says besides is shown only if it has not.
pub fn said(command: &mut Command) -> Result<String> {
    said_within(LONGEST, command)
}

/// The same of a command that may wait for what never comes: it is killed when it takes longer.
pub fn said_within(patience: Duration, command: &mut Command) -> Result<String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {}", words(command)))?;
    let (told, ended) = channel();
    let out = read(child.stdout.take().context("a pipe")?, told.clone());
    let err = read(child.stderr.take().context("a pipe")?, told);
    // Both end with the process.
    if (0..2).any(|_| ended.recv_timeout(patience).is_err()) {
        child.kill()?;
        child.wait()?;
        bail!("{}: not within {} s", words(command), patience.as_secs());
    }
    let status = child.wait()?;
    let text = |reader: JoinHandle<Vec<u8>>| reader.join().map_err(|_| anyhow!("a pipe could not be read"));
    let (out, err) = (text(out)?, text(err)?);
    let lossy = String::from_utf8_lossy;
    ensure!(status.success(), "{}: {status}\n{}{}", words(command), lossy(&out), lossy(&err));
    Ok(String::from_utf8(out)?)
}

/// Reads to the end and says when it is there, so that no pipe fills up.
fn read(mut pipe: impl Read + Send + 'static, told: Sender<()>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.read_to_end(&mut bytes);
        // Nobody listens any more when it took too long.
        let _ = read.map(|_| told.send(()));
        bytes
    })
}

/// Runs a command whose progress people want to see, to its end.
pub fn done(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {}", words(command)))?;
    ensure!(status.success(), "{}: {status}", words(command));
    Ok(())
}

/// A command as one would type it, without its variables: they hold secrets.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Looks until `look` has an answer. What it still waits for is said when it takes too long, and now and then before.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let begun = Instant::now();
    let mut spoke = Instant::now();
    loop {
        let waits = match look()? {
            Ok(answer) => return Ok(answer),
            Err(waits) => waits,
        };
        let waited = begun.elapsed().as_secs();
        ensure!(begun.elapsed() < patience, "{what}: not within {waited} s: {waits}");
        if spoke.elapsed() > Duration::from_secs(30) {
            spoke = Instant::now();
            eprintln!("     {what}: {waited} s: {waits}");
        }
        pause();
    }
}

/// Between two looks at something that is polled with a deadline.
#[allow(clippy::disallowed_methods, reason = "the pause of a poll that has a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_secs(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_what_it_said() {
        let mut command = Command::new("sh");
        command.env("PASSWORD", "swordfish").args(["-c", "echo out; echo err >&2; exit 3"]);
        let text = said(&mut command).expect_err("exit 3").to_string();
        assert!(["exit status: 3", "out", "err"].iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains("swordfish"), "{text}");
        assert_eq!(said(Command::new("echo").arg("well")).expect("exit 0"), "well\n");
    }

    #[test]
    fn a_command_that_does_not_end_is_ended() {
        let late =
            said_within(Duration::from_millis(50), Command::new("sleep").arg("600")).expect_err("too long");
        assert_eq!(late.to_string(), "sleep 600: not within 0 s");
    }

    #[test]
    fn what_does_not_come_is_named() {
        let failed =
            until::<()>("rain", Duration::ZERO, || Ok(Err("a cloud".to_owned()))).expect_err("no rain");
        assert_eq!(failed.to_string(), "rain: not within 0 s: a cloud");
        assert_eq!(until("sun", Duration::ZERO, || Ok(Ok(1))).expect("there"), 1);
    }
}
