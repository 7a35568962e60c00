//! Wheels from PyPI that carry native libraries: fetched with pip, pinned by hash, unpacked with their layout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::cache::{cache_root, make_folder};
use super::lock::Lock;
use super::say;
use crate::process::{is_on_path, run};

/// A wheel of one version, with the hash of its file per processor.
pub struct Wheel {
    pub name: &'static str,
    pub version: &'static str,
    /// `(processor as Rust names it, SHA-256 of the wheel for CPython 3.11)`. The files inside do not depend on the
    /// Python version, so one is pinned, whatever Python the machine has.
    pub hashes: &'static [(&'static str, &'static str)],
}

/// Unpacks a zip file with the permissions it records, which `python3 -m zipfile` loses.
const UNPACK: &str = "
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    for entry in archive.infolist():
        path = archive.extract(entry, sys.argv[2])
        mode = entry.external_attr >> 16
        if mode and not entry.is_dir():
            os.chmod(path, mode & 0o777 | 0o444)
";

impl Wheel {
    /// Makes sure that the wheel is unpacked in `folder`.
    pub fn unpack_to(&self, folder: &Path) -> Result<()> {
        let _lock = Lock::acquire(&folder.with_extension("lock"), || {
            say(format_args!("another process unpacks {} {}, waiting for it", self.name, self.version));
        })?;
        if folder.is_dir() {
            return Ok(());
        }
        let file = self.fetch()?;
        let unfinished = folder.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        run(Command::new("python3").args(["-c", UNPACK]).arg(&file).arg(&unfinished))
            .with_context(|| format!("cannot unpack {}", file.display()))?;
        fs::rename(&unfinished, folder)?;
        Ok(())
    }

    /// The wheel's file in the cache, downloaded if it is not there, with the hash checked either way.
    fn fetch(&self) -> Result<PathBuf> {
        let processor = std::env::consts::ARCH;
        let Some((_, expected)) = self.hashes.iter().find(|(known, _)| *known == processor) else {
            bail!("there is no wheel of {} {} for {processor}", self.name, self.version);
        };
        let folder = make_folder(cache_root().join("wheels"))?;
        if let Some(file) = find_by_hash(&folder, expected)? {
            return Ok(file);
        }
        if !is_on_path("python3") || run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
            bail!("python3 with pip is needed to fetch {} from PyPI (Debian: python3-pip)", self.name);
        }
        say(format_args!("fetching {} {} from PyPI ...", self.name, self.version));
        run(Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"])
            .args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"])
            .arg("--platform")
            .arg(format!("manylinux_2_28_{processor}"))
            .arg("--dest")
            .arg(&folder)
            .arg(format!("{}=={}", self.name, self.version)))?;
        find_by_hash(&folder, expected)?.with_context(|| {
            format!(
                "PyPI's {} {} is not the file that was pinned (SHA-256 {expected})",
                self.name, self.version
            )
        })
    }
}

fn find_by_hash(folder: &Path, expected: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            let digest = Sha256::digest(fs::read(&path)?);
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            if digits == expected {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
