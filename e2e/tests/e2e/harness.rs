//! A project in a folder of its own and the binary run in it, on embedded services or on real ones.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::stack::{Places, Stack};

/// The binary under test: it lies beside this test's own folder, built by the same cargo call.
pub fn binary() -> PathBuf {
    let me = std::env::current_exe().expect("a test runs from a file");
    let path = me.parent().and_then(Path::parent).expect("target/<profile>/deps").join("lakepulse");
    assert!(path.exists(), "`{}` is missing: run `cargo build --workspace` first", path.display());
    path
}

/// A project in a temporary folder.
pub struct Project {
    pub dir: TempDir,
    /// A folder of it may be a small disk.
    disk: Option<SmallDisk>,
    real: Option<Real>,
}

/// A project's own part of real services that it shares with others.
struct Real {
    stack: Arc<Stack>,
    /// Name of the project, first part of its topics' names, and its folder in the bucket.
    id: String,
    /// First part of its topics' names on embedded services.
    prefix: &'static str,
    /// Whether `apply` has run: real services have nothing of a project before.
    applied: Cell<bool>,
}

impl Project {
    /// The reference project of this repository, on the services that tests run on.
    pub fn reference() -> Self {
        Self::copied().on_target("lakepulse")
    }
    /// The reference project on real services.
    pub fn reference_on(stack: &Arc<Stack>, places: &Places, kafka: &str) -> Self {
        Self::copied().on("lakepulse", stack, places, kafka)
    }
    /// The same, with more models than the reference has.
    pub fn reference_with(models: &Path, stack: &Arc<Stack>) -> Self {
        let project = Self::copied();
        testkit::reference::copy_all(models, &project.dir.path().join("models")).expect("copied");
        project.on("lakepulse", stack, &stack.places(), "")
    }
    fn copied() -> Self {
        let project = Self::empty();
        testkit::reference::copy(project.dir.path()).expect("copied");
        project
    }
    /// An empty folder.
    pub fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("lakepulse-e2e-").tempdir().expect("a temporary folder");
        Self { dir, disk: None, real: None }
    }
    /// Moves a project whose topics' names begin with `prefix` to the services that tests run on.
    pub fn on_target(self, prefix: &'static str) -> Self {
        match Stack::chosen() {
            Some(stack) => self.on(prefix, &stack, &stack.places(), ""),
            None => self,
        }
    }
    /// The same project with other settings: target `compose`, and names that no other project has.
    /// `kafka` is said to Kafka's clients in addition.
    pub fn on(mut self, prefix: &'static str, stack: &Arc<Stack>, places: &Places, kafka: &str) -> Self {
        let folder = self.dir.path().file_name().expect("a folder has a name").to_string_lossy();
        let id = format!("t{}", folder.trim_start_matches("lakepulse-e2e-").to_lowercase());
        testkit::reference::rename(self.dir.path(), prefix, &id).expect("renamed");
        // Everything before its own targets.
        let settings = self.read("lakepulse.yaml");
        let settings = settings.split("\ntargets:").next().expect("the first part");
        let target = format!(
            "targets:\n  compose:\n    kafka: {{ bootstrap: \"{}\", config: {{ {kafka} }} }}\n    \
             registry: {{ url: \"http://{}/apis/ccompat/v7\" }}\n    \
             lake: {{ url: \"s3://lake/{id}\", endpoint: \"http://{}\", \
             access_key: \"${{env:LAKE_ACCESS_KEY}}\", secret_key: \"${{env:LAKE_SECRET_KEY}}\" }}\n    \
             topics: {{ partitions: 6, replication: 1 }}\n",
            places.kafka, places.registry, places.minio
        );
        self.write("lakepulse.yaml", &format!("{settings}\n{target}"));
        self.real = Some(Real { stack: stack.clone(), id, prefix, applied: Cell::new(false) });
        self
    }
    /// What a topic is named on the services that this project is on.
    pub fn topic(&self, name: &str) -> String {
        match &self.real {
            Some(real) => name.replacen(real.prefix, &real.id, 1),
            None => name.to_owned(),
        }
    }
    /// Where the lake is in the bucket, and what the project is named.
    pub fn id(&self) -> &str {
        &self.real.as_ref().expect("it is on real services").id
    }
    /// Commits of all tables of a layer.
    pub fn commits(&self, layer: &str) -> usize {
        match &self.real {
            Some(Real { stack, id, .. }) => {
                let is_commit = |path: &&String| path.contains("/_delta_log/") && path.ends_with(".json");
                stack.objects(&format!("{id}/{layer}")).iter().filter(is_commit).count()
            }
            None => count_commits(&self.dir.path().join(".lakepulse/lake").join(layer)),
        }
    }
    /// Puts one of its folders on a disk of this many MiB. Only its own processes see it there.
    pub fn mount(&mut self, folder: &str, mib: u32) -> &SmallDisk {
        let folder = self.dir.path().join(folder);
        std::fs::create_dir_all(&folder).expect("created");
        self.disk.insert(SmallDisk::mount(folder, mib))
    }
    /// The small disk.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("mounted before")
    }
    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the project")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    /// A file of the project.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
    /// The command, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.disk {
            Some(disk) => disk.inside(&binary()),
            None => Command::new(binary()),
        };
        command
            .args(args)
            .arg("--project")
            .arg(self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        if let Some(real) = &self.real {
            command.envs(real.stack.keys()).args(["--target", "compose"]);
        }
        command
    }
    /// Real services have nothing of a project before its first `apply`.
    fn prepare(&self, verb: &str) {
        let needs = ["up", "sim", "ingest", "bronze", "silver", "gold"].contains(&verb);
        if let Some(real) = &self.real
            && (needs || verb == "apply")
            && !real.applied.replace(true)
            && needs
        {
            self.run(&["apply"]).ok();
        }
    }
    /// Runs to its end, with a deadline.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[])
    }
    /// The same, with variables of the environment.
    pub fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        self.prepare(args.first().unwrap_or(&"none"));
        let log = self.dir.path().join(format!("run-{}.log", args.first().unwrap_or(&"none")));
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        let mut child = self
            .command(args)
            .envs(environment.iter().copied())
            .stdout(std::fs::File::create(&out).expect("created"))
            .stderr(std::fs::File::create(&err).expect("created"))
            .spawn()
            .expect("the binary starts");
        let status = wait(&mut child, Duration::from_secs(600));
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("written")).into_owned();
        Ran { args: args.join(" "), code: status, stdout: text(&out), stderr: text(&err) }
    }
    /// Starts and goes on; killed with `kill -9` when dropped.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, &[])
    }
    /// The same, with variables of the environment.
    pub fn start_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Running {
        self.prepare(args.first().unwrap_or(&"none"));
        let err = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("started-{}.err", args.first().unwrap_or(&"none"))))
            .expect("created");
        let mut command = self.command(args);
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(err);
        Running(command.spawn().expect("the binary starts"))
    }
    /// Runs a query and gives its rows.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let ran = self.run(&["query", sql, "--format", "json"]).ok();
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON row")).collect()
    }
    /// One value of one row.
    pub fn value(&self, sql: &str) -> Value {
        let rows = self.query(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows[0].as_object().and_then(|row| row.values().next().cloned()).unwrap_or(Value::Null)
    }
}

