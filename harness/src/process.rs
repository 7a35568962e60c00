//! Child processes: run to the end, with their output kept for the error message, and optionally as the unprivileged
//! account that PostgreSQL insists on.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The system user that servers run as when the harness runs as root.
pub const SERVER_USER: &str = "pg_trickle";

/// Whether this process is root. PostgreSQL refuses to run as root, so root needs a second account.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Numeric identity of the account that servers run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account for servers: this process's own, or [`SERVER_USER`] (created on first use) when it is root.
    pub fn for_servers() -> Result<Account> {
        if !is_root() {
            return Ok(Account {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            });
        }
        if let Some(account) = Account::lookup(SERVER_USER) {
            return Ok(account);
        }
        let created = run(Command::new("useradd").args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            SERVER_USER,
        ]));
        // Another process may have created the account between the look-up and the call; only the outcome counts.
        match Account::lookup(SERVER_USER) {
            Some(account) => Ok(account),
            None => {
                created.context("PostgreSQL refuses to run as root, so root needs the user `pg_trickle`")?;
                bail!("`useradd {SERVER_USER}` succeeded but `id {SERVER_USER}` does not know the user")
            }
        }
    }

    fn lookup(user: &str) -> Option<Account> {
        let number = |flag: &str| -> Option<u32> {
            let output = Command::new("id").args([flag, user]).stderr(Stdio::null()).output().ok()?;
            output.status.success().then_some(())?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        Some(Account { uid: number("-u")?, gid: number("-g")? })
    }

    /// Hands a file or folder to this account. Does nothing when it already is the owner's.
    pub fn give(&self, path: &Path) -> Result<()> {
        if is_root() {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
                .with_context(|| format!("cannot hand {} to {SERVER_USER}", path.display()))?;
        }
        Ok(())
    }

    /// A command that will run as this account, with an environment that cannot leak the caller's server settings.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        if is_root() {
            command.uid(self.uid).gid(self.gid).env("HOME", "/nonexistent").current_dir("/");
        }
        for (name, _) in std::env::vars_os() {
            // PGOPTIONS, PGHOST and friends would change what `initdb` and `pg_ctl` do.
            if name.to_string_lossy().starts_with("PG") && !name.to_string_lossy().starts_with("PG_TRICKLE") {
                command.env_remove(&name);
            }
        }
        command
            .env_remove("LANG")
            .env_remove("LC_ALL")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end and returns its standard output. The error carries the command line and everything the
/// command printed.
pub fn run(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}):\n{}{}", output.status, stdout, stderr);
    }
    Ok(stdout)
}

/// Runs a command that talks to the terminal itself (progress of a build); fails when it does.
pub fn run_visible(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Whether a program of that name is on the PATH.
pub fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
