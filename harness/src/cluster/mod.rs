//! Clusters: running servers with the extension, behind one trait, whatever runs them.
//!
//! Under `harness test` (and so under `just test` and CI) the harness starts one server per PostgreSQL version, and
//! the tests of that version share it, each in a database of its own. Under a plain `cargo nextest run` or
//! `cargo test` there is no such server, and each test process starts a private one. [`test_database`] hides the
//! difference. A test that stops, restarts or crashes its server asks for a [`private_cluster`].
//!
//! Servers stop when their [`Cluster`] is dropped, and also when the process that started them dies in any way,
//! Ctrl-C and SIGKILL included: see [`keeper`].

mod container;
mod database;
mod keeper;
mod local;
mod selection;
mod shared;
mod started;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use postgres::{Client, NoTls};

pub use container::ContainerCluster;
pub use database::{
    TestDatabase, private_cluster, private_cluster_of, private_plain_cluster_of, test_cluster, test_database,
};
pub use keeper::Keeper;
pub use local::LocalCluster;
pub use selection::{
    Backend, BackendChoice, DEFAULT_MAJOR, SUPPORTED_MAJORS, parse_majors, wanted_backend, wanted_majors,
};
pub use shared::{SHARED_CLUSTER_VARIABLE, SharedCluster};
pub use started::StartedCluster;

/// The superuser of every cluster.
pub const SUPERUSER: &str = "postgres";

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Whether `shared_preload_libraries` names the extension.
    pub preload: bool,
    /// Whether the server waits for the disk. Off for tests: no test of ours crashes the operating system.
    pub fsync: bool,
    /// Whether the data directory is in memory where the machine has enough of it. One in a container does not outlive
    /// the container.
    pub in_memory: bool,
    /// Further settings, written after the harness's own, so that they win.
    pub settings: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions { preload: true, fsync: false, in_memory: false, settings: Vec::new() }
    }
}

impl ClusterOptions {
    /// Adds a setting.
    pub fn set(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.settings.push((name.to_string(), value.to_string()));
        self
    }

    /// For many small databases: a file system takes its time to make and remove their files.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Without the extension in `shared_preload_libraries`.
    pub fn without_preload(mut self) -> Self {
        self.preload = false;
        self
    }

    /// What is added to `postgresql.conf` of a server whose socket is in `folder`.
    fn configuration(&self, folder: &Path) -> Result<String> {
        let mut text = String::from("\n# Written by the harness.\n");
        let own = [
            ("listen_addresses", String::new()),
            ("unix_socket_directories", folder.display().to_string()),
            ("port", local::PORT.to_string()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_string(), value));
        for (name, value) in own.chain(self.server_settings()) {
            // A later line wins over an earlier one, as the options promise.
            writeln!(text, "{name} = '{}'", value.replace('\'', "''"))?;
        }
        Ok(text)
    }

    /// All settings of the server in the order they are written, without those of socket and address.
    fn server_settings(&self) -> Vec<(String, String)> {
        let on_off = |on: bool| if on { "on" } else { "off" }.to_string();
        let mut settings: Vec<(String, String)> = [
            ("max_connections", "100"),
            ("max_prepared_transactions", "20"),
            // One launcher, one scheduler per database, refresh workers, and parallel queries of all of them.
            ("max_worker_processes", "64"),
            // Only some builds have it, and to compile a query of a few rows takes longer than to run it.
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %d "),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .to_vec();
        settings.push(("fsync".to_string(), on_off(self.fsync)));
        settings.push(("full_page_writes".to_string(), on_off(self.fsync)));
        if self.preload {
            settings.push(("shared_preload_libraries".to_string(), "pg_trickle".to_string()));
        }
        settings.extend(self.settings.iter().cloned());
        settings
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, workers asked to stop, the server checkpoints.
    Fast,
    /// Like a crash: every process ends at once, the next start recovers from WAL.
    Immediate,
}

impl Shutdown {
    fn word(self) -> &'static str {
        match self {
            Shutdown::Fast => "fast",
            Shutdown::Immediate => "immediate",
        }
    }
}

/// A running server.
pub trait Cluster: Send + Sync {
    /// Major version of the server.
    fn pg_major(&self) -> u32;

    /// What runs the server.
    fn backend(&self) -> Backend;

    /// Connection string for a database, in the form that libpq and the `postgres` crate read.
    fn conninfo(&self, database: &str) -> String;

    /// Stops the server and starts it again. It accepts connections when this returns.
    fn restart(&self, mode: Shutdown) -> Result<()>;

    /// Stops the server as a crash would, and leaves it down.
    fn crash(&self) -> Result<()>;

    /// Starts a stopped server. It accepts connections when this returns.
    fn start(&self) -> Result<()>;

    /// The last lines of the server's log.
    fn log_tail(&self, lines: usize) -> String;

    /// Opens a session as superuser.
    fn connect(&self, database: &str) -> Result<Client> {
        let conninfo = self.conninfo(database);
        Client::connect(&conninfo, NoTls).with_context(|| format!("cannot connect to `{conninfo}`"))
    }

    /// Creates an empty database of a fresh name, and returns the name.
    fn create_database(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Test processes share a server, so the process's own number is part of the name.
        let name = format!("t_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.administer(&mut |session| {
            let created = session.batch_execute(&format!("CREATE DATABASE {name}"));
            created.with_context(|| format!("cannot create database {name}"))
        })?;
        Ok(name)
    }

    /// Does something in a session with the database `postgres`.
    fn administer(&self, task: &mut dyn FnMut(&mut Client) -> Result<()>) -> Result<()> {
        task(&mut self.connect("postgres")?)
    }

    /// A shell line that opens `psql` on a database.
    fn psql_line(&self, database: &str) -> String {
        format!("psql \"{}\"", self.conninfo(database))
    }
}
