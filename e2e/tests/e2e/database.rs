//! A PostgreSQL server of a test's own, from the programs that apt installs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::until;

const PASSWORD: &str = "of-this-test-only";

/// A server with its data in a temporary folder. Gone when dropped.
pub struct Database {
    dir: TempDir,
    process: Option<Child>,
    port: u16,
    name: &'static str,
}

impl Database {
    /// An empty database on a server whose log can be read.
    pub fn empty() -> Self {
        Self::with("logical", "postgres")
    }
    /// An empty database on a server as PostgreSQL comes.
    pub fn unprepared() -> Self {
        Self::with("replica", "postgres")
    }
    /// The retailer's database, its tables empty.
    pub fn retailer() -> Self {
        let mut database = Self::with("logical", "postgres");
        database.sql("CREATE DATABASE wide_world_importers");
        database.name = "wide_world_importers";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        for file in ["1-roles.sql", "2-tables.sql"] {
            let file = root.join("compose/postgres").join(file);
            let mut psql = database.psql();
            psql.env("RETAILER_PASSWORD", PASSWORD).env("LAKEPULSE_POSTGRES_PASSWORD", PASSWORD);
            succeed(psql.arg("-1").arg("-f").arg(file));
        }
        database
    }

    fn with(wal_level: &str, name: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("lakepulse-pg-").tempdir().expect("a temporary folder");
        if is_root() {
            succeed(Command::new("chown").arg("postgres:").arg(dir.path()));
        }
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).expect("written");
        if is_root() {
            succeed(Command::new("chown").arg("postgres:").arg(&password));
        }
        let mut initdb = server_program("initdb");
        initdb.args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--no-sync",
        ]);
        let data = dir.path().join("data");
        succeed(initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password).stdout(Stdio::null()));
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut database = Self { dir, process: None, port: free.port(), name };
        let log = std::fs::File::create(database.dir.path().join("log")).expect("created");
        let mut server = server_program("postgres");
        server.arg("-D").arg(&data).stdout(Stdio::null()).stderr(log);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            &format!("wal_level={wal_level}"),
            &format!("port={}", database.port),
        ] {
            server.args(["-c", setting]);
        }
        database.process = Some(server.spawn().expect("the server starts"));
        until("the database answers", Duration::from_secs(60), || {
            database.psql().args(["-c", "SELECT 1"]).output().is_ok_and(|asked| asked.status.success())
        });
        database
    }

    /// Its address for a user that exists.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}:{PASSWORD}@127.0.0.1:{}/{}", self.port, self.name)
    }
    /// Makes a user with these attributes.
    pub fn role(&self, name: &str, attributes: &str) {
        self.sql(&format!("CREATE ROLE {name} LOGIN {attributes} PASSWORD '{PASSWORD}'"));
    }
    /// Runs statements as superuser; what they print, a line a row.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let asked = self.psql().args(["-c", sql]).output().expect("psql runs");
        assert!(asked.status.success(), "{sql}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8_lossy(&asked.stdout).trim_end().to_owned()
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(home().join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        psql.args(["-p", &self.port.to_string(), "-d", self.name]).env("PGPASSWORD", PASSWORD);
        psql.env("PGTZ", "UTC").stdin(Stdio::null());
        psql
    }
}
impl Drop for Database {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs to its end, and well.
#[track_caller]
fn succeed(command: &mut Command) {
    let status = command.status().expect("the program is there");
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

/// Programs of the newest PostgreSQL here.
fn home() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut homes: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    homes.retain(|home| home.join("initdb").exists());
    homes.sort();
    homes.pop().expect("these tests need PostgreSQL: `apt install postgresql`")
}

/// A server's program. It refuses to be root, and it ends with this test however that ends.
fn server_program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(home().join(name)).current_dir("/");
    command
}
