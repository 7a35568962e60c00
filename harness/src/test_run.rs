//! `harness test`: every test, against every PostgreSQL version that the machine offers.
//!
//! First the unversioned tests, most of which need no server, then the harness's integration tests once per version,
//! each time with one server that the tests share. The end of the output says which versions ran, on what, and which
//! were missing.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::{
    ClusterOptions, DEFAULT_MAJOR, SHARED_CLUSTER_VARIABLE, SUPPORTED_MAJORS, StartedCluster, wanted_backend,
    wanted_majors,
};
use crate::corpus;
use crate::provision::cache::checkout;
use crate::provision::command::prepare;
use crate::provision::plan::{Supply, Version, supply};
use crate::provision::{debian, dependencies, duckdb, say, tools};

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct TestArguments {
    /// PostgreSQL major versions, such as `16,17,18`; default: $PG_TRICKLE_PG, else all supported.
    #[arg(long)]
    pg: Option<String>,
    /// Handed to `cargo nextest run`, such as `-E 'test(/^cluster::/)'`.
    #[arg(last = true)]
    nextest: Vec<String>,
}

/// Packages whose tests are run. The extension has none of its own: it only links inside a server.
pub const PACKAGES: [&str; 5] =
    ["pg_trickle_core", "pg_trickle_oracle", "pg_trickle_corpus", "pg_trickle_harness", "pg_trickle_benches"];

/// Tests that run once per server version, in the filter language of nextest.
const SERVER_TESTS: &str = "package(pg_trickle_harness) & binary(server)";

/// Nextest's own variable for the number of tests at a time.
const THREADS_VARIABLE: &str = "NEXTEST_TEST_THREADS";

/// Proptest's own variable for the seed of random tests.
const SEED_VARIABLE: &str = "PROPTEST_RNG_SEED";

/// How far random and bulk tests with a server go on all versions but the newest: no rule depends on the version, so what
/// they find they find there too. Each is set unless the caller has set it.
const OLDER_VERSIONS: [(&str, &str); 4] = [
    ("PG_TRICKLE_BULK_ROWS", "25000"),
    ("PROPTEST_CASES", "15"),
    ("PG_TRICKLE_BATCHES", "8"),
    ("PG_TRICKLE_FRONTIER_REFRESHES", "120"),
];

/// Tests that are made on the newest version only: how many rows a program reads depends on the program.
const NEWEST_ONLY: &str = "test(/^(work_bound|window_work|recursion_work)::/)";

/// What one call of nextest came to.
pub struct Outcome {
    title: String,
    server: String,
    passed: u64,
    failed: u64,
    succeeded: bool,
    took: Duration,
}

