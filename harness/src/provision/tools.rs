//! Build tools that are not part of the Rust toolchain: `cargo-pgrx` and `cargo-nextest`, built from crates.io into
//! the cache when the machine has none.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::{cache_root, make_folder};
use super::lock::Lock;
use super::say;
use crate::process::{is_on_path, run, run_visible};

/// Version of pgrx and cargo-pgrx, which must be equal. The newest that the project's Rust can build.
pub const PGRX_VERSION: &str = "0.18.1";

/// Version of cargo-nextest that is built where there is none; any installed version serves.
const NEXTEST_VERSION: &str = "0.9.143";

/// Path of a `cargo-pgrx` of [`PGRX_VERSION`].
pub fn cargo_pgrx() -> Result<PathBuf> {
    if is_on_path("cargo-pgrx") {
        let version = run(Command::new("cargo-pgrx").args(["pgrx", "--version"])).unwrap_or_default();
        if version.split_whitespace().nth(1) == Some(PGRX_VERSION) {
            return Ok(PathBuf::from("cargo-pgrx"));
        }
    }
    installed("cargo-pgrx", PGRX_VERSION)
}

/// Folder to put on the PATH for `cargo nextest`; `None` when it is there already.
pub fn nextest_folder() -> Result<Option<PathBuf>> {
    if is_on_path("cargo-nextest") {
        return Ok(None);
    }
    let program = installed("cargo-nextest", NEXTEST_VERSION)?;
    Ok(program.parent().map(PathBuf::from))
}

fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let root = cache_root().join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    let _lock = Lock::acquire(&cache_root().join("tools").join(format!("{name}.lock")), || {
        say(format_args!("another process installs {name}, waiting for it"));
    })?;
    if !program.is_file() {
        say(format_args!("building {name} {version} into {} (a few minutes, once) ...", root.display()));
        make_folder(root.clone())?;
        run_visible(
            Command::new("cargo")
                .args(["install", name, "--version", version, "--locked", "--root"])
                .arg(&root)
                .env("CARGO_TARGET_DIR", cache_root().join("target/tools"))
                .env_remove("CARGO_BUILD_BUILD_DIR")
                .env_remove("RUSTFLAGS"),
        )
        .with_context(|| format!("{name} {version} could not be built"))?;
    }
    Ok(program)
}
