//! Server headers of a Debian release that is newer than this machine's.
//!
//! Its programs do not run here (their C library is newer), but an extension built here against its headers runs
//! there. So the header packages are unpacked into a folder, and a shell script stands in for `pg_config`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::make_folder;
use super::lock::Lock;
use super::say;
use crate::process::run;

/// Packages, besides the server's own, whose headers the server's headers include.
const LIBRARIES: [&str; 5] = ["libpq-dev", "libkrb5-dev", "libssl-dev", "libicu-dev", "libxml2-dev"];

/// Unpacks the headers of a major version from the package archive that the release in `system` uses, into `folder`,
/// unless that was done. Returns the path of the stand-in for `pg_config`.
pub fn unpack(major: u32, system: &Path, folder: &Path) -> Result<PathBuf> {
    let pg_config = folder.join("pg_config");
    let _lock = Lock::acquire(&folder.with_extension("lock"), || ())?;
    if pg_config.is_file() {
        return Ok(pg_config);
    }
    say(format_args!("fetching the headers of PostgreSQL {major} ..."));
    let downloads = make_folder(system.join("var/cache/pg_trickle"))?;
    run(Command::new("chroot").arg(system).args(["apt-get", "-q", "update"]))?;
    run(Command::new("chroot")
        .arg(system)
        .args(["sh", "-c", "cd /var/cache/pg_trickle && apt-get -q download \"$@\"", "sh"])
        .arg(format!("postgresql-server-dev-{major}"))
        .args(LIBRARIES))
    .context("the header packages could not be fetched")?;
    let headers = make_folder(folder.join("system"))?;
    for entry in fs::read_dir(&downloads)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(entry?.path()).arg(&headers))?;
    }
    fs::remove_dir_all(&downloads)?;
    let answers =
        run(Command::new("chroot").arg(system).arg(format!("/usr/lib/postgresql/{major}/bin/pg_config")))?;
    let script = stand_in(&answers, &headers)?;
    // Written last: its presence says that the folder is complete.
    let unfinished = folder.join("pg_config.unfinished");
    fs::write(&unfinished, script)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(&unfinished, &pg_config)?;
    Ok(pg_config)
}

/// A script that answers as the real `pg_config` does, but for headers, which it finds below `headers`.
fn stand_in(answers: &str, headers: &Path) -> Result<String> {
    let mut script =
        String::from("#!/bin/sh\n# Stands in for the pg_config of another Debian release.\ncase \"$1\" in\n");
    for line in answers.lines() {
        let Some((name, value)) = line.split_once(" = ") else { continue };
        let mut value = value.trim().to_string();
        if name.contains("INCLUDEDIR") {
            value = format!("{}{value}", headers.display());
        } else if name == "CPPFLAGS" {
            let include = headers.join("usr/include");
            let of_processor = include.join(format!("{}-linux-gnu", std::env::consts::ARCH));
            value = value.replace("-I/usr/include", &format!("-I{}", include.display()));
            write!(value, " -I{} -I{}", include.display(), of_processor.display())?;
        }
        let option = name.to_lowercase();
        writeln!(script, "--{option}) printf '%s\\n' '{}' ;;", value.replace('\'', "'\\''"))?;
    }
    script.push_str("*) echo \"pg_config: $1 is not known here\" >&2; exit 1 ;;\nesac\n");
    Ok(script)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::stand_in;

    #[test]
    fn stand_in_moves_headers_and_quotes_values() {
        let answers = "INCLUDEDIR-SERVER = /usr/include/postgresql/17/server\nCONFIGURE =  '--with-icu'\n";
        let script = stand_in(answers, Path::new("/h")).expect("a script");
        assert!(
            script.contains("--includedir-server) printf '%s\\n' '/h/usr/include/postgresql/17/server' ;;")
        );
        assert!(script.contains(r"--configure) printf '%s\n' ''\''--with-icu'\''' ;;"));
    }
}
