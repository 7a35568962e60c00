//! The crates of others, compiled once for a lock file and a compiler, not once per clone.
//!
//! `harness/run` begins a new target folder with a copy of what an earlier clone left in the cache, under a name that
//! it hands down as `PG_TRICKLE_DEPENDENCIES`. Nothing of this workspace's own crates is in it: cargo would take those of
//! two clones for the same ones, and judge by the time of a file which of them is up to date.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache::{make_folder, target_folder};
use super::say;

/// Where dependencies are kept; set by `harness/run`.
const FOLDER_VARIABLE: &str = "PG_TRICKLE_DEPENDENCIES";

/// What the names of our own packages begin with.
const OWN: &str = "pg_trickle";

/// Leaves the dependencies that this clone has compiled to later clones, unless one has done so before. A failure costs
/// nothing but time, later.
pub fn leave() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from) else { return };
    if folder.exists() {
        return;
    }
    if let Err(error) = leave_in(&target_folder().join("debug"), &folder) {
        say(format_args!("compiled dependencies are not kept for other clones: {error:#}"));
    }
}

fn leave_in(built: &Path, folder: &Path) -> Result<()> {
    let parent = make_folder(folder.parent().unwrap_or(folder).to_path_buf())?;
    // Whole or not at all: another clone may be looking.
    let new = tempfile::Builder::new().prefix("dependencies-").tempdir_in(&parent)?;
    let fingerprints = built.join(".fingerprint");
    let mut units = BTreeSet::new();
    for name in names(&fingerprints)? {
        if name.starts_with(OWN) {
            continue;
        }
        units.extend(unit(&name).map(str::to_owned));
        copy_folder(&fingerprints.join(&name), &new.path().join(".fingerprint").join(&name))?;
        let build = built.join("build").join(&name);
        if build.is_dir() {
            copy_folder(&build, &new.path().join("build").join(&name))?;
        }
    }
    let deps = make_folder(new.path().join("deps"))?;
    for name in names(&built.join("deps"))? {
        if unit(&name).is_some_and(|unit| units.contains(unit)) {
            copy_file(&built.join("deps").join(&name), &deps.join(&name))?;
        }
    }
    fs::rename(new.path(), folder).with_context(|| folder.display().to_string())
}

/// The mark of what was compiled, at the end of its name: `libanyhow-24eeac67336ce60f.rlib`.
fn unit(name: &str) -> Option<&str> {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let (_, unit) = stem.rsplit_once('-')?;
    (unit.len() == 16 && unit.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(unit)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy_folder(&from, &to)? } else { copy_file(&from, &to)? }
    }
    Ok(())
}

/// A copy of the same age, by which cargo tells what is up to date.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    let changed = fs::metadata(from)?.modified()?;
    fs::File::options().write(true).open(to)?.set_modified(changed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{leave_in, unit};
    use std::fs;

    #[test]
    fn own_crates_are_left_out_and_ages_are_kept() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let built = root.path().join("debug");
        let (theirs, ours) = ("1111111111111111", "2222222222222222");
        for folder in [format!(".fingerprint/serde-{theirs}"), format!(".fingerprint/pg_trickle_core-{ours}")]
        {
            fs::create_dir_all(built.join(&folder))?;
            fs::write(built.join(folder).join("lib"), "x")?;
        }
        fs::create_dir_all(built.join("deps"))?;
        fs::create_dir_all(built.join(format!("build/serde-{theirs}/out")))?;
        for name in [format!("libserde-{theirs}.rlib"), format!("sql-{ours}"), format!("sql-{ours}.d")] {
            fs::write(built.join("deps").join(name), "x")?;
        }
        let library = built.join(format!("deps/libserde-{theirs}.rlib"));
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(&library)?.set_modified(old)?;
        let folder = root.path().join("cache/dependencies");
        leave_in(&built, &folder)?;
        let kept = folder.join(format!("deps/libserde-{theirs}.rlib"));
        assert_eq!(fs::metadata(kept)?.modified()?, old);
        assert_eq!(fs::read_dir(folder.join("deps"))?.count(), 1);
        assert_eq!(fs::read_dir(folder.join(".fingerprint"))?.count(), 1);
        assert!(folder.join(format!("build/serde-{theirs}/out")).is_dir());
        Ok(())
    }

    #[test]
    fn mark_is_at_the_end_of_the_name() {
        assert_eq!(unit("libanyhow-24eeac67336ce60f.rlib"), Some("24eeac67336ce60f"));
        assert_eq!(unit("proc-macro2-24eeac67336ce60f"), Some("24eeac67336ce60f"));
        assert_eq!(unit("libstd-plain.so"), None);
    }
}