impl TestArguments {
    /// Runs the tests. Success means that all passed and that every version asked for by name was there.
    pub fn run(&self) -> Result<ExitCode> {
        let named = match &self.pg {
            Some(text) => Some(crate::cluster::parse_majors(text)?),
            None => wanted_majors()?,
        };
        let majors = named.clone().unwrap_or_else(|| SUPPORTED_MAJORS.to_vec());
        debian::get_build_packages()?;
        let nextest = Nextest::get(self.nextest.clone())?;
        let versions = supply(&majors, wanted_backend()?)?;
        for version in &versions {
            say(version);
        }
        // Some unversioned tests use the default version; a test that first had to package the extension would be taken
        // for one that hangs.
        for version in &supply(&[DEFAULT_MAJOR], wanted_backend()?)? {
            prepare(version)?;
        }
        let unversioned = format!("not ({SERVER_TESTS})");
        let mut outcomes =
            vec![nextest.run_with("unversioned", "-", &unversioned, None, &[], &mut |_| {})?];
        // After a build that failed they would be incomplete, for all later clones.
        if outcomes.iter().all(Outcome::succeeded) {
            dependencies::leave();
        }
        let present: Vec<&Version> =
            versions.iter().filter(|version| !matches!(version.supply, Supply::Missing(_))).collect();
        let newest = present.iter().map(|version| version.major).max();
        for version in present {
            outcomes.push(run_on(version, &nextest, newest == Some(version.major)));
        }
        report(&outcomes, &versions);
        let complete =
            named.is_none() || !versions.iter().any(|version| matches!(version.supply, Supply::Missing(_)));
        let passed = outcomes.iter().all(|outcome| outcome.succeeded);
        Ok(if passed && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Runs the server tests on one version. A version whose server cannot be started has failed; the others still run.
fn run_on(version: &Version, nextest: &Nextest, is_newest: bool) -> Outcome {
    let title = format!("PostgreSQL {}", version.major);
    let started = Instant::now();
    try_on(version, nextest, &title, is_newest).unwrap_or_else(|error| {
        say(format_args!("{title}: {error:#}"));
        Outcome {
            title,
            server: version.supply.to_string(),
            passed: 0,
            failed: 0,
            succeeded: false,
            took: started.elapsed(),
        }
    })
}

fn try_on(version: &Version, nextest: &Nextest, title: &str, is_newest: bool) -> Result<Outcome> {
    // Test processes run in parallel, each with several sessions.
    let options = ClusterOptions::default().set("max_connections", 200).in_memory();
    let cluster = StartedCluster::start(version, &options)?;
    let description = serde_json::to_string(&cluster.share())?;
    let limits = OLDER_VERSIONS.iter().filter(|(name, _)| !is_newest && std::env::var_os(name).is_none());
    let settings: Vec<(&str, String)> = limits.map(|(name, value)| (*name, value.to_string())).collect();
    let server = version.supply.to_string();
    let filter =
        if is_newest { SERVER_TESTS.to_owned() } else { format!("({SERVER_TESTS}) - ({NEWEST_ONLY})") };
    let outcome = nextest.run_with(title, &server, &filter, Some(&description), &settings, &mut |_| {})?;
    if !outcome.succeeded {
        match cluster.keep_log() {
            Ok(path) => say(format_args!("the log of {title} is kept as {}", path.display())),
            Err(error) => say(format_args!("the log of {title} could not be kept: {error:#}")),
        }
    }
    Ok(outcome)
}

impl Outcome {
    /// Every test passed.
    pub fn succeeded(&self) -> bool {
        self.succeeded
    }
}

/// A way to call nextest with what all calls have in common, so that they share one build.
pub struct Nextest {
    /// Folder of `cargo-nextest` when it is not on the PATH.
    folder: Option<PathBuf>,
    duckdb: PathBuf,
    extra: Vec<String>,
}

impl Nextest {
    /// Gets what the tests need; `extra` are the caller's own arguments of nextest.
    pub fn get(extra: Vec<String>) -> Result<Nextest> {
        Ok(Nextest {
            folder: tools::nextest_folder()?,
            duckdb: duckdb::get().context("the oracle needs DuckDB")?,
            extra,
        })
    }

    /// Runs the tests that `filter` selects, with more environment variables; every line of the output is shown to
    /// `watch`.
    pub fn run_with(
        &self,
        title: &str,
        server: &str,
        filter: &str,
        cluster: Option<&str>,
        settings: &[(&str, String)],
        watch: &mut dyn FnMut(&str),
    ) -> Result<Outcome> {
        say(format_args!("running the tests: {title} ..."));
        let started = Instant::now();
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "--locked", "--no-fail-fast"]).current_dir(checkout());
        for package in PACKAGES {
            command.args(["--package", package]);
        }
        let (filter, extra) = narrow(filter, &self.extra);
        command.arg("--filterset").arg(filter);
        if !self.extra.is_empty() {
            // The caller's filter may leave nothing of a phase.
            command.arg("--no-tests=pass").args(extra);
        }
        if let Some(folder) = &self.folder {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders)?);
        }
        command.env(duckdb::FOLDER_VARIABLE, &self.duckdb).env_remove(SHARED_CLUSTER_VARIABLE);
        if let Some(description) = cluster {
            command.env(SHARED_CLUSTER_VARIABLE, description);
            let is_set = |name: &str| std::env::var_os(name).is_some();
            command.envs(defaults(settings, is_set));
        }
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start cargo nextest")?;
        let mut summary = (0, 0);
        if let Some(output) = child.stderr.take() {
            for line in BufReader::new(output).split(b'\n') {
                let line = line?;
                let text = String::from_utf8_lossy(&line);
                eprintln!("{text}");
                watch(&text);
                if let Some(found) = parse_summary(&text) {
                    summary = found;
                }
            }
        }
        let status = child.wait()?;
        Ok(Outcome {
            title: title.to_string(),
            server: server.to_string(),
            passed: summary.0,
            failed: summary.1,
            succeeded: status.success(),
            took: started.elapsed(),
        })
    }
}

