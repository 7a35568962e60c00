//! Local clusters: a data directory of their own under `/tmp`, run by the server binaries of a runtime copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Backend, Cluster, ClusterOptions, Keeper, SUPERUSER, Shutdown};
use crate::package::Server;
use crate::process::{Account, run};
use crate::provision::cache::{cluster_root, log_folder, make_folder, memory_root};

/// The port number is only part of the socket's name, in a folder that no other server uses.
pub(super) const PORT: u16 = 5432;

/// Seconds to wait for a server to start or stop. Long, because recovery on a loaded machine takes its time.
pub(super) const WAIT_SECONDS: &str = "120";

/// Stops whatever server runs in the folder, waits for it to be gone, and removes the folder.
const CLEAN_UP: &str = r#"
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid"; then tail --pid="$pid" -f /dev/null; fi
rm -rf "$1"
"#;

/// A server in a folder of its own. Stopped and removed on drop; its log is kept when a test fails.
#[derive(Debug)]
pub struct LocalCluster {
    server: Server,
    account: Account,
    folder: PathBuf,
    /// Present until the cluster is dropped or left running.
    keeper: Option<Keeper>,
}

impl LocalCluster {
    /// Creates a data directory and starts a server in it.
    pub fn start_new(server: &Server, options: &ClusterOptions) -> Result<LocalCluster> {
        let account = Account::for_servers()?;
        let root = if options.in_memory { memory_root() } else { cluster_root() };
        let folder = tempfile::Builder::new()
            .prefix("pgt-")
            .rand_bytes(6)
            .tempdir_in(root)
            .context("cannot create a folder for the cluster")?
            .keep();
        let keeper = Keeper::arm(CLEAN_UP, &[&folder.to_string_lossy()])?;
        let cluster = LocalCluster { server: server.clone(), account, folder, keeper: Some(keeper) };
        fs::set_permissions(&cluster.folder, fs::Permissions::from_mode(0o755))?;
        account.give(&cluster.folder)?;
        cluster.init(options)?;
        cluster.start()?;
        Ok(cluster)
    }

    fn init(&self, options: &ClusterOptions) -> Result<()> {
        run(self
            .account
            .command(self.server.bindir.join("initdb"))
            .args(["--username", SUPERUSER, "--auth", "trust", "--no-locale", "--encoding", "UTF8"])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(self.data()))
        .context("cannot create a data directory")?;
        let path = self.data().join("postgresql.conf");
        let mut content = fs::read_to_string(&path)?;
        content.push_str(&options.configuration(&self.folder)?);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's log file.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Folder of the socket, for tools that take host and port apart.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Port number that names the socket.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Folder of the server's programs (`psql`, `pgbench`, `pg_dump`).
    pub fn bindir(&self) -> &Path {
        &self.server.bindir
    }

    /// Stops the server and leaves it down.
    pub fn stop(&self, mode: Shutdown) -> Result<()> {
        run(self.pg_ctl("stop").args(["--mode", mode.word()])).context("cannot stop the server").map(drop)
    }

    /// Leaves the server running for good and returns a shell line that stops and removes it.
    pub fn leave_running(mut self) -> String {
        if let Some(keeper) = self.keeper.take() {
            // Forgetting the keeper would not do: its pipe closes with this process. It must end without acting.
            keeper.disarm();
        }
        let pg_ctl = self.server.bindir.join("pg_ctl");
        let (data, folder) = (self.data(), self.folder.clone());
        let as_user = if crate::process::is_root() { "runuser -u pg_trickle -- " } else { "" };
        format!(
            "{as_user}{} stop --mode fast --pgdata {} && rm -rf {}",
            pg_ctl.display(),
            data.display(),
            folder.display()
        )
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.account.command(self.server.bindir.join("pg_ctl"));
        command.arg(action).args(["--wait", "--timeout", WAIT_SECONDS, "--pgdata"]).arg(self.data());
        command
    }

    fn explain_failure(&self) -> String {
        format!("the end of its log:\n{}", self.log_tail(40))
    }

    /// Copies the log to where it outlives the cluster.
    pub fn keep_log(&self) -> Result<PathBuf> {
        keep_log(&self.folder, &self.log_path(), self.server.major)
    }
}

impl Cluster for LocalCluster {
    fn pg_major(&self) -> u32 {
        self.server.major
    }

    fn backend(&self) -> Backend {
        Backend::Local
    }

    fn conninfo(&self, database: &str) -> String {
        format!("host={} port={PORT} user={SUPERUSER} dbname={database}", self.folder.display())
    }

    fn restart(&self, mode: Shutdown) -> Result<()> {
        self.stop(mode)?;
        self.start()
    }

    fn crash(&self) -> Result<()> {
        self.stop(Shutdown::Immediate)
    }

    fn start(&self) -> Result<()> {
        run(self.pg_ctl("start").arg("--silent").arg("--log").arg(self.log_path()))
            .with_context(|| format!("cannot start the server; {}", self.explain_failure()))?;
        Ok(())
    }

    fn log_tail(&self, lines: usize) -> String {
        tail_of(&self.log_path(), lines)
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.keep_log() {
                Ok(path) => eprintln!("harness: the server's log is kept as {}", path.display()),
                Err(error) => eprintln!("harness: the server's log could not be kept: {error:#}"),
            }
        }
    }
}

/// Copies the log of a cluster to where it outlives the cluster.
pub(super) fn keep_log(folder: &Path, log: &Path, major: u32) -> Result<PathBuf> {
    let kept = make_folder(log_folder())?;
    let name = folder.file_name().unwrap_or_default().display();
    let path = kept.join(format!("{name}-pg{major}.log"));
    fs::copy(log, &path).with_context(|| format!("cannot copy {}", log.display()))?;
    Ok(path)
}

/// The last lines of a log file.
pub(super) fn tail_of(path: &Path, lines: usize) -> String {
    match fs::read(path) {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(no log at {}: {error})", path.display()),
    }
}
