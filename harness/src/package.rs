//! The extension, packaged once per PostgreSQL version and kept by content hash, and the runtime copies of servers
//! that a package is laid over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process::{run, run_visible};
use crate::provision::cache::{cache_root, checkout, make_folder, runtime_root};
use crate::provision::lock::Lock;
use crate::provision::server::{Headers, Installation};
use crate::provision::{debian, say, tools};

/// What of the checkout a package is made of.
const INPUTS: [&str; 4] = ["engine", "sql", "Cargo.toml", "Cargo.lock"];

/// Changes when packages are built in another way, so that those built before are not used.
const BUILD_STEPS: &str = "2";

/// Packages and server copies that nobody used for this long are removed when a new one is made.
const UNUSED_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);

/// A packaged extension.
#[derive(Clone, Debug)]
pub struct Package {
    /// A tree rooted like `/`, to be laid over an installation.
    pub tree: PathBuf,
    /// Hash of everything it was made from.
    pub hash: String,
}

/// A runnable server: a private copy of an installation with the extension in it.
#[derive(Clone, Debug)]
pub struct Server {
    pub major: u32,
    /// The copy, with the files of the installation at their own absolute paths below it.
    pub root: PathBuf,
    /// Folder of the server's programs, in the copy.
    pub bindir: PathBuf,
}

impl Server {
    /// Packages the extension for an installation, unless that was done, and lays it over a copy of the installation.
    pub fn with_extension(installation: &Installation) -> Result<Server> {
        let package = package(&installation.headers)?;
        Server::copy(installation, Some(&package))
    }

    /// A copy of the installation without the extension.
    pub fn plain(installation: &Installation) -> Result<Server> {
        Server::copy(installation, None)
    }

    fn copy(installation: &Installation, package: Option<&Package>) -> Result<Server> {
        let mut hash = Sha256::new();
        hash.update(installation.headers.version.as_bytes());
        hash.update(installation.bindir.as_os_str().as_encoded_bytes());
        hash.update(package.map_or("", |package| &package.hash));
        let name = format!("{}-{}", installation.headers.major, short(&hash.finalize()));
        let folder = make_folder(runtime_root().join("server"))?;
        let root = folder.join(&name);
        let _lock = Lock::acquire(&folder.join(format!("{name}.lock")), || ())?;
        if !root.is_dir() {
            remove_unused(&folder)?;
            let unfinished = folder.join(format!("{name}.unfinished"));
            remove_tree(&unfinished)?;
            for part in &installation.roots {
                let part = part.canonicalize()?;
                copy_tree(&part, &below(&unfinished, &part))
                    .with_context(|| format!("cannot copy {} to {}", part.display(), unfinished.display()))?;
            }
            if let Some(package) = package {
                copy_tree(&package.tree, &unfinished)
                    .with_context(|| format!("cannot install {}", package.tree.display()))?;
            }
            fs::rename(&unfinished, &root)?;
        }
        mark_used(&root)?;
        Ok(Server {
            major: installation.headers.major,
            bindir: below(&root, &installation.bindir.canonicalize()?),
            root,
        })
    }
}

/// The extension packaged for a server version; builds it if the cache has none of this content.
pub fn package(headers: &Headers) -> Result<Package> {
    let hash = content_hash(&checkout(), headers)?;
    let folder = make_folder(cache_root().join("package"))?;
    let major = headers.major;
    let tree = folder.join(format!("{major}-{hash}"));
    let _lock = build_lock(major)?;
    if !tree.is_dir() {
        remove_unused(&folder)?;
        build(headers, &tree)?;
    }
    mark_used(&tree)?;
    Ok(Package { tree, hash })
}

/// One build per version at a time: all of them share a target folder, and so the path of the library.
pub fn build_lock(major: u32) -> Result<Lock> {
    Lock::acquire(&cache_root().join(format!("package/{major}.lock")), || {
        say(format_args!("another process builds the extension for PostgreSQL {major}, waiting for it"));
    })
}

fn build(headers: &Headers, tree: &Path) -> Result<()> {
    let major = headers.major;
    debian::get_build_packages()?;
    let cargo_pgrx = tools::cargo_pgrx()?;
    say(format_args!("packaging the extension for {} ...", headers.version));
    let started = SystemTime::now();
    let unfinished = tree.with_extension("unfinished");
    remove_tree(&unfinished)?;
    let manifest = checkout().join("engine/Cargo.toml");
    // Cargo knows a crate of the workspace by its path inside the workspace, and whether it is fresh by file times. In a
    // target folder that several checkouts share it would take another one's build for this one's.
    let mut clean = Command::new("cargo");
    clean
        .args([
            "clean",
            "--release",
            "--package",
            "pg_trickle",
            "--package",
            "pg_trickle_core",
            "--manifest-path",
        ])
        .arg(&manifest)
        .current_dir(checkout());
    pgrx_environment(&mut clean, major, &headers.pg_config)?;
    run(&mut clean).context("cannot remove earlier builds of the extension")?;
    let mut command = Command::new(cargo_pgrx);
    command
        .args(["pgrx", "package", "--no-default-features", "--features"])
        .arg(format!("pg{major}"))
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--pg-config")
        .arg(&headers.pg_config)
        .arg("--out-dir")
        .arg(&unfinished)
        .current_dir(checkout());
    pgrx_environment(&mut command, major, &headers.pg_config)?;
    forget_workspace_crates(&command, "release")?;
    run_visible(&mut command)
        .with_context(|| format!("packaging the extension for PostgreSQL {major} failed"))?;
    let library = below(&unfinished, &headers.pkglibdir).join("pg_trickle.so");
    if !library.is_file() {
        bail!("`cargo pgrx package` left no {}", library.display());
    }
    fs::rename(&unfinished, tree)?;
    say(format_args!(
        "packaged for PostgreSQL {major} in {} s",
        started.elapsed().map_or(0, |elapsed| elapsed.as_secs())
    ));
    Ok(())
}

