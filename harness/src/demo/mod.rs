//! The demonstration: 22 stream tables over TPC-H, kept fresh by the extension's own scheduler while orders stream in.
//!
//! A writer makes the corpus's transactions at a steady pace, and in each writes a numbered row ([`workload`]). A reader
//! watches a stream table over those rows and notes when each number shows up ([`freshness`]): that is the time from
//! commit to visible, for real transactions, under the load of all the other stream tables. In the end everything is
//! verified by both oracles, refreshes are measured against full recomputes, and the report is written.

pub(crate) mod freshness;
pub(crate) mod workload;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::Workload;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterOptions, StartedCluster, wanted_backend};
use crate::provision::cache::checkout;
use crate::provision::{debian, plan};
use crate::replay::{
    Mode, Oracles, Scene, Session, Subject, commit, failures, load, measured_cycle, milliseconds, no_change,
    settings,
};
use crate::report::{Populated, QueryRun, Report, Scheduled, ServerRun, Site};

/// What `schedule` means here: as fresh as the scheduler offers.
const SCHEDULE: &str = "1s";

/// While refreshes are measured and results verified, the scheduler must not interfere.
const PAUSED: &str = "12h";

/// Cycles after the stream, for the plot of refresh against recompute.
const MEASURED_CYCLES: u32 = 3;

/// How long the scheduler has, after the last commit, to make it visible.
const CATCH_UP: Duration = Duration::from_secs(120);

/// The stream table that shows how far the others can be; see [`freshness`].
pub(crate) const HEARTBEAT: &str = "heartbeat_seen";

/// How to run the demonstration.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoOptions {
    /// Scale factor.
    #[arg(long, default_value = "0.1")]
    pub scale: Scale,
    /// How long orders stream in.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Transactions per second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// PostgreSQL major version.
    #[arg(long, default_value_t = 18)]
    pub pg: u32,
    /// Seed of the changes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for the report [default: target/demo in the checkout].
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Leave the server running, and print how to connect and how to stop it.
    #[arg(long)]
    pub keep: bool,
}

