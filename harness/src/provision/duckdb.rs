//! The DuckDB library, which the oracle loads at run time.
//!
//! It is the vendor's build in the PyPI wheel `duckdb`: a Python module that also exports the whole C API. The module
//! leaves the symbols of Python undefined; the C API never calls them, but the loader wants them, so a stub library
//! defines each. Building DuckDB from source would take a third of an hour.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache::{cache_root, make_folder};
use super::pypi::Wheel;
use super::say;
use crate::process::run;

const WHEEL: Wheel = Wheel {
    name: "duckdb",
    version: "2.0.0",
    hashes: &[
        ("x86_64", "5a3601121c7cc50d0b70412995634682fafcb58a0156d5d663dfd0b3bbe30a33"),
        ("aarch64", "bcdf10dfbc2c1a6bdc5b2a94bba5b15481e552c5745c2af1994617b0eb6bc750"),
    ],
};

/// Environment variable that names the folder with the library; set for tests by `harness test`. A user may set it to
/// a folder with another `libduckdb.so` of the same version.
pub const FOLDER_VARIABLE: &str = "PG_TRICKLE_DUCKDB";

/// The folder that holds `libduckdb.so` and `libpystub.so`, whether or not they are there yet.
pub fn folder() -> PathBuf {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => cache_root().join("duckdb").join(WHEEL.version),
    }
}

/// Makes sure that the library is there and returns its folder.
pub fn get() -> Result<PathBuf> {
    let folder = folder();
    let library = folder.join("libduckdb.so");
    if library.is_file() {
        return Ok(folder);
    }
    if std::env::var_os(FOLDER_VARIABLE).is_some_and(|path| !path.is_empty()) {
        bail!("{FOLDER_VARIABLE} is set, but {} does not exist", library.display());
    }
    let unpacked = cache_root().join("duckdb").join(format!("wheel-{}", WHEEL.version));
    WHEEL.unpack_to(&unpacked)?;
    let module = find_module(&unpacked)?;
    say("preparing the DuckDB library");
    make_folder(folder.clone())?;
    build_stub(&module, &folder.join("libpystub.so"))?;
    // The library is put in place last: its presence says that the folder is complete.
    let unfinished = folder.join(format!("libduckdb.{}.unfinished", std::process::id()));
    if fs::hard_link(&module, &unfinished).is_err() {
        fs::copy(&module, &unfinished)?;
    }
    fs::rename(&unfinished, &library)?;
    Ok(folder)
}

fn find_module(unpacked: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(unpacked)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("_duckdb.") && name.ends_with(".so") {
            return Ok(path);
        }
    }
    bail!("the duckdb wheel has no native module in {}", unpacked.display())
}

/// Compiles a library that defines every symbol of Python which the module leaves open.
fn build_stub(module: &Path, stub: &Path) -> Result<()> {
    let listing = run(Command::new("nm").args(["-D", "--undefined-only"]).arg(module))
        .context("`nm` (binutils) is needed to prepare the DuckDB library")?;
    let mut source = String::new();
    for name in listing.lines().filter_map(|line| line.split_whitespace().last()) {
        let name = name.split('@').next().unwrap_or(name);
        if name.starts_with("Py") || name.starts_with("_Py") {
            source.push_str(&format!("void *{name};\n"));
        }
    }
    let file = stub.with_extension("c");
    fs::write(&file, source)?;
    let unfinished = stub.with_extension(format!("{}.unfinished", std::process::id()));
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&unfinished).arg(&file))?;
    fs::rename(&unfinished, stub)?;
    Ok(())
}
