//! Clean-up that survives its owner.
//!
//! A keeper is a small shell process, in a process group of its own, that waits for the end of its standard input and
//! then runs a clean-up script. The owner holds the other end of that pipe. So the clean-up runs when the owner drops
//! the keeper, and also when the owner dies of Ctrl-C, of a panic, or of SIGKILL from a test runner: the kernel closes
//! the pipe in every case. That makes signal handlers unnecessary and leaves nothing behind.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Runs a clean-up script once, at its own end or at the end of this process, whichever comes first.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
}

impl Keeper {
    /// Arms a clean-up: a POSIX shell script that finds `arguments` in `$1`, `$2` ...
    pub fn arm(script: &str, arguments: &[&str]) -> Result<Keeper> {
        // `cat` ends with the pipe. Signals meant for the owner's group do not reach a group of its own; those sent to
        // it by name are ignored, because the clean-up is the one thing it is for.
        let guarded = format!("trap '' INT TERM HUP; cat >/dev/null; {script}");
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(guarded)
            .arg("keeper")
            .args(arguments)
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the clean-up process")?;
        Ok(Keeper { child })
    }

    /// Ends the keeper without its clean-up.
    pub fn disarm(mut self) {
        // SIGKILL, because the shell ignores the others. Its `cat` ends with the pipe when `self` is dropped.
        let _ = self.child.kill();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The script's outcome has no reader; waiting makes the clean-up complete when the owner goes on.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::Keeper;

    #[test]
    fn clean_up_runs_when_the_keeper_is_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let marker = folder.path().join("done");
        let path = marker.to_str().expect("a UTF-8 path");
        let keeper = Keeper::arm("echo cleaned > \"$1\"", &[path]).expect("a keeper");
        assert!(!marker.exists());
        drop(keeper);
        assert_eq!(std::fs::read_to_string(&marker).expect("the marker"), "cleaned\n");
    }
}
