//! `harness lint`: formatting, and clippy on the whole workspace. The extension is checked for PostgreSQL 18, or for the
//! versions in `PG_TRICKLE_PG`; that it compiles for the others is seen when it is packaged for the tests.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cluster::{DEFAULT_MAJOR, wanted_backend, wanted_majors};
use crate::package::{build_lock, forget_workspace_crates, pgrx_environment};
use crate::process::run_visible;
use crate::provision::cache::checkout;
use crate::provision::plan::headers;
use crate::provision::{debian, say};
use crate::test_run::PACKAGES;

/// Arguments of `lint`.
#[derive(clap::Args)]
pub struct LintArguments {}

impl LintArguments {
    /// Runs all checks; the first that fails ends the run.
    pub fn run(&self) -> Result<ExitCode> {
        say("formatting ...");
        run_visible(Command::new("cargo").args(["fmt", "--all", "--check"]).current_dir(checkout()))
            .context("the sources are not formatted; run `cargo fmt --all`")?;
        say("clippy on the crates that need no server ...");
        let mut command = Command::new("cargo");
        command.args(["clippy", "--locked", "--all-targets"]).current_dir(checkout());
        for package in PACKAGES {
            command.args(["--package", package]);
        }
        command.args(["--features", "pg_trickle_benches/measure"]);
        run_visible(command.args(["--", "-D", "warnings"]))?;
        debian::get_build_packages()?;
        for major in wanted_majors()?.unwrap_or_else(|| vec![DEFAULT_MAJOR]) {
            let Some(pg_config) = headers(major, wanted_backend()?)? else {
                say(format_args!("PostgreSQL {major}: no headers, so the extension is not checked for it"));
                continue;
            };
            say(format_args!("clippy on the extension for PostgreSQL {major} ..."));
            let mut command = Command::new("cargo");
            command
                .args(["clippy", "--locked", "--package", "pg_trickle", "--lib"])
                .args(["--no-default-features", "--features"])
                .arg(format!("pg{major}"))
                .current_dir(checkout());
            let _lock = build_lock(major)?;
            pgrx_environment(&mut command, major, &pg_config)?;
            forget_workspace_crates(&command, "dev")?;
            run_visible(command.args(["--", "-D", "warnings"]))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