/// What tests with a server are told unless the call's settings or the caller's environment say otherwise.
fn defaults(settings: &[(&str, String)], is_set: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut defaults = vec![
        // Random tests have a fixed seed here; `harness fuzz` is for others.
        (SEED_VARIABLE, "1".to_owned()),
        // Tests with a server wait for it, for its workers and for the time half of their time.
        (THREADS_VARIABLE, (2 * processors).to_string()),
    ];
    defaults.retain(|(name, _)| !is_set(name) && !settings.iter().any(|(set, _)| set == name));
    defaults
}

/// Narrows a filter by those among the caller's arguments, and returns the other arguments. Nextest itself would run
/// what any of several filters selects.
fn narrow<'a>(filter: &str, arguments: &'a [String]) -> (String, Vec<&'a String>) {
    let mut filters = vec![format!("({filter})")];
    let mut others = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-E" | "--filterset" => filters.extend(rest.next().map(|own| format!("({own})"))),
            _ => others.push(argument),
        }
    }
    (filters.join(" & "), others)
}

/// Reads `(passed, failed)` from the line that nextest closes with.
fn parse_summary(line: &str) -> Option<(u64, u64)> {
    let (_, counts) =
        line.trim_start().strip_prefix("Summary [")?.split_once("tests run:").or_else(|| {
            // A single test is announced in the singular.
            line.split_once("test run:")
        })?;
    let mut summary = (0, 0);
    for part in counts.split(',') {
        let mut words = part.split_whitespace();
        let (Some(number), Some(kind)) =
            (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
        else {
            continue;
        };
        match kind {
            "passed" => summary.0 += number,
            "failed" | "timed" | "exec" => summary.1 += number,
            _ => {}
        }
    }
    Some(summary)
}

fn report(outcomes: &[Outcome], versions: &[Version]) {
    println!();
    println!("{:<18} {:>7} {:>7} {:>8}  server", "tests", "passed", "failed", "seconds");
    for outcome in outcomes {
        println!(
            "{:<18} {:>7} {:>7} {:>8.1}  {}{}",
            outcome.title,
            outcome.passed,
            outcome.failed,
            outcome.took.as_secs_f64(),
            outcome.server,
            // A build that fails, or a run that is interrupted, has no counts.
            if outcome.succeeded { "" } else { "  FAILED" }
        );
    }
    for version in versions {
        if matches!(version.supply, Supply::Missing(_)) {
            println!(
                "{:<18} {:>7} {:>7} {:>8}  {version}",
                format!("PostgreSQL {}", version.major),
                "-",
                "-",
                "-"
            );
        }
    }
    if let Some(what) = corpus::left_out_of_tests() {
        println!("not run: {what}");
    }
    println!();
    let passed: u64 = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: u64 = outcomes.iter().map(|outcome| outcome.failed).sum();
    // A phase that did not come to its end counts as one failure at least.
    let broken = outcomes.iter().filter(|outcome| !outcome.succeeded && outcome.failed == 0).count() as u64;
    println!("{passed} passed, {} failed", failed + broken);
}

#[cfg(test)]
mod tests {
    use super::{SEED_VARIABLE, THREADS_VARIABLE, defaults, narrow, parse_summary};

    #[test]
    fn filter_of_the_caller_narrows_that_of_the_phase() {
        let arguments = ["-E", "test(cluster)", "--no-capture"].map(str::to_string);
        let (filter, others) = narrow("kind(test)", &arguments);
        assert_eq!(filter, "(kind(test)) & (test(cluster))");
        assert_eq!(others, vec!["--no-capture"]);
    }

    #[test]
    fn seed_of_a_call_is_not_replaced_by_the_default() {
        let names = |settings: &[(&str, String)], set: &str| {
            defaults(settings, |name| name == set).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[], ""), [SEED_VARIABLE, THREADS_VARIABLE]);
        assert_eq!(names(&[(SEED_VARIABLE, "7".to_owned())], ""), [THREADS_VARIABLE]);
        assert_eq!(names(&[], THREADS_VARIABLE), [SEED_VARIABLE]);
    }

    #[test]
    fn summary_of_nextest_is_read_in_every_form() {
        let line = "     Summary [   4.311s] 9 tests run: 9 passed, 0 skipped";
        assert_eq!(parse_summary(line), Some((9, 0)));
        let line = "     Summary [  64.838s] 9 tests run: 8 passed (2 slow), 1 failed, 0 skipped";
        assert_eq!(parse_summary(line), Some((8, 1)));
        let line = "     Summary [   0.1s] 1 test run: 0 passed, 1 timed out, 3 skipped";
        assert_eq!(parse_summary(line), Some((0, 1)));
        assert_eq!(parse_summary("        PASS [   0.006s] (1/9) a b"), None);
    }
}
