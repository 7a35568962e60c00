//! `harness serve`: a server with the extension, to try things by hand.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::{ClusterOptions, private_cluster_of};
use crate::provision::debian;

/// Arguments of `serve`.
#[derive(clap::Args)]
pub struct ServeArguments {
    /// PostgreSQL major version.
    #[arg(long, default_value_t = 18)]
    pg: u32,
}

impl ServeArguments {
    /// Runs a server until this process ends.
    pub fn run(&self) -> Result<ExitCode> {
        debian::get_build_packages()?;
        let cluster = private_cluster_of(self.pg, &ClusterOptions::default())?;
        cluster.connect("postgres")?.batch_execute("CREATE EXTENSION pg_trickle")?;
        println!("{}", cluster.psql_line("postgres"));
        println!("The server runs until this command ends (Ctrl-C).");
        // The server's keeper stops it with this process; there is nothing else to wait for.
        loop {
            std::thread::park();
        }
    }
}
