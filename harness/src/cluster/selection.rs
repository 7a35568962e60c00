//! Which PostgreSQL versions and which backend a run uses, from the environment.

use std::fmt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The versions the product supports.
pub const SUPPORTED_MAJORS: [u32; 3] = [16, 17, 18];

/// The version that is used where one is needed and none is asked for.
pub const DEFAULT_MAJOR: u32 = 18;

/// What runs a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Server processes of this machine.
    Local,
    /// A container.
    Container,
}

impl fmt::Display for Backend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Backend::Local => "local",
            Backend::Container => "container",
        })
    }
}

/// Which backend is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// A local server where the machine has one, else a container.
    Auto,
    /// This one or none.
    Only(Backend),
}

impl BackendChoice {
    /// Whether a backend may be used.
    pub fn allows(self, backend: Backend) -> bool {
        match self {
            BackendChoice::Auto => true,
            BackendChoice::Only(only) => only == backend,
        }
    }
}

/// `PG_TRICKLE_CLUSTER`: `auto` (the default), `local` or `container`.
pub fn wanted_backend() -> Result<BackendChoice> {
    parse_backend(&std::env::var("PG_TRICKLE_CLUSTER").unwrap_or_default())
}

/// `PG_TRICKLE_PG`: a list of major versions such as `16,17,18`. `None` when it is not set.
pub fn wanted_majors() -> Result<Option<Vec<u32>>> {
    match std::env::var("PG_TRICKLE_PG") {
        Ok(text) if !text.trim().is_empty() => parse_majors(&text).map(Some),
        _ => Ok(None),
    }
}

/// Reads a list of major versions such as `16,17,18`.
pub fn parse_majors(text: &str) -> Result<Vec<u32>> {
    let mut majors = Vec::new();
    for word in text.split(',').map(str::trim) {
        match word.parse() {
            Ok(major) if SUPPORTED_MAJORS.contains(&major) => majors.push(major),
            _ => {
                bail!("`{word}` is not a supported PostgreSQL version; write a list of {SUPPORTED_MAJORS:?}")
            }
        }
    }
    Ok(majors)
}

fn parse_backend(text: &str) -> Result<BackendChoice> {
    Ok(match text.trim() {
        "" | "auto" => BackendChoice::Auto,
        "local" => BackendChoice::Only(Backend::Local),
        "container" => BackendChoice::Only(Backend::Container),
        other => bail!("PG_TRICKLE_CLUSTER is `{other}`; it may be `auto`, `local` or `container`"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Backend, BackendChoice, parse_backend, parse_majors};

    #[test]
    fn majors_are_read_and_unsupported_ones_refused() {
        assert_eq!(parse_majors("16, 18").expect("a list"), vec![16, 18]);
        assert!(parse_majors("15").is_err());
        assert!(parse_majors("16;17").is_err());
    }

    #[test]
    fn backend_is_read_and_misspelling_refused() {
        assert_eq!(parse_backend("").expect("the default"), BackendChoice::Auto);
        assert_eq!(parse_backend("container").expect("a backend"), BackendChoice::Only(Backend::Container));
        assert!(parse_backend("docker").is_err());
    }
}