/// Sets what a cargo command needs to compile the extension for a version: where pgrx finds the server's headers, and
/// a target folder in the cache that all clones share.
pub fn pgrx_environment(command: &mut Command, major: u32, pg_config: &Path) -> Result<()> {
    let target = make_folder(cache_root().join(format!("target/pgrx-{major}")))?;
    let home = make_folder(target.join("pgrx-home"))?;
    let config = format!("[configs]\npg{major} = {:?}\n", pg_config.display().to_string());
    let path = home.join("config.toml");
    // Rewriting the same would make cargo compile the bindings again.
    if fs::read_to_string(&path).ok().as_ref() != Some(&config) {
        fs::write(&path, &config)?;
    }
    command
        .env("CARGO_TARGET_DIR", &target)
        .env("PGRX_HOME", &home)
        // Settings of the surrounding cargo run (incremental builds, its build folder) are not for this one.
        .env_remove("CARGO_INCREMENTAL")
        .env_remove("CARGO_BUILD_BUILD_DIR")
        .env_remove("RUSTFLAGS");
    Ok(())
}

/// Makes cargo compile this workspace's crates anew in the target folder that a command uses. All clones share the
/// folder for the sake of the dependencies; cargo takes crates of two clones for the same ones and trusts the
/// time stamps of files, so it would use what another clone built from other sources.
pub fn forget_workspace_crates(of: &Command, profile: &str) -> Result<()> {
    let mut clean = Command::new("cargo");
    clean
        .args([
            "clean",
            "--quiet",
            "--profile",
            profile,
            "--package",
            "pg_trickle",
            "--package",
            "pg_trickle_core",
        ])
        .current_dir(checkout());
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => clean.env(name, value),
            None => clean.env_remove(name),
        };
    }
    run_visible(&mut clean)
}

/// Hash of the sources, the toolchain and the server version, as hexadecimal digits.
fn content_hash(checkout: &Path, headers: &Headers) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(BUILD_STEPS);
    hash.update(tools::PGRX_VERSION);
    hash.update(run(Command::new("rustc").arg("--version"))?);
    hash.update(&headers.version);
    // The paths in the package follow those of the installation.
    hash.update(headers.pkglibdir.as_os_str().as_encoded_bytes());
    for input in INPUTS {
        hash_tree(&mut hash, checkout, &checkout.join(input))?;
    }
    Ok(short(&hash.finalize()))
}

fn hash_tree(hash: &mut Sha256, base: &Path, path: &Path) -> Result<()> {
    if path.is_dir() {
        // Symbolic links to folders (engine/sql) lead to inputs that are listed themselves.
        if path.is_symlink() || path.file_name().is_some_and(|name| name == "target") {
            return Ok(());
        }
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        entries.sort();
        for entry in entries {
            hash_tree(hash, base, &entry)?;
        }
    } else if path.is_file() {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        hash.update(path.strip_prefix(base).unwrap_or(path).as_os_str().as_encoded_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(())
}

fn short(digest: &[u8]) -> String {
    digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// An absolute path moved below another root.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies a tree over an existing one. Files are hard links where the file system allows it, which makes the copy
/// cheap; nothing ever writes into them.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
            continue;
        }
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        if kind.is_symlink() {
            let mut pointed = fs::read_link(entry.path())?;
            if pointed.is_relative() && fs::metadata(to.join(&pointed)).is_err() {
                // A relative link that leaves the tree (Debian links to /etc so) is made absolute.
                pointed = from.join(pointed);
            }
            std::os::unix::fs::symlink(pointed, &target)?;
        } else if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn mark_used(tree: &Path) -> Result<()> {
    let marker = tree.with_extension("used");
    fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
}

fn remove_unused(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let marker = entry?.path();
        if marker.extension().is_none_or(|extension| extension != "used") {
            continue;
        }
        let age = fs::metadata(&marker).and_then(|data| data.modified()).map(|time| time.elapsed());
        if let Ok(Ok(age)) = age
            && age > UNUSED_AFTER
        {
            remove_tree(&marker.with_extension(""))?;
            fs::remove_file(&marker)?;
        }
    }
    Ok(())
}
