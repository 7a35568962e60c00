//! A cluster that another process runs: what a test sees of the server that `harness test` started for all tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use postgres::Client;
use serde::{Deserialize, Serialize};

use super::local::{PORT, tail_of};
use super::{Backend, Cluster, ContainerCluster, LocalCluster, SUPERUSER, Shutdown};

/// Environment variable in which `harness test` hands the description of its server to the tests.
pub const SHARED_CLUSTER_VARIABLE: &str = "PG_TRICKLE_SHARED_CLUSTER";

/// Description of a running server, enough to connect to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedCluster {
    pub major: u32,
    pub backend: Backend,
    pub host: String,
    pub port: u16,
    /// Path of the server's log, where this machine can read it.
    pub log: Option<PathBuf>,
}

impl SharedCluster {
    /// Describes a local cluster that this process runs.
    pub fn of_local(cluster: &LocalCluster) -> SharedCluster {
        SharedCluster {
            major: cluster.pg_major(),
            backend: Backend::Local,
            host: cluster.socket_folder().to_string_lossy().into_owned(),
            port: cluster.port(),
            log: Some(cluster.log_path()),
        }
    }

    /// Describes a container that this process runs.
    pub fn of_container(cluster: &ContainerCluster) -> SharedCluster {
        SharedCluster {
            major: cluster.pg_major(),
            backend: Backend::Container,
            host: cluster.socket_folder().to_string_lossy().into_owned(),
            port: PORT,
            log: Some(cluster.log_path()),
        }
    }

    /// The server that the environment offers, if any.
    pub fn offered() -> Result<Option<SharedCluster>> {
        match std::env::var(SHARED_CLUSTER_VARIABLE) {
            Ok(text) if !text.is_empty() => serde_json::from_str(&text).map(Some).with_context(|| {
                format!("{SHARED_CLUSTER_VARIABLE} is not a description of a server: {text}")
            }),
            _ => Ok(None),
        }
    }
}

impl Cluster for SharedCluster {
    fn pg_major(&self) -> u32 {
        self.major
    }

    fn backend(&self) -> Backend {
        self.backend
    }

    fn conninfo(&self, database: &str) -> String {
        format!("host={} port={} user={SUPERUSER} dbname={database}", self.host, self.port)
    }

    fn restart(&self, _mode: Shutdown) -> Result<()> {
        bail!(
            "this server is shared by all tests; a test that restarts its server asks for a private cluster"
        )
    }

    fn crash(&self) -> Result<()> {
        bail!("this server is shared by all tests; a test that crashes its server asks for a private cluster")
    }

    fn start(&self) -> Result<()> {
        bail!("this server is run by another process")
    }

    /// In a session that the process keeps: to begin one takes longer than most of what is done in it.
    fn administer(&self, task: &mut dyn FnMut(&mut Client) -> Result<()>) -> Result<()> {
        static SESSIONS: Mutex<BTreeMap<String, Client>> = Mutex::new(BTreeMap::new());
        let server = self.conninfo("postgres");
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| !session.is_closed());
        if !sessions.contains_key(&server) {
            sessions.insert(server.clone(), self.connect("postgres")?);
        }
        task(sessions.get_mut(&server).context("the session is there")?)
    }

    fn log_tail(&self, lines: usize) -> String {
        match &self.log {
            Some(path) => tail_of(path, lines),
            None => "(the server's log is inside its container)".to_string(),
        }
    }
}
