//! `harness mutants`: are the rules of the core tested well enough to notice a mistake in them?
//!
//! Each mutant of the [`list`] is a copy of the sources with one mistake in it, in a folder of its own with its own build
//! output. The tests of core and interpreter are run on it, those first that are expected to fail; a mutant that passes
//! them all has survived, and a law or a golden is missing. Random tests have the same seed for every mutant.

pub mod list;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::provision::cache::{checkout, make_folder, target_folder};
use crate::provision::{say, tools};
use list::Mutant;

/// Arguments of `mutants`.
#[derive(clap::Args)]
pub struct MutantsArguments {
    /// Names of mutants, or parts of them; default: all.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// So many of them, chosen by the seed.
    #[arg(long)]
    sample: Option<usize>,
    /// Of the choice and of the random tests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Packages whose tests may kill a mutant.
const PACKAGES: [&str; 2] = ["pg_trickle_core", "pg_trickle_oracle"];

/// All tests but those that judge damaged *output* of the rules, which say nothing about the rules.
const ALL_TESTS: &str = "not test(/^mutants::/)";

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// By a test that was expected to.
    Killed {
        by: String,
    },
    /// By another test than expected.
    KilledUnexpectedly {
        by: String,
    },
    Survived,
    /// It does not compile, so that it proves nothing.
    Unfit {
        why: String,
    },
}

impl MutantsArguments {
    /// Success means that every chosen mutant was killed.
    pub fn run(&self) -> Result<ExitCode> {
        let chosen = self.chosen(list::read(&checkout())?)?;
        let bench = Bench::prepare(self.seed)?;
        let started = Instant::now();
        say("the sources as they are ...");
        if let Some(by) = bench.failing_test(ALL_TESTS)? {
            bail!("{by} fails on the sources as they are");
        }
        let mut fates = Vec::new();
        for (index, mutant) in chosen.iter().enumerate() {
            let began = Instant::now();
            let fate = bench.fate(mutant)?;
            println!(
                "{:>3} of {}  {:<60} {} ({:.0} s)",
                index + 1,
                chosen.len(),
                mutant.name,
                fate.words(),
                began.elapsed().as_secs_f64()
            );
            fates.push(fate);
        }
        Ok(report(&chosen, &fates, started.elapsed()))
    }

    fn chosen(&self, mut mutants: Vec<Mutant>) -> Result<Vec<Mutant>> {
        if !self.only.is_empty() {
            mutants.retain(|mutant| self.only.iter().any(|part| mutant.name.contains(part)));
            ensure!(!mutants.is_empty(), "no mutant has a name like {}", self.only.join(", "));
        }
        if let Some(count) = self.sample {
            let order = |mutant: &Mutant| Sha256::digest(format!("{} {}", self.seed, mutant.name));
            let mut by_chance: Vec<&Mutant> = mutants.iter().collect();
            by_chance.sort_by_key(|mutant| order(mutant));
            let names: BTreeSet<String> =
                by_chance.into_iter().take(count).map(|mutant| mutant.name.clone()).collect();
            mutants.retain(|mutant| names.contains(&mutant.name));
        }
        Ok(mutants)
    }
}

impl Fate {
    fn words(&self) -> String {
        match self {
            Fate::Killed { by } => format!("killed by {by}"),
            Fate::KilledUnexpectedly { by } => format!("killed, but by {by}"),
            Fate::Survived => "SURVIVED".to_owned(),
            Fate::Unfit { why } => format!("UNFIT: {why}"),
        }
    }
}

fn report(mutants: &[Mutant], fates: &[Fate], took: Duration) -> ExitCode {
    let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
    let killed = count(|fate| matches!(fate, Fate::Killed { .. } | Fate::KilledUnexpectedly { .. }));
    let survived = count(|fate| matches!(fate, Fate::Survived));
    let unfit = count(|fate| matches!(fate, Fate::Unfit { .. }));
    println!(
        "\n{} mutants: {killed} killed, {survived} survived, {unfit} unfit; {:.0} s",
        mutants.len(),
        took.as_secs_f64()
    );
    for (mutant, fate) in mutants.iter().zip(fates) {
        match fate {
            Fate::Survived => println!("survived: {} ({}): {}", mutant.name, mutant.file, mutant.meaning),
            Fate::Unfit { why } => println!("unfit: {} ({}): {why}", mutant.name, mutant.file),
            Fate::Killed { .. } | Fate::KilledUnexpectedly { .. } => {}
        }
    }
    if survived + unfit == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A copy of the sources with its own build output.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
    seed: u64,
    /// The PATH on which cargo finds nextest.
    path: std::ffi::OsString,
}

