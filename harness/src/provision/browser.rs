//! A browser without a screen, for looking at reports: one that is installed, else Debian's package.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::debian;
use crate::process::is_on_path;

/// Names under which distributions install it.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser, after installing it if need be.
pub fn get() -> Result<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    debian::install(&["chromium", "fonts-dejavu-core"])?;
    match installed() {
        Some(found) => Ok(found),
        None => bail!("the package chromium brought no program of that name"),
    }
}

fn installed() -> Option<PathBuf> {
    PROGRAMS.into_iter().find(|program| is_on_path(program)).map(PathBuf::from)
}
