//! The main job: replay a corpus under change, refresh after every cycle, and let two oracles judge every result.
//!
//! Each query becomes a stream table and, beside it, a materialized view of the same text that shows what a full
//! recompute costs. A cycle makes the corpus's changes, refreshes every stream table, and compares each, in one
//! snapshot, with PostgreSQL's and with DuckDB's answer. In the end every stream table is refreshed once more with
//! nothing to do, which must write nothing.

mod answers;
mod database;
mod judge;
mod refresh;
mod script;
pub mod sqllogictest;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use pg_trickle_corpus::change::Cycle;
use pg_trickle_corpus::job::Job;
use pg_trickle_corpus::nexmark::{Nexmark, Shape};
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::{Query, Workload};
use postgres::Client;

use crate::cluster::{Cluster, ClusterOptions, private_cluster_of, private_plain_cluster_of};
use crate::provision::cache::checkout;
use crate::report::{Populated, QueryRun, Report, ServerRun, Site};

pub use answers::AnswersOptions;
pub use database::{apply, load};
pub use judge::Oracles;
pub use refresh::no_change;
pub use subject::{Mode, SCHEDULE, Session, Subject, creation, refreshing};

/// Which corpus to replay, of what size, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArguments {
    #[command(subcommand)]
    pub corpus: Corpus,
}

/// A corpus that can be replayed, with its size.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Corpus {
    /// TPC-H: 22 queries, refresh functions, and changes the specification lacks.
    Tpch {
        /// Scale factor.
        #[arg(long, default_value = "0.01")]
        scale: Scale,
        #[command(flatten)]
        options: ReplayOptions,
    },
    /// The Join Order Benchmark: 113 joins of 4 to 17 tables, each as aggregates, as bag of rows, and as count.
    Job {
        /// Rows of the table `title`, without those that the queries' own matches need.
        #[arg(long, default_value_t = 2000)]
        titles: u32,
        #[command(flatten)]
        options: ReplayOptions,
    },
    /// Nexmark: an auction house's stream of events, 29 queries with windows, rankings and sessions.
    Nexmark {
        /// Events in all. Those of the cycles come as changes, the others are loaded before.
        #[arg(long, default_value_t = 10_000)]
        events: u32,
        /// Events that each cycle adds, beside updates and deletes of earlier ones.
        #[arg(long, default_value_t = 500)]
        batch_rows: u32,
        /// Bids without a key, some of them twice, and the queries that need none.
        #[arg(long)]
        keyless: bool,
        #[command(flatten)]
        options: ReplayOptions,
    },
    /// SQLite's sqllogictest files: each chosen query, judged by its recorded result as well.
    Sqllogictest(sqllogictest::SltOptions),
}

/// How to replay, whatever the corpus.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayOptions {
    /// Rounds of changes and refreshes.
    #[arg(long, default_value_t = 5)]
    pub cycles: u32,
    /// PostgreSQL major versions, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "18", value_parser = clap::value_parser!(u32).range(16..=18))]
    pub pg: Vec<u32>,
    /// Refresh mode of the stream tables.
    #[arg(long, value_enum, default_value_t = Mode::Auto, ignore_case = true)]
    pub mode: Mode,
    /// Seed of the changes, and of rows that are ours to make up.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only these queries, separated by commas. The changes stay those for all queries.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<String>,
    /// Folder for the report: `index.html` and the pages it leads to, each with its JSON.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// File for the whole report as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Maintain materialized views in place of stream tables, on a server without the extension: the harness tests
    /// corpus, oracles and report by themselves.
    #[arg(long)]
    pub self_test: bool,
}

