//! What a run found, as data, and its three forms: a table on the terminal, a static page, JSON.

mod html;
mod page;
mod plot;
mod statistics;
mod terminal;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

pub use statistics::{median, percentile};

/// A run of one corpus on one or more servers.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `TPC-H replay` and the like.
    pub title: String,
    /// The command that makes this run again.
    pub command: String,
    /// Time of the start, from the first server's clock.
    pub started: String,
    /// Commit of the checkout, with a mark if it had changes.
    pub commit: String,
    /// The size of the corpus in words.
    pub size: String,
    pub seed: u64,
    pub cycles: u32,
    /// The refresh mode asked for.
    pub mode: String,
    /// What is maintained: stream tables, or materialized views when the harness tests itself.
    pub subject: String,
    pub runs: Vec<ServerRun>,
    /// Everything that makes the run a failure, one line each.
    pub failures: Vec<String>,
}

/// The part of a run on one server.
#[derive(Debug, Clone, Serialize)]
pub struct ServerRun {
    pub pg_major: u32,
    /// As `server_version` says; empty if there is no such server.
    pub server_version: String,
    pub backend: String,
    /// Why nothing ran, if nothing ran.
    pub missing: Option<String>,
    pub load_ms: f64,
    pub queries: Vec<QueryRun>,
    /// Milliseconds in which each cycle's changes were made.
    pub mutation_ms: Vec<f64>,
    /// Only a demo measures it.
    pub freshness: Option<Freshness>,
}

/// One query on one server.
#[derive(Debug, Clone, Serialize)]
pub struct QueryRun {
    /// `q6`, `17e bag` and the like.
    pub label: String,
    pub name: String,
    pub sql: String,
    /// How this form of the query differs from the corpus's own.
    pub note: Option<String>,
    /// Why there is no stream table, if creating it failed: message with SQLSTATE.
    pub refused: Option<String>,
    pub create_ms: f64,
    /// What the extension says it does, and why if that is not what was asked.
    pub effective_mode: Option<String>,
    pub reason: Option<String>,
    /// What the server said when the relation was created.
    pub notices: Vec<String>,
    /// The contents as created, before any refresh.
    pub populated: Option<Populated>,
    pub cycles: Vec<CycleRun>,
    pub no_change: Option<NoChange>,
    /// What the scheduler did by itself; only a demo lets it.
    pub scheduled: Option<Scheduled>,
}

/// The contents of a relation right after its creation.
#[derive(Debug, Clone, Serialize)]
pub struct Populated {
    pub rows: usize,
    pub postgres: Judgement,
    pub duckdb: Judgement,
}

/// Refreshes of one stream table that the scheduler made.
#[derive(Debug, Clone, Serialize)]
pub struct Scheduled {
    pub refreshes: u64,
    pub failed: u64,
    pub actions: String,
    pub median_ms: Option<f64>,
}

/// One refresh and what the oracles say about it.
#[derive(Debug, Clone, Serialize)]
pub struct CycleRun {
    pub cycle: u32,
    /// Action in the refresh history.
    pub action: String,
    pub delta_rows: Option<i64>,
    pub rows_inserted: Option<i64>,
    pub rows_deleted: Option<i64>,
    pub refresh_ms: f64,
    /// `REFRESH MATERIALIZED VIEW` of the same query, at the same time.
    pub recompute_ms: f64,
    /// Rows of the right result.
    pub rows: usize,
    /// Whether the right result differs from that of the cycle before.
    pub changed: bool,
    pub error: Option<String>,
    pub postgres: Judgement,
    pub duckdb: Judgement,
}

/// A verdict, for the report.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// `equal`, `DIFFERS`, `not comparable`.
    pub verdict: String,
    /// The difference, or the reason.
    pub detail: Option<String>,
}

/// A refresh that found nothing pending.
#[derive(Debug, Clone, Serialize)]
pub struct NoChange {
    pub action: String,
    pub refresh_ms: f64,
    /// A transaction id was assigned, so something was or could have been written.
    pub assigned_xid: bool,
    /// Row versions written, by the statistics of the transaction.
    pub rows_written: i64,
}

/// How long after a commit its effect can be read.
#[derive(Debug, Clone, Serialize)]
pub struct Freshness {
    pub samples: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// How it was measured, in a sentence.
    pub method: String,
    /// Transactions and statements of the workload meanwhile, and the seconds it ran.
    pub transactions: u64,
    pub statements: u64,
    pub seconds: f64,
}

impl QueryRun {
    /// Cycles in which the right result differed from the one before.
    pub fn changes(&self) -> usize {
        self.cycles.iter().filter(|cycle| cycle.changed).count()
    }

    /// Rows of the right result at the end.
    pub fn rows(&self) -> usize {
        self.cycles.last().map_or(0, |cycle| cycle.rows)
    }

    /// Whether the result was never empty and changed at least once.
    pub fn is_worth_comparing(&self) -> bool {
        self.changes() > 0 && self.cycles.iter().all(|cycle| cycle.rows > 0)
    }

    /// The actions of its refreshes, each once, in order of appearance.
    pub fn actions(&self) -> Vec<&str> {
        let mut actions: Vec<&str> = Vec::new();
        for cycle in &self.cycles {
            if !actions.contains(&cycle.action.as_str()) {
                actions.push(&cycle.action);
            }
        }
        actions
    }

    /// Whether its refreshes followed the changes. One that fell back once is still counted here; its actions show it.
    pub fn is_incremental(&self) -> bool {
        self.refused.is_none() && self.actions().contains(&"DIFFERENTIAL")
    }

    /// Median milliseconds of a refresh and of a recompute.
    pub fn medians(&self) -> Option<(f64, f64)> {
        let of = |time: fn(&CycleRun) -> f64| median(self.cycles.iter().map(time));
        Some((of(|cycle| cycle.refresh_ms)?, of(|cycle| cycle.recompute_ms)?))
    }
}

impl Judgement {
    /// From an oracle's verdict.
    pub fn new(verdict: &pg_trickle_oracle::Verdict) -> Self {
        let detail = (!verdict.is_equal()).then(|| verdict.to_string());
        Self { verdict: verdict.word().to_owned(), detail }
    }

    /// No comparison was made, for a reason that is not the oracle's.
    pub fn none(reason: impl Into<String>) -> Self {
        Self { verdict: "not compared".to_owned(), detail: Some(reason.into()) }
    }

    /// Whether the result is wrong.
    pub fn is_wrong(&self) -> bool {
        self.verdict == "DIFFERS"
    }

    /// Whether the result is right.
    pub fn is_equal(&self) -> bool {
        self.verdict == "equal"
    }
}

impl Report {
    /// The report as JSON.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("cannot write the report as JSON")
    }

    /// The report as one HTML file that needs nothing else.
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// A table for people at a terminal.
    pub fn table(&self) -> String {
        terminal::table(self)
    }

    /// Writes `index.html` and `report.json` into a folder, which is made if need be.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
        };
        write("index.html", &self.html())?;
        write("report.json", &self.json()?)
    }
}