impl DemoOptions {
    /// Runs the demonstration; the exit code is a failure if any result was wrong.
    pub fn run(&self) -> Result<ExitCode> {
        debian::get_build_packages()?;
        let settings = ClusterOptions::default().set("shared_buffers", "512MB").set("max_wal_size", "4GB");
        let version = plan::Version { major: self.pg, supply: plan::supply_one(self.pg, wanted_backend()?)? };
        let server = StartedCluster::start(&version, &settings)?;
        let cluster = server.share();
        let database = "demo";
        let outcome = demonstrate(self, &cluster, database)
            .with_context(|| format!("the end of the server's log:\n{}", cluster.log_tail(30)));
        if self.keep {
            println!("The server runs on:\n  {}", cluster.psql_line(database));
            println!("Stop it with:\n  {}", server.leave_running());
        }
        let report = outcome?;
        Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn command(&self) -> String {
        format!(
            "./harness/run demo --scale {} --seconds {} --rate {} --pg {} --seed {}",
            self.scale, self.seconds, self.rate, self.pg, self.seed
        )
    }
}

fn demonstrate(options: &DemoOptions, cluster: &dyn Cluster, database: &str) -> Result<Report> {
    cluster.connect("postgres")?.batch_execute(&format!("CREATE DATABASE {database}"))?;
    let mut session = Session::open(cluster, database)?;
    let server_version: String = session.client.query_one("SHOW server_version", &[])?.get(0);
    let started = session.client.query_one("SELECT to_char(now(), 'YYYY-MM-DD HH24:MI UTC')", &[])?.get(0);

    println!("loading TPC-H at scale {} into PostgreSQL {server_version} ...", options.scale);
    let workload: Arc<dyn Workload> = Arc::new(Tpch::new(options.scale, options.seed));
    let clock = Instant::now();
    load(&mut session.client, workload.as_ref())?;
    let load_ms = milliseconds(clock);

    println!("creating 22 stream tables, schedule {SCHEDULE} ...");
    let subject = Subject::StreamTables { mode: Mode::Auto };
    subject.prepare(&mut session.client)?;
    freshness::create(&mut session.client, SCHEDULE)?;
    let selected = workload.queries();
    let mut queries = Vec::new();
    for query in &selected {
        queries.push(subject.create_with_schedule(&mut session, query, SCHEDULE)?);
    }
    summarize(&queries);

    let mut failures_seen = Vec::new();
    let (freshness, next_cycle) =
        stream_in(options, cluster, database, Arc::clone(&workload), &mut failures_seen)?;

    println!("pausing the schedules, verifying and measuring ...");
    for query in queries.iter_mut().filter(|query| query.refused.is_none()) {
        query.scheduled = scheduled(&mut session, &query.name)?;
        session
            .client
            .execute("SELECT pgtrickle.alter_stream_table($1, schedule => $2)", &[&query.name, &PAUSED])?;
        if let Err(error) = subject.refresh(&mut session.client, &query.name) {
            failures_seen.push(format!("{}: the last refresh failed: {error}", query.name));
        }
    }
    let mut oracles = Oracles::open()?;
    let judged = oracles.judge_all(&mut session.client, workload.as_ref(), &selected, &queries, None)?;
    for (query, judged) in queries.iter_mut().zip(judged) {
        query.populated =
            Some(Populated { rows: judged.rows, postgres: judged.postgres, duckdb: judged.duckdb });
    }
    let scene = Scene { subject: &subject, workload: workload.as_ref(), selected: &selected };
    let mut mutation_ms = Vec::new();
    for number in 0..MEASURED_CYCLES {
        let cycle = workload.cycle(next_cycle + number);
        mutation_ms.push(measured_cycle(
            &mut session.client,
            &scene,
            &mut oracles,
            &cycle,
            &mut queries,
            true,
        )?);
    }
    for query in queries.iter_mut().filter(|query| query.refused.is_none()) {
        query.no_change = no_change(&mut session.client, &subject, &query.name)?;
        subject.explain(&mut session.client, query)?;
    }

    let mut run = ServerRun {
        pg_major: cluster.pg_major(),
        server_version,
        backend: cluster.backend().to_string(),
        missing: None,
        load_ms,
        queries,
        mutation_ms,
        freshness,
        settings: settings(&mut session.client)?,
        seconds: clock.elapsed().as_secs_f64(),
        failures: failures_seen,
    };
    run.failures.extend(failures(&run, Mode::Auto, workload.idle_max()));
    let report = Report {
        name: workload.page().to_owned(),
        title: "pg_trickle demonstration: TPC-H, 22 stream tables".to_owned(),
        command: options.command(),
        started,
        commit: commit(),
        size: workload.size(),
        seed: options.seed,
        cycles: MEASURED_CYCLES,
        mode: Mode::Auto.word().to_owned(),
        subject: subject.to_string(),
        runs: vec![run],
    };
    println!("\n{}", report.table());
    let folder = options.report.clone().unwrap_or_else(|| checkout().join("target/demo"));
    Site::of_report(&report).write_to(&folder)?;
    println!("report: {}", folder.join("index.html").display());
    Ok(report)
}

/// How many stream tables there are, and which are not incremental.
fn summarize(queries: &[QueryRun]) {
    let count = |mode: &str| {
        let is_mode = |query: &&QueryRun| query.effective_mode.as_deref() == Some(mode);
        queries.iter().filter(is_mode).count()
    };
    println!("{} DIFFERENTIAL, {} FULL", count("DIFFERENTIAL"), count("FULL"));
    for query in queries {
        if let Some(refused) = &query.refused {
            println!("  {} was refused: {refused}", query.name);
        } else if let Some(reason) = &query.reason {
            println!("  {}: {reason}", query.name);
        }
    }
}

/// Lets the workload run and the scheduler follow. Returns what the reader saw, and the first cycle not yet used.
fn stream_in(
    options: &DemoOptions,
    cluster: &dyn Cluster,
    database: &str,
    workload: Arc<dyn Workload>,
    failures: &mut Vec<String>,
) -> Result<(Option<crate::report::Freshness>, u32)> {
    println!("orders stream in for {} s ...", options.seconds);
    let log = Arc::new(workload::Log::default());
    let writer = workload::start(cluster.connect(database)?, workload, options.rate, Arc::clone(&log));
    let mut reader = freshness::Reader::new(cluster.connect(database)?, Arc::clone(&log));
    let begin = Instant::now();
    let duration = Duration::from_secs(options.seconds);
    let mut progress = Progress::new(duration);
    while begin.elapsed() < duration && !writer.is_finished() {
        reader.look()?;
        progress.show(begin.elapsed(), &log, &reader);
    }
    log.stop();
    let next_cycle = match writer.join() {
        Ok(outcome) => outcome.context("the workload failed")?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    // The clock of the figures stops here; what is not visible yet has the time it needs.
    let seconds = begin.elapsed().as_secs_f64();
    let last = Instant::now();
    while !reader.has_seen_everything() && last.elapsed() < CATCH_UP {
        reader.look()?;
        progress.show(begin.elapsed(), &log, &reader);
    }
    progress.end();
    if !reader.has_seen_everything() {
        failures.push(format!(
            "{} of {} transactions were not visible in {HEARTBEAT} {} s after the last commit",
            reader.unseen(),
            log.committed(),
            CATCH_UP.as_secs()
        ));
    }
    Ok((reader.freshness(seconds), next_cycle))
}

/// What the scheduler did with a stream table, from its history.
fn scheduled(session: &mut Session, name: &str) -> Result<Option<Scheduled>> {
    const SQL: &str = "SELECT pg_catalog.jsonb_build_object(\
         'refreshes', count(*) FILTER (WHERE h.status = 'COMPLETED'), \
         'failed', count(*) FILTER (WHERE h.status = 'FAILED'), \
         'actions', (SELECT pg_catalog.string_agg(DISTINCT a.action, ', ') FROM pgtrickle.pgt_refresh_history a \
             WHERE a.pgt_id = s.pgt_id AND a.initiated_by = 'SCHEDULER'), \
         'median_ms', percentile_disc(0.5) WITHIN GROUP (ORDER BY \
             EXTRACT(EPOCH FROM h.end_time - h.start_time) * 1000.0) FILTER (WHERE h.status = 'COMPLETED'))::text \
         FROM pgtrickle.pgt_stream_tables s JOIN pgtrickle.pgt_refresh_history h USING (pgt_id) \
         WHERE s.pgt_name = $1 AND h.initiated_by = 'SCHEDULER' GROUP BY s.pgt_id";
    let Some(row) = session.client.query_opt(SQL, &[&name]).context("reading the refresh history")? else {
        return Ok(None);
    };
    let found: Value = serde_json::from_str(row.get(0))?;
    Ok(Some(Scheduled {
        refreshes: found["refreshes"].as_u64().unwrap_or(0),
        failed: found["failed"].as_u64().unwrap_or(0),
        actions: found["actions"].as_str().unwrap_or("").to_owned(),
        median_ms: found["median_ms"].as_f64(),
    }))
}

/// One line that is rewritten at a terminal, and a line every few seconds elsewhere.
struct Progress {
    total: Duration,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new(total: Duration) -> Self {
        Self { total, is_terminal: std::io::stdout().is_terminal(), shown: None }
    }

    fn show(&mut self, elapsed: Duration, log: &workload::Log, reader: &freshness::Reader) {
        let interval = if self.is_terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        let done = (elapsed.as_secs_f64() / self.total.as_secs_f64()).min(1.0);
        let filled = (done * 24.0) as usize;
        let lag = reader.latest_ms().map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
        let line = format!(
            "[{}{}] {:>3.0} s  {} transactions, {} statements, latest visible after {lag}, {} waiting",
            "#".repeat(filled),
            ".".repeat(24 - filled),
            elapsed.as_secs_f64(),
            log.committed(),
            log.statements(),
            reader.unseen()
        );
        if self.is_terminal {
            print!("\r{line}\x1b[K");
            // A progress line that cannot be shown is no reason to stop.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }

    fn end(&self) {
        if self.is_terminal {
            println!();
        }
    }
}