impl Bench {
    fn prepare(seed: u64) -> Result<Bench> {
        let folder = make_folder(target_folder().join("mutants"))?;
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(nextest) = tools::nextest_folder()? {
            path = std::env::join_paths(std::iter::once(nextest).chain(std::env::split_paths(&path)))?;
        }
        let bench = Bench { tree: folder.join("tree"), target: folder.join("target"), seed, path };
        bench.copy_sources()?;
        Ok(bench)
    }

    /// Makes the copy what the checkout is. A file that is the same is not written, so that it is not compiled again.
    fn copy_sources(&self) -> Result<()> {
        let files = sources()?;
        for path in &files {
            let content = fs::read(checkout().join(path)).with_context(|| path.display().to_string())?;
            let copy = self.tree.join(path);
            if fs::read(&copy).is_ok_and(|known| known == content) {
                continue;
            }
            if let Some(folder) = copy.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&copy, content)?;
        }
        self.forget_others(&self.tree, &files.into_iter().collect())
    }

    /// Removes files of the copy that are not in the checkout.
    fn forget_others(&self, folder: &Path, known: &BTreeSet<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.forget_others(&path, known)?;
            } else if !path.strip_prefix(&self.tree).is_ok_and(|inner| known.contains(inner)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Runs the tests on a mutant. The copy is as before when this returns.
    fn fate(&self, mutant: &Mutant) -> Result<Fate> {
        let file = self.tree.join(&mutant.file);
        let original = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        fs::write(&file, mutant.applied(&original)?)?;
        let fate = self.fate_of_copy(mutant);
        fs::write(&file, original)?;
        // The laws keep the seeds of what they found, which would be tried first on the next mutant.
        let seeds = self.tree.join("oracle/proptest-regressions");
        if seeds.exists() && !checkout().join("oracle/proptest-regressions").exists() {
            fs::remove_dir_all(seeds)?;
        }
        fate
    }

    fn fate_of_copy(&self, mutant: &Mutant) -> Result<Fate> {
        let built = self.nextest(&["--no-run"]).output().context("cannot start cargo")?;
        if !built.status.success() {
            let output = String::from_utf8_lossy(&built.stderr).into_owned();
            let why = output.lines().find(|line| line.starts_with("error")).unwrap_or("it does not compile");
            return Ok(Fate::Unfit { why: why.to_owned() });
        }
        if let Some(by) = self.failing_test(&mutant.killed_by)? {
            return Ok(Fate::Killed { by });
        }
        let others = format!("({ALL_TESTS}) - ({})", mutant.killed_by);
        Ok(match self.failing_test(&others)? {
            Some(by) => Fate::KilledUnexpectedly { by },
            None => Fate::Survived,
        })
    }

    /// The first test to fail, if one does.
    fn failing_test(&self, filter: &str) -> Result<Option<String>> {
        let mut command =
            self.nextest(&["--fail-fast", "--status-level", "fail", "--final-status-level", "none"]);
        let output = command.args(["-E", filter]).output().context("cannot start cargo nextest")?;
        if output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let is_failure = |line: &&str| {
            ["FAIL", "TIMEOUT", "SIGABRT", "SIGSEGV", "TERMINATING"]
                .iter()
                .any(|word| line.trim_start().starts_with(&format!("{word} [")))
        };
        let failed = text.lines().find(is_failure).and_then(|line| line.split_whitespace().last());
        // Anything else is no verdict: a filter that selects nothing, a build that was interrupted.
        let failed = failed.with_context(|| format!("no test of `{filter}` was run:\n{text}"))?;
        Ok(Some(failed.to_owned()))
    }

    fn nextest(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "--locked", "--profile", "mutants", "--color", "never"]);
        for package in PACKAGES {
            command.args(["--package", package]);
        }
        command
            .args(arguments)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("PATH", &self.path)
            .env("PROPTEST_RNG_SEED", self.seed.to_string())
            // That a law fails is enough to know.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .stdin(Stdio::null());
        command
    }
}

/// Files that git knows or would know, from the top of the checkout.
fn sources() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(checkout())
        .output()
        .context("cannot list the files of the repository")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(PathBuf::from).filter(|path| checkout().join(path).is_file()).collect())
}
