//! A cluster of whichever backend serves a version, started and owned by this process.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::{Cluster, ClusterOptions, ContainerCluster, LocalCluster, SharedCluster};
use crate::package::Server;
use crate::provision::image;
use crate::provision::plan::{Supply, Version};

/// A running server of this process's own.
pub enum StartedCluster {
    /// Server processes of this machine.
    Local(LocalCluster),
    /// A container.
    Container(Box<ContainerCluster>),
}

impl StartedCluster {
    /// Packages the extension for a version, and starts a server with it.
    pub fn start(version: &Version, options: &ClusterOptions) -> Result<StartedCluster> {
        match &version.supply {
            Supply::Local(installation) => {
                let server = Server::with_extension(installation)?;
                Ok(StartedCluster::Local(LocalCluster::start_new(&server, options)?))
            }
            Supply::Container(recipe) => {
                let image = image::image(recipe)?;
                Ok(StartedCluster::Container(Box::new(ContainerCluster::start_new(
                    version.major,
                    &image,
                    options,
                )?)))
            }
            Supply::Missing(reason) => bail!("there is no PostgreSQL {}: {reason}", version.major),
        }
    }

    /// The description by which other processes connect to it.
    pub fn share(&self) -> SharedCluster {
        match self {
            StartedCluster::Local(cluster) => SharedCluster::of_local(cluster),
            StartedCluster::Container(cluster) => SharedCluster::of_container(cluster),
        }
    }

    /// Copies the server's log to where it outlives the server.
    pub fn keep_log(&self) -> Result<PathBuf> {
        match self {
            StartedCluster::Local(cluster) => cluster.keep_log(),
            StartedCluster::Container(cluster) => cluster.keep_log(),
        }
    }

    /// Leaves the server running when this process ends, and returns a shell line that stops and removes it.
    pub fn leave_running(self) -> String {
        match self {
            StartedCluster::Local(cluster) => cluster.leave_running(),
            StartedCluster::Container(cluster) => cluster.leave_running(),
        }
    }

    /// The cluster behind its trait.
    pub fn into_cluster(self) -> Arc<dyn Cluster> {
        match self {
            StartedCluster::Local(cluster) => Arc::new(cluster),
            StartedCluster::Container(cluster) => Arc::new(*cluster),
        }
    }
}
