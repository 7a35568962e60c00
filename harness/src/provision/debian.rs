//! Packages of a Debian-like distribution. Root installs what is missing; anybody else is told what to ask for.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::say;
use super::server::{self, Installation};
use crate::process::{is_on_path, is_root, run, run_visible};

/// What building the extension and its tools takes, besides Rust and a C compiler: package, and a program that shows
/// that it is there on distributions without `dpkg`.
const BUILD_PACKAGES: [(&str, &str); 8] = [
    ("clang", "clang"),
    ("libclang-dev", "clang"),
    ("pkg-config", "pkg-config"),
    ("libssl-dev", "openssl"),
    ("binutils", "nm"),
    ("python3", "python3"),
    ("python3-pip", "python3"),
    ("ca-certificates", "openssl"),
];

/// Makes sure that the build packages are installed.
pub fn get_build_packages() -> Result<()> {
    let missing: Vec<&str> = BUILD_PACKAGES
        .iter()
        .filter(|(package, program)| !serves(package, program))
        .map(|(name, _)| *name)
        .collect();
    install(&missing)
}

/// Installs the distribution's server of a major version with its headers. `Ok(None)` when the distribution has none
/// or this user may not install it.
pub fn get_server(major: u32) -> Result<Option<Installation>> {
    let packages = [format!("postgresql-{major}"), format!("postgresql-server-dev-{major}")];
    if !has_apt() || !packages.iter().all(|package| is_offered(package)) {
        return Ok(None);
    }
    if !is_root() {
        say(format_args!(
            "the distribution has PostgreSQL {major}; root could install it: {}",
            packages.join(" ")
        ));
        return Ok(None);
    }
    // Debian's package would create and start a server of its own on the standard port.
    let folder = "/etc/postgresql-common/createcluster.d";
    fs::create_dir_all(folder)?;
    fs::write(format!("{folder}/pg_trickle.conf"), "create_main_cluster = false\nstart_conf = 'manual'\n")?;
    install(&packages.each_ref().map(String::as_str))?;
    server::find(major)
}

/// Whether the distribution's package lists know a package.
fn is_offered(package: &str) -> bool {
    run(Command::new("apt-cache").args(["policy", package]))
        .is_ok_and(|text| text.lines().any(|line| line.contains("Candidate:") && !line.contains("(none)")))
}

/// Installs packages, if there are any to install.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !has_apt() {
        bail!("these are missing, named as in Debian; install what your distribution calls them: {list}");
    }
    if !is_root() {
        bail!("these packages are missing; ask root to run: apt-get install --no-install-recommends {list}");
    }
    say(format_args!("installing {list} ..."));
    if !packages.iter().all(|package| is_offered(package)) {
        apt_get(&["update"])?;
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend_from_slice(packages);
    apt_get(&arguments).with_context(|| format!("cannot install {list}"))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    run_visible(
        Command::new("apt-get")
            .args(["-q", "-o", "Dpkg::Use-Pty=0"])
            // Another installation, such as the daily one, does not take long.
            .args(["-o", "DPkg::Lock::Timeout=600"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Results of commands go to standard output; the progress of apt is no result.
            .stdout(std::io::stderr()),
    )
}

fn has_apt() -> bool {
    is_on_path("apt-get") && is_on_path("dpkg-query")
}

fn serves(package: &str, program: &str) -> bool {
    match package {
        // A Python of another origin (pyenv) is as good as the distribution's.
        "python3-pip" => run(Command::new("python3").args(["-m", "pip", "--version"])).is_ok(),
        "python3" => is_on_path("python3"),
        _ if has_apt() => run(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
            .is_ok_and(|status| status == "installed"),
        _ => is_on_path(program),
    }
}