/// What a test that holds leaves on real services is in the way of the next; one that fails keeps it.
impl Drop for Project {
    fn drop(&mut self) {
        if let Some(real) = self.real.as_ref().filter(|_| !std::thread::panicking()) {
            real.stack.forget(&real.id);
        }
    }
}

/// A file system of limited size, in a mount namespace of its own, which goes with the process that
/// holds it. Root needs nothing for it, anybody else the kernel's leave to make user namespaces.
pub struct SmallDisk {
    holder: Child,
    folder: PathBuf,
    /// Flags that make the namespaces, and enter them.
    flags: [&'static [&'static str]; 2],
}
impl SmallDisk {
    fn mount(folder: PathBuf, mib: u32) -> Self {
        let id = Command::new("id").arg("-u").output().expect("`id` runs");
        let flags: [&[&str]; 2] = if id.stdout == b"0\n" {
            [&["--mount"], &["--mount"]]
        } else {
            [&["--mount", "--map-root-user"], &["--mount", "--user", "--preserve-credentials"]]
        };
        // Ends with its standard input, so with this test however that ends.
        let script = r#"mount -t tmpfs -o size="$1" small "$2" && echo mounted && exec cat"#;
        let mut holder = Command::new("unshare")
            .args(flags[0])
            .args(["sh", "-c", script, "sh", &format!("{mib}m")])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`unshare` runs: it is part of util-linux");
        let mut said = String::new();
        let mut out = BufReader::new(holder.stdout.take().expect("piped"));
        out.read_line(&mut said).expect("it says whether it is mounted");
        assert_eq!(said, "mounted\n", "this test needs a disk of limited size: root, or user namespaces");
        Self { holder, folder, flags }
    }
    /// A command that sees the disk.
    fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().to_string()).args(self.flags[1]).arg("--").arg(program);
        command
    }
    /// Takes all room but this many KiB.
    pub fn fill(&self, but_kib: u32) {
        // Writes until there is no room, then gives some back.
        let script = r#"cat /dev/zero > "$1/ballast" 2>/dev/null; truncate -s -"$2"K "$1/ballast""#;
        let filled = self.shell(script).arg(but_kib.to_string()).status().expect("`nsenter` runs");
        assert!(filled.success(), "the disk is full");
    }
    /// Gives the room back.
    pub fn free(&self) {
        let freed = self.shell(r#"rm "$1/ballast""#).status().expect("`nsenter` runs");
        assert!(freed.success(), "the disk has room");
    }
    fn shell(&self, script: &str) -> Command {
        let mut command = self.inside(Path::new("sh"));
        command.args(["-c", script, "sh"]).arg(&self.folder).stdin(Stdio::null());
        command
    }
}
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A run that ended.
#[derive(Debug)]
pub struct Ran {
    pub args: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}
impl Ran {
    /// Asserts that it ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }
    /// Asserts its exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "`lakepulse {}`\n--- stdout\n{}\n--- stderr\n{}",
            self.args,
            tail(&self.stdout),
            tail(&self.stderr)
        );
        self
    }
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(6_000);
    text.get(from..).unwrap_or(text)
}

/// A process that goes on.
pub struct Running(Child);
impl Running {
    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }
    /// Sends a signal: `STOP` holds it where it is, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        let _: Result<Output, _> = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).output();
    }
    /// Its exit code, once it has ended by itself.
    pub fn wait(mut self, within: Duration) -> Option<i32> {
        wait(&mut self.0, within)
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(child: &mut Child, within: Duration) -> Option<i32> {
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait().expect("our own child") {
            Some(status) => return status.code(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            None => pause(),
        }
    }
}

/// Asks again until `done` says yes; the deadline makes it fail.
#[track_caller]
pub fn until(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        pause();
    }
}

/// Between two looks at something that is polled with a deadline.
#[allow(clippy::disallowed_methods, reason = "the pause of a poll that has a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Commits of all tables below a folder.
pub fn count_commits(layer: &Path) -> usize {
    let Ok(tables) = std::fs::read_dir(layer) else { return 0 };
    tables
        .flatten()
        .filter_map(|table| std::fs::read_dir(table.path().join("_delta_log")).ok())
        .flat_map(|log| log.flatten())
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "json"))
        .count()
}
