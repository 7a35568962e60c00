//! `harness provision`: everything that other commands would get when they need it, at once.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::plan::{Supply, Version, supply};
use super::{debian, duckdb, image, tools};
use crate::cluster::{SUPPORTED_MAJORS, parse_majors, wanted_backend, wanted_majors};
use crate::package::Server;

/// Arguments of `provision`.
#[derive(clap::Args)]
pub struct ProvisionArguments {
    /// PostgreSQL major versions, such as `16,17,18`; default: $PG_TRICKLE_PG, else all supported.
    #[arg(long)]
    pg: Option<String>,
}

/// Packages the extension for a version that the machine offers; returns where a server with it is.
pub fn prepare(version: &Version) -> Result<Option<String>> {
    Ok(match &version.supply {
        Supply::Local(installation) => {
            Some(Server::with_extension(installation)?.bindir.display().to_string())
        }
        Supply::Container(recipe) => Some(format!("image {}", image::image(recipe)?.tag)),
        Supply::Missing(_) => None,
    })
}

impl ProvisionArguments {
    /// Gets everything and prints what there is, one line each.
    pub fn run(&self) -> Result<ExitCode> {
        let named = match &self.pg {
            Some(text) => Some(parse_majors(text)?),
            None => wanted_majors()?,
        };
        let majors = named.clone().unwrap_or_else(|| SUPPORTED_MAJORS.to_vec());
        debian::get_build_packages()?;
        tools::cargo_pgrx()?;
        tools::nextest_folder()?;
        let library = duckdb::get().context("the oracle needs DuckDB")?;
        let versions = supply(&majors, wanted_backend()?)?;
        let mut complete = true;
        for version in &versions {
            println!("{version}");
            match prepare(version)? {
                Some(place) => println!("    with the extension: {place}"),
                None => complete = false,
            }
        }
        println!("DuckDB: {}", library.display());
        // A version that the user asked for by name must be there.
        Ok(if complete || named.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
