//! What a process costs: wall, CPU and peak memory, as the kernel counts them.
//!
//! A child is polled while it runs. When it has ended it stays a zombie until it is waited for, and a
//! zombie still has its CPU time: the last look comes between end and wait, so no CPU is missed. Its
//! memory is gone by then: the peak is that of the last look before, a few milliseconds earlier.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use model::ClockMs;
use runtime::{Clock as _, WallClock};

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(10);
/// Unit of the times in `/proc/<pid>/stat`: a hundred a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What a process took from its start to its end.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// When it was started.
    pub started: ClockMs,
    /// From start to end.
    pub wall: Duration,
    /// User and system time of all of its threads.
    pub cpu: Duration,
    /// Most bytes of memory it had at once, mapped files included.
    pub peak: u64,
}

/// What the kernel says of a process at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    ended: bool,
    cpu: Duration,
    peak: Option<u64>,
}

/// A child. Killed when it is dropped before its end.
pub struct Process {
    name: String,
    child: Child,
    errors: PathBuf,
    started: (Instant, ClockMs),
}

impl Process {
    /// Starts `command`. What it writes to standard error goes to a file in `logs`.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        let errors = logs.join(format!("{name}.err"));
        let started = (Instant::now(), WallClock.now());
        let child = command
            .stderr(File::create(&errors).with_context(|| format!("cannot write `{}`", errors.display()))?)
            .spawn()
            .with_context(|| format!("cannot start {name}: `{}`", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, errors, started })
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(look(self.child.id())?.cpu)
    }

    /// Waits for its end, `within` from now. An exit code other than 0 is an error with the last of what it wrote.
    pub async fn ended(mut self, within: Duration) -> Result<Cost> {
        let (began, started) = self.started;
        let asked = Instant::now();
        let mut peak = 0;
        let (wall, cpu) = loop {
            let look = look(self.child.id())?;
            peak = peak.max(look.peak.unwrap_or(0));
            if look.ended {
                break (began.elapsed(), look.cpu);
            }
            if asked.elapsed() > within {
                bail!("{} has not ended after {within:?}{}", self.name, self.last_words());
            }
            tokio::time::sleep(LOOK).await;
        };
        let status: ExitStatus = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}{}", self.name, self.last_words());
        }
        Ok(Cost { started, wall, cpu, peak })
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.errors).unwrap_or_default();
        let from = text.len().saturating_sub(4_000);
        format!("\n{}", String::from_utf8_lossy(&text[from..]))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `ended` both find nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn look(pid: u32) -> Result<Look> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`: this benchmark needs Linux"))
    };
    // Memory first: should the process end in between, this look still has what it can have.
    let status = read("status")?;
    let stat = read("stat")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(kibibytes);
    // The name in parentheses may hold anything; behind it come the state and numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (Some(state), Some(user), Some(system)) = (fields.first(), ticks(11), ticks(12)) else {
        bail!("`/proc/{pid}/stat` is not understood: {stat}");
    };
    Ok(Look { ended: matches!(*state, "Z" | "X"), cpu: TICK * (user + system), peak })
}

fn kibibytes(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// CPU time of this process's threads, by thread, finer than [`TICK`].
pub struct Threads(BTreeMap<String, u64>);
impl Threads {
    /// As it is now. Waits a moment first: a running thread's time is only counted when it pauses.
    pub async fn now() -> Result<Self> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/task")? {
            let entry = entry?;
            // A thread that has ended meanwhile did so outside of what is timed: pools keep theirs.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
            let id = entry.file_name().to_string_lossy().into_owned();
            threads.insert(id, nanos.context("`/proc/self/task/*/schedstat` holds no number")?);
        }
        if threads.is_empty() {
            bail!("the kernel counts no CPU time by thread (`/proc/self/task/*/schedstat` is missing)");
        }
        Ok(Self(threads))
    }
    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Duration {
        let used = |(id, now): (&String, &u64)| now.saturating_sub(before.0.get(id).copied().unwrap_or(0));
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}
