//! SQLite's sqllogictest files under mutation.
//!
//! Each chosen query becomes a stream table. The file's own statements are made in batches with refreshes between them;
//! at its place in the file the query is judged by its recorded result; when something it reads is about to go, or the
//! file ends, rounds of made-up changes follow. After every refresh the stream table is compared with PostgreSQL in one
//! snapshot, and every few times with DuckDB.

mod judge;
mod plan;
mod play;
pub mod result;
mod state;
mod stream_table;
mod table;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};

use super::commit;
use super::subject::Mode;
use crate::cluster::{Cluster, ClusterOptions, private_cluster_of};
use plan::Job;
use result::{FileRun, FileTiming, SltReport, SltServer, Timing};
use state::{Finished, State};

/// Which queries to replay, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct SltOptions {
    /// Queries in all, shared among the files.
    #[arg(long, default_value_t = 2000)]
    pub sample: usize,
    /// All queries of the files.
    #[arg(long, conflicts_with = "sample")]
    pub all: bool,
    /// Only files whose path has this in it; `*` stands for anything.
    #[arg(long)]
    pub files: Option<String>,
    /// Seed of the sample, of batches and of the changes that are made up.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// PostgreSQL major versions, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "18", value_parser = clap::value_parser!(u32).range(16..=18))]
    pub pg: Vec<u32>,
    /// Refresh mode of the stream tables.
    #[arg(long, value_enum, default_value_t = Mode::Auto, ignore_case = true)]
    pub mode: Mode,
    /// Files that are replayed at a time; by default one for each processor.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Every n-th comparison asks DuckDB too; 0 never does.
    #[arg(long, default_value_t = 4)]
    pub duckdb_every: u64,
    /// File that finished files are kept in.
    #[arg(long, default_value = "target/sqllogictest/finished.jsonl")]
    pub state: Option<PathBuf>,
    /// Go on with the replay that was interrupted, if it was started by the same command.
    #[arg(long)]
    pub resume: bool,
    /// File for the verdicts as JSON. Times go to a second one beside it, `.timing.json`.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Default for SltOptions {
    /// What the command line means without options, but that nothing is kept to resume from.
    fn default() -> Self {
        SltOptions {
            sample: 2000,
            all: false,
            files: None,
            seed: 1,
            pg: vec![18],
            mode: Mode::Auto,
            jobs: None,
            duckdb_every: 4,
            state: None,
            resume: false,
            json: None,
        }
    }
}

impl SltOptions {
    /// Replays, prints the figures, writes the verdicts; the exit code is a failure unless everything was right.
    pub fn run(&self) -> Result<ExitCode> {
        let (report, timing) = replay(self)?;
        println!("\n{}", table::table(&report, &timing));
        if let Some(path) = &self.json {
            let write = |path: &Path, text: String| {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
            };
            write(path, serde_json::to_string_pretty(&report)?)?;
            write(&path.with_extension("timing.json"), serde_json::to_string_pretty(&timing)?)?;
        }
        Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or_else(processors).max(1)
    }

    /// The command line that makes this run again.
    fn command(&self) -> String {
        let what = if self.all { "--all".to_owned() } else { format!("--sample {}", self.sample) };
        let files = self.files.as_ref().map_or(String::new(), |pattern| format!(" --files '{pattern}'"));
        format!(
            "./harness/run replay sqllogictest {what}{files} --seed {} --pg {} --mode {} --duckdb-every {}",
            self.seed,
            self.pg.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            self.mode.word(),
            self.duckdb_every
        )
    }
}

/// Replays on every server that was asked for. An absent corpus is an error that says how to get it.
pub fn replay(options: &SltOptions) -> Result<(SltReport, Timing)> {
    let command = options.command();
    let folder = crate::corpus::folder("sqllogictest").with_context(|| format!("not run: {command}"))?;
    let clock = Instant::now();
    println!("replaying: {command}");
    let jobs = plan::jobs(&folder, options)?;
    let (state, finished) = State::open(options.state.as_deref(), &command, options.resume)?;
    let mut report = SltReport {
        command,
        commit: commit(),
        seed: options.seed,
        mode: options.mode.word().to_owned(),
        servers: Vec::new(),
        failures: Vec::new(),
    };
    let mut timing = Timing { seconds: 0.0, jobs: options.jobs(), files: Vec::new() };
    for &major in &options.pg {
        let finished =
            finished.iter().filter(|finished| finished.timing.pg_major == major).cloned().collect();
        let (server, times) = replay_on(major, &jobs, options, &state, finished)?;
        report.failures.extend(server.failures());
        report.servers.push(server);
        timing.files.extend(times);
    }
    timing.seconds = clock.elapsed().as_secs_f64();
    Ok((report, timing))
}

fn replay_on(
    major: u32,
    jobs: &[Job],
    options: &SltOptions,
    state: &State,
    finished: Vec<Finished>,
) -> Result<(SltServer, Vec<FileTiming>)> {
    let mut server =
        SltServer { pg_major: major, server_version: String::new(), missing: None, files: Vec::new() };
    // Vacuuming would move rows at times of its own, and compiling costs more than such queries take.
    let settings = ClusterOptions::default()
        .set("autovacuum", "off")
        .set("jit", "off")
        .set("shared_buffers", "256MB")
        .set("max_wal_size", "4GB");
    let cluster = match private_cluster_of(major, &settings) {
        Ok(cluster) => cluster,
        Err(error) => {
            server.missing = Some(format!("{error:#}"));
            return Ok((server, Vec::new()));
        }
    };
    server.server_version = cluster.connect("postgres")?.query_one("SHOW server_version", &[])?.get(0);
    let mut all = work(&cluster, jobs, options, state, finished)?;
    all.sort_by(|a, b| (&a.run.path, a.run.part).cmp(&(&b.run.path, b.run.part)));
    if all.iter().any(|finished| finished.run.broken.is_some()) {
        eprintln!("the end of the server's log:\n{}", cluster.log_tail(30));
    }
    let (files, times): (Vec<FileRun>, Vec<FileTiming>) =
        all.into_iter().map(|finished| (finished.run, finished.timing)).unzip();
    server.files = files;
    Ok((server, times))
}

/// Does the jobs that are not finished, several at a time.
fn work(
    cluster: &Arc<dyn Cluster>,
    jobs: &[Job],
    options: &SltOptions,
    state: &State,
    finished: Vec<Finished>,
) -> Result<Vec<Finished>> {
    let is_done =
        |job: &&Job| finished.iter().any(|done| done.run.path == job.path && done.run.part == job.part);
    let open: Vec<&Job> = jobs.iter().filter(|job| !is_done(job)).collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new(finished);
    std::thread::scope(|scope| -> Result<()> {
        let worker = || -> Result<()> {
            while let Some(job) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (run, timing) = play::play(cluster, job, options);
                let finished = Finished { run, timing };
                state.keep(&finished)?;
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(finished);
                if let Some(last) = all.last() {
                    println!("{}", table::progress(all.len(), jobs.len(), last));
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..options.jobs()).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}
