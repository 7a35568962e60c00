//! Container clusters: the same steps as for a local one, run inside a container.
//!
//! Socket and log are in a folder of the host that the container has mounted under the same path. So tests connect as
//! they do to a local server, the address survives restarts, and nothing listens on the network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use testcontainers::clients::Cli;
use testcontainers::core::ExecCommand;
use testcontainers::{Container, GenericImage, RunnableImage};

use super::local::{PORT, WAIT_SECONDS, keep_log, tail_of};
use super::{Backend, Cluster, ClusterOptions, Keeper, SUPERUSER, Shutdown};
use crate::provision::cache::{cluster_root, memory_root};
use crate::provision::image::Image;

/// The data directory inside the container, on disk or in memory.
const DATA: &str = "/var/lib/pg_trickle/data";
const DATA_IN_MEMORY: &str = "/dev/shm/pg_trickle_data";

/// Parallel queries share memory there; the engine's default of 64 MB is too little for them.
const SHARED_MEMORY_BYTES: u64 = 1 << 30;
/// The same with a data directory: a limit, of which test databases take a part.
const SHARED_MEMORY_BYTES_WITH_DATA: u64 = 6 << 30;

/// Removes the container, which stops its server, then the folder.
const CLEAN_UP: &str = r#"docker rm -f -v "$1"; rm -rf "$2""#;

/// A server in a container of its own. Removed on drop; its log is kept when a test fails.
pub struct ContainerCluster {
    /// Dropped before the keeper, which then finds only the folder to remove.
    container: Option<Container<'static, GenericImage>>,
    keeper: Option<Keeper>,
    major: u32,
    image: Image,
    folder: PathBuf,
    data: &'static str,
}

impl ContainerCluster {
    /// Starts a container from an image and a server in it.
    pub fn start_new(major: u32, image: &Image, options: &ClusterOptions) -> Result<ContainerCluster> {
        let folder = tempfile::Builder::new()
            .prefix("pgt-")
            .rand_bytes(6)
            .tempdir_in(cluster_root())
            .context("cannot create a folder for the cluster")?
            .keep();
        let path = folder.to_string_lossy().into_owned();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let keeper = Keeper::arm(CLEAN_UP, &[&name, &path])?;
        // The server's user is one of the container's, unknown here.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777))?;
        fs::write(folder.join("harness.conf"), options.configuration(&folder)?)?;
        let (repository, tag) = image.tag.split_once(':').context("the image has no tag")?;
        let (data, shared_memory) = if options.in_memory && memory_root() != cluster_root() {
            (DATA_IN_MEMORY, SHARED_MEMORY_BYTES_WITH_DATA)
        } else {
            (DATA, SHARED_MEMORY_BYTES)
        };
        let request = RunnableImage::from(GenericImage::new(repository, tag))
            .with_container_name(&name)
            .with_volume((path.clone(), path))
            .with_shm_size(shared_memory);
        static CLIENT: OnceLock<Cli> = OnceLock::new();
        let client = CLIENT.get_or_init(Cli::default);
        // The crate reports a container that does not start as a panic.
        let container = catch_unwind(AssertUnwindSafe(|| client.run(request)))
            .map_err(|_| anyhow!("a container of {} did not start", image.tag))?;
        let cluster = ContainerCluster {
            container: Some(container),
            keeper: Some(keeper),
            major,
            image: image.clone(),
            folder,
            data,
        };
        cluster.init()?;
        cluster.start()?;
        Ok(cluster)
    }

    fn init(&self) -> Result<()> {
        let configuration = self.folder.join("harness.conf");
        self.execute(&format!(
            "{}/initdb --username {SUPERUSER} --auth trust --no-locale --encoding UTF8 --no-sync --no-instructions \
             --pgdata {data} && cat {} >> {data}/postgresql.conf",
            self.image.bindir.display(),
            configuration.display(),
            data = self.data,
        ))
        .context("cannot create a data directory")
        .map(drop)
    }

    /// Runs a shell command inside as the server's user, and returns what it prints.
    fn execute(&self, command: &str) -> Result<String> {
        let container = self.container.as_ref().context("the container is gone")?;
        // The crate does not tell the exit status, so the command prints it.
        let line = format!("export LC_ALL=C TZ=UTC; {{ {command} ; }} 2>&1; echo \"exit status $?\"");
        let output = container.exec(ExecCommand { cmd: line, ..ExecCommand::default() });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.trim_end().rsplit_once("exit status ") {
            Some((printed, "0")) => Ok(printed.to_string()),
            _ => bail!(
                "`{command}` failed in the container:\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    fn pg_ctl(&self, arguments: &str) -> Result<()> {
        let bindir = self.image.bindir.display();
        let data = self.data;
        self.execute(&format!("{bindir}/pg_ctl {arguments} --wait --timeout {WAIT_SECONDS} --pgdata {data}"))
            .map(drop)
    }

    /// The server's log file.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Folder of the socket, on the host as inside.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// Copies the log to where it outlives the cluster.
    pub fn keep_log(&self) -> Result<PathBuf> {
        keep_log(&self.folder, &self.log_path(), self.major)
    }

    /// Leaves the container running for good and returns a shell line that removes it.
    pub fn leave_running(mut self) -> String {
        if let Some(keeper) = self.keeper.take() {
            keeper.disarm();
        }
        // Dropping it would remove the container.
        std::mem::forget(self.container.take());
        let folder = self.folder.display();
        let name = self.folder.file_name().unwrap_or_default().display();
        format!("docker rm -f -v {name} && rm -rf {folder}")
    }
}

impl Cluster for ContainerCluster {
    fn pg_major(&self) -> u32 {
        self.major
    }

    fn backend(&self) -> Backend {
        Backend::Container
    }

    fn conninfo(&self, database: &str) -> String {
        format!("host={} port={PORT} user={SUPERUSER} dbname={database}", self.folder.display())
    }

    fn restart(&self, mode: Shutdown) -> Result<()> {
        self.pg_ctl(&format!("stop --mode {}", mode.word()))?;
        self.start()
    }

    fn crash(&self) -> Result<()> {
        self.pg_ctl("stop --mode immediate")
    }

    fn start(&self) -> Result<()> {
        self.pg_ctl(&format!("start --silent --log {}", self.log_path().display()))
            .with_context(|| format!("cannot start the server; the end of its log:\n{}", self.log_tail(40)))
    }

    fn log_tail(&self, lines: usize) -> String {
        tail_of(&self.log_path(), lines)
    }
}

impl Drop for ContainerCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            match self.keep_log() {
                Ok(path) => eprintln!("harness: the server's log is kept as {}", path.display()),
                Err(error) => eprintln!("harness: the server's log could not be kept: {error:#}"),
            }
        }
    }
}