impl ReplayArguments {
    /// Replays, prints the table, writes the report; the exit code is a failure unless everything was right.
    pub fn run(&self) -> Result<ExitCode> {
        let (workload, options) = match self.corpus.workload() {
            Ok(workload) => workload,
            Err(sqllogictest) => return sqllogictest.run(),
        };
        let report = replay(workload.as_ref(), options)?;
        println!("\n{}", report.table());
        if let Some(folder) = &options.report {
            Site::of_report(&report).write_to(folder)?;
            println!("report: {}", folder.join("index.html").display());
        }
        if let Some(path) = &options.json {
            std::fs::write(path, serde_json::to_string_pretty(&report)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Corpus {
    /// The corpus at its size, with the changes of its seed. sqllogictest is none: each file has its own tables, and
    /// statements with queries between them.
    fn workload(&self) -> Result<(Box<dyn Workload>, &ReplayOptions), &sqllogictest::SltOptions> {
        Ok(match self {
            Corpus::Tpch { scale, options } => (Box::new(Tpch::new(*scale, options.seed)), options),
            Corpus::Job { titles, options } => (Box::new(Job::new(*titles, options.seed)), options),
            Corpus::Nexmark { events, batch_rows, keyless, options } => {
                let shape = Shape {
                    events: *events,
                    batch_rows: *batch_rows,
                    cycles: options.cycles,
                    is_keyless: *keyless,
                };
                (Box::new(Nexmark::new(shape, options.seed)), options)
            }
            Corpus::Sqllogictest(options) => return Err(options),
        })
    }
}

impl Default for ReplayOptions {
    /// What the command line means without options.
    fn default() -> Self {
        Self {
            cycles: 5,
            pg: vec![18],
            mode: Mode::Auto,
            seed: 1,
            queries: Vec::new(),
            report: None,
            json: None,
            self_test: false,
        }
    }
}

impl ReplayOptions {
    /// The subject of the run.
    fn subject(&self) -> Subject {
        if self.self_test { Subject::MaterializedViews } else { Subject::StreamTables { mode: self.mode } }
    }

    /// The selected queries; all if none is selected.
    fn selected(&self, workload: &dyn Workload) -> Result<Vec<Query>> {
        let all = workload.queries();
        if let Some(unknown) =
            self.queries.iter().find(|wanted| !all.iter().any(|query| query.is_called(wanted)))
        {
            bail!("{} has no query {unknown}", workload.title());
        }
        let is_selected = |query: &Query| {
            self.queries.is_empty() || self.queries.iter().any(|wanted| query.is_called(wanted))
        };
        Ok(all.into_iter().filter(is_selected).collect())
    }

    /// The command line that repeats the run.
    fn command(&self, workload: &dyn Workload) -> String {
        let mut command = format!(
            "./harness/run replay {} {} --cycles {} --pg {} --mode {} --seed {}",
            workload.name(),
            workload.arguments(),
            self.cycles,
            self.pg.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            self.mode.word(),
            self.seed
        );
        if !self.queries.is_empty() {
            command += &format!(" --queries {}", self.queries.join(","));
        }
        if self.self_test {
            command += " --self-test";
        }
        command
    }
}

/// Replays on every server that was asked for. A version that is not to be had is a failure of the report.
pub fn replay(workload: &dyn Workload, options: &ReplayOptions) -> Result<Report> {
    let mut report = Report {
        name: workload.page().to_owned(),
        title: format!("{} replay", workload.title()),
        command: options.command(workload),
        started: String::new(),
        commit: commit(),
        size: workload.size(),
        seed: options.seed,
        cycles: options.cycles,
        mode: options.mode.word().to_owned(),
        subject: options.subject().to_string(),
        runs: Vec::new(),
    };
    let selected = options.selected(workload)?;
    let idle_max = if options.queries.is_empty() { workload.idle_max() } else { 0 };
    println!("replaying: {}", report.command);
    for &major in &options.pg {
        let mut run = match start(options, major) {
            Ok(cluster) => replay_on(workload, options, &selected, cluster.as_ref(), &mut report.started)
                .with_context(|| format!("the end of the server's log:\n{}", cluster.log_tail(30)))?,
            Err(error) => ServerRun::missing(major, &format!("{error:#}")),
        };
        run.failures = failures(&run, options.mode, idle_max);
        run.failures.extend(script::write(workload, options, &selected, &run)?);
        report.runs.push(run);
    }
    Ok(report)
}

fn start(options: &ReplayOptions, major: u32) -> Result<std::sync::Arc<dyn Cluster>> {
    let settings = ClusterOptions::default().set("shared_buffers", "256MB").set("max_wal_size", "4GB");
    match options.subject() {
        Subject::StreamTables { .. } => private_cluster_of(major, &settings),
        Subject::MaterializedViews => private_plain_cluster_of(major, &settings),
    }
}

fn replay_on(
    workload: &dyn Workload,
    options: &ReplayOptions,
    selected: &[Query],
    cluster: &dyn Cluster,
    started: &mut String,
) -> Result<ServerRun> {
    let database = cluster.create_database()?;
    let mut session = Session::open(cluster, &database)?;
    let client = &mut session.client;
    let server_version: String = client.query_one("SHOW server_version", &[])?.get(0);
    if started.is_empty() {
        *started = client.query_one("SELECT to_char(now(), 'YYYY-MM-DD HH24:MI UTC')", &[])?.get(0);
    }
    println!("PostgreSQL {server_version}: loading {} ...", workload.size());
    let settings = settings(client)?;
    let clock = Instant::now();
    load(client, workload)?;
    let load_ms = milliseconds(clock);

    let subject = options.subject();
    let mut oracles = Oracles::open()?;
    let mut queries = Vec::new();
    subject.prepare(&mut session.client)?;
    for query in selected {
        queries.push(subject.create(&mut session, query)?);
    }
    let made = queries.iter().filter(|query| query.refused.is_none()).count();
    println!("{made} of {} created", queries.len());

    // Contents right after creation are judged too; the first cycle's changes are counted from here.
    let populated = oracles.judge_all(&mut session.client, workload, selected, &queries, None)?;
    for (query, judged) in queries.iter_mut().zip(populated) {
        query.populated =
            Some(Populated { rows: judged.rows, postgres: judged.postgres, duckdb: judged.duckdb });
    }

    let scene = Scene { subject: &subject, workload, selected };
    let mut mutation_ms = Vec::new();
    for number in 1..=options.cycles {
        let cycle = workload.cycle(number);
        mutation_ms.push(measured_cycle(
            &mut session.client,
            &scene,
            &mut oracles,
            &cycle,
            &mut queries,
            is_recomputed(number, options.cycles),
        )?);
        progress(number, options.cycles, &queries);
    }
    for query in queries.iter_mut().filter(|query| query.refused.is_none()) {
        query.no_change = no_change(&mut session.client, &subject, &query.name)?;
        subject.explain(&mut session.client, query)?;
    }
    Ok(ServerRun {
        pg_major: cluster.pg_major(),
        server_version,
        backend: cluster.backend().to_string(),
        missing: None,
        load_ms,
        queries,
        mutation_ms,
        freshness: None,
        settings,
        seconds: clock.elapsed().as_secs_f64(),
        failures: Vec::new(),
    })
}

/// The settings that the harness gave to the server.
pub(crate) fn settings(client: &mut Client) -> Result<BTreeMap<String, String>> {
    const SQL: &str = "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
         WHERE source = 'configuration file' AND name NOT LIKE '%director%' AND name NOT IN ('port', 'listen_addresses')";
    Ok(client.query(SQL, &[])?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What is replayed on a server.
pub struct Scene<'a> {
    pub subject: &'a Subject,
    pub workload: &'a dyn Workload,
    /// The queries that the subject maintains.
    pub selected: &'a [Query],
}

/// Makes a cycle's changes, refreshes every relation, beside a full recompute if asked to, lets the oracles judge, and
/// appends to each query's cycles. Returns the milliseconds that the changes took.
pub fn measured_cycle(
    client: &mut Client,
    scene: &Scene,
    oracles: &mut Oracles,
    cycle: &Cycle,
    queries: &mut [QueryRun],
    recompute: bool,
) -> Result<f64> {
    let clock = Instant::now();
    apply(client, cycle)?;
    let mutation_ms = milliseconds(clock);
    let mut refreshed = Vec::new();
    for query in queries.iter() {
        refreshed.push(match query.refused {
            Some(_) => None,
            None => Some(refresh::refresh(client, scene.subject, query, recompute)?),
        });
    }
    let judged = oracles.judge_all(client, scene.workload, scene.selected, queries, Some(cycle))?;
    for ((query, refreshed), judged) in queries.iter_mut().zip(refreshed).zip(judged) {
        if let Some(refreshed) = refreshed {
            query.cycles.push(judge::cycle_run(cycle.number, refreshed, judged));
        }
    }
    Ok(mutation_ms)
}

/// A full recompute is measured in so many cycles at most.
const RECOMPUTES_MAX: u32 = 10;

/// Whether a cycle is one of those, which are spread evenly and end with the last one.
fn is_recomputed(number: u32, cycles: u32) -> bool {
    (cycles - number).is_multiple_of(cycles.div_ceil(RECOMPUTES_MAX).max(1))
}

fn progress(number: u32, cycles: u32, queries: &[QueryRun]) {
    let last: Vec<_> = queries.iter().filter_map(|query| query.cycles.last()).collect();
    let refresh: f64 = last.iter().map(|cycle| cycle.refreshed.refresh_ms).sum();
    let recompute: Option<f64> = last.iter().map(|cycle| cycle.refreshed.recompute_ms).sum();
    let recompute = recompute.map_or(String::new(), |recompute| format!(" (recompute {recompute:.0} ms)"));
    let wrong = last.iter().filter(|cycle| cycle.postgres.is_wrong() || cycle.duckdb.is_wrong()).count();
    let failed = last.iter().filter(|cycle| cycle.refreshed.error.is_some()).count();
    println!(
        "cycle {number} of {cycles}: {} refreshed in {refresh:.0} ms{recompute}, {wrong} wrong, {failed} failed",
        last.len()
    );
}

/// How a message ends that says a query is not maintained from its changes.
const NOT_SUPPORTED: &str = "(0A000)";

/// Everything about a run that makes it a failure; that `idle_max` results are empty or never change is none, nor that
/// a query which cannot be maintained from its changes is refused where nothing else was asked for.
pub fn failures(run: &ServerRun, mode: Mode, idle_max: usize) -> Vec<String> {
    let place = format!("PostgreSQL {}", run.pg_major);
    if let Some(reason) = &run.missing {
        return vec![format!("{place} is missing: {reason}")];
    }
    let mut failures = Vec::new();
    for query in &run.queries {
        if let Some(reason) = &query.refused {
            if mode != Mode::Differential || !reason.contains(NOT_SUPPORTED) {
                failures.push(format!("{place}, {}: not created: {reason}", query.name));
            }
            continue;
        }
        if let Some(populated) = &query.populated {
            for (oracle, judgement) in [("PostgreSQL", &populated.postgres), ("DuckDB", &populated.duckdb)] {
                if !judgement.is_equal() {
                    let detail = judgement.detail.as_deref().unwrap_or("");
                    let what = format!("{} by {oracle}: {}", judgement.verdict, detail.trim_end());
                    failures.push(format!("{place}, {}, as created: {what}", query.name));
                }
            }
        }
        for cycle in &query.cycles {
            let at = format!("{place}, {}, cycle {}", query.name, cycle.cycle);
            if let Some(error) = &cycle.refreshed.error {
                failures.push(format!("{at}: refresh failed: {error}"));
            }
            for (oracle, judgement) in [("PostgreSQL", &cycle.postgres), ("DuckDB", &cycle.duckdb)] {
                if !judgement.is_equal() {
                    let detail = judgement.detail.as_deref().unwrap_or("");
                    failures.push(format!("{at}: {} by {oracle}: {}", judgement.verdict, detail.trim_end()));
                }
            }
        }
        if let Some(scheduled) = query.scheduled.as_ref().filter(|scheduled| scheduled.failed > 0) {
            failures
                .push(format!("{place}, {}: {} scheduled refreshes failed", query.name, scheduled.failed));
        }
        if let Some(found) = &query.no_change
            && (found.assigned_xid || found.rows_written > 0)
        {
            failures.push(format!(
                "{place}, {}: a refresh without changes wrote {} rows{}",
                query.name,
                found.rows_written,
                if found.assigned_xid { " and assigned a transaction id" } else { "" }
            ));
        }
    }
    let idle: Vec<&str> = run
        .queries
        .iter()
        .filter(|query| query.refused.is_none() && !query.is_worth_comparing())
        .map(|query| query.name.as_str())
        .collect();
    if idle.len() > idle_max {
        failures.push(format!("{place}: empty or never changing: {}", idle.join(", ")));
    }
    failures
}

/// The checkout's commit, with a plus sign if files differ from it; empty outside a repository.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").arg("-C").arg(checkout()).args(arguments).output()?;
        if !output.status.success() {
            bail!("git {arguments:?} failed");
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    let is_clean = git(&["status", "--porcelain"]).is_ok_and(|changes| changes.is_empty());
    if is_clean { commit } else { format!("{commit}+") }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Mode, RECOMPUTES_MAX, ServerRun, failures, is_recomputed};

    #[test]
    fn recompute_is_measured_in_few_cycles_the_last_among_them() {
        for cycles in 1..300 {
            let measured = (1..=cycles).filter(|&number| is_recomputed(number, cycles)).count() as u32;
            assert!(measured <= RECOMPUTES_MAX && measured >= cycles.min(RECOMPUTES_MAX / 2), "{cycles}");
            assert!(is_recomputed(cycles, cycles));
        }
        assert!((1..=10).all(|number| is_recomputed(number, 10)));
    }

    #[test]
    fn missing_server_is_a_failure_and_says_so() {
        let run = ServerRun::missing(17, "no package");
        assert_eq!(failures(&run, Mode::Auto, 0), ["PostgreSQL 17 is missing: no package"]);
    }
}
