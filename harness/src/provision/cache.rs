//! Where things are kept.
//!
//! Two roots, for one reason: root's home is closed to other users, and servers run as another user. So what is
//! downloaded or built goes to the *cache*, and what a server process must read goes to the *runtime* root, which for
//! root is a folder that everybody may traverse. Nothing in the runtime root is secret or writable by others.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::is_root;

/// `$PG_TRICKLE_CACHE`, default `${XDG_CACHE_HOME:-$HOME/.cache}/pg_trickle`.
pub fn cache_root() -> PathBuf {
    if let Some(path) = env_path("PG_TRICKLE_CACHE") {
        return path;
    }
    if let Some(path) = env_path("XDG_CACHE_HOME") {
        return path.join("pg_trickle");
    }
    env_path("HOME").unwrap_or_else(|| PathBuf::from("/tmp")).join(".cache/pg_trickle")
}

/// `$PG_TRICKLE_RUNTIME`; by default `/var/cache/pg_trickle` for root and `runtime` in the cache for anybody else.
pub fn runtime_root() -> PathBuf {
    if let Some(path) = env_path("PG_TRICKLE_RUNTIME") {
        return path;
    }
    if is_root() { PathBuf::from("/var/cache/pg_trickle") } else { cache_root().join("runtime") }
}

/// Folder for data directories and sockets: `$PG_TRICKLE_TMP`, default `/tmp`. It must be short, because the path of a
/// Unix socket may not exceed 107 bytes, so `TMPDIR` (long on some machines) is not used.
pub fn cluster_root() -> PathBuf {
    env_path("PG_TRICKLE_TMP").unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Where data directories are in memory, if the machine can spare some; else [`cluster_root`].
pub fn memory_root() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let has_enough = is_memory_enough(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default());
    if env_path("PG_TRICKLE_TMP").is_none() && has_enough && memory.is_dir() {
        memory
    } else {
        cluster_root()
    }
}

/// Kilobytes of memory that must be available for data directories to be put there. Test databases come and go; all at
/// a time take less than a tenth of it.
const MEMORY_MIN_KB: u64 = 8 << 20;

/// Whether `/proc/meminfo` says so.
fn is_memory_enough(meminfo: &str) -> bool {
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = available.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.is_some_and(|kilobytes| kilobytes >= MEMORY_MIN_KB)
}

/// The checkout that this harness belongs to: `$PG_TRICKLE_ROOT` (set by `harness/run`), else where it was compiled.
pub fn checkout() -> PathBuf {
    env_path("PG_TRICKLE_ROOT").unwrap_or_else(|| {
        let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
        harness.parent().unwrap_or(harness).to_path_buf()
    })
}

/// Where cargo builds: `$CARGO_TARGET_DIR`, else `target` of the checkout.
pub fn target_folder() -> PathBuf {
    env_path("CARGO_TARGET_DIR").unwrap_or_else(|| checkout().join("target"))
}

/// Where logs of failed clusters are kept: `target/cluster-logs` of the checkout.
pub fn log_folder() -> PathBuf {
    env_path("PG_TRICKLE_LOGS").unwrap_or_else(|| checkout().join("target/cluster-logs"))
}

/// Creates a folder with its parents and returns it.
pub fn make_folder(path: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
