//! Locks between processes: test processes run in parallel, and each of them may find that a server or a package is
//! missing. One makes it, the others wait and find it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use super::cache::make_folder;

/// Holds an exclusive lock on a file until dropped. The kernel releases it when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock named by `path`. `waiting` is called once if somebody else holds it.
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
        if let Some(folder) = path.parent() {
            make_folder(folder.to_path_buf())?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            waiting();
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Lock { _file: file })
    }
}
