//! What a replay found, as data: a run of one corpus in one mode on one or more servers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::explanation::{Explanation, How, Translation};
use super::statistics::median;

/// A run of one corpus on one or more servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// What its page is called: `tpch`.
    pub name: String,
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
}

/// The part of a run on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Settings of the server that are not its defaults, paths aside.
    pub settings: BTreeMap<String, String>,
    /// Seconds that all of it took.
    pub seconds: f64,
    /// Everything that makes the run a failure, one line each.
    pub failures: Vec<String>,
}

/// One query on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// How the extension says it maintains the stream table.
    pub explanation: Option<Explanation>,
    /// What the second oracle was given.
    pub translation: Translation,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Populated {
    pub rows: usize,
    pub postgres: Judgement,
    pub duckdb: Judgement,
}

/// Refreshes of one stream table that the scheduler made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scheduled {
    pub refreshes: u64,
    pub failed: u64,
    pub actions: String,
    pub median_ms: Option<f64>,
}

/// One refresh and what the oracles say about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CycleRun {
    pub cycle: u32,
    #[serde(flatten)]
    pub refreshed: Refreshed,
    /// Rows of the right result.
    pub rows: usize,
    /// Whether the right result differs from that of the cycle before.
    pub changed: bool,
    pub postgres: Judgement,
    pub duckdb: Judgement,
}

/// What a refresh did and how long it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refreshed {
    /// Action in the refresh history.
    pub action: String,
    pub delta_rows: Option<i64>,
    pub rows_inserted: Option<i64>,
    pub rows_deleted: Option<i64>,
    pub refresh_ms: f64,
    /// `REFRESH MATERIALIZED VIEW` of the same query, right after it. A long replay measures it in some cycles only.
    pub recompute_ms: Option<f64>,
    pub error: Option<String>,
}

/// A verdict, for the report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judgement {
    /// `equal`, `DIFFERS`, `not comparable`.
    pub verdict: String,
    /// The difference, or the reason.
    pub detail: Option<String>,
    /// The values are equal and only their texts differ, such as 1.5 and 1.50.
    pub text_only: bool,
}

/// A refresh that found nothing pending.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoChange {
    pub action: String,
    pub refresh_ms: f64,
    /// A transaction id was assigned, so something was or could have been written.
    pub assigned_xid: bool,
    /// Row versions written, by the statistics of the transaction.
    pub rows_written: i64,
}

/// How long after a commit its effect can be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
            if !actions.contains(&cycle.refreshed.action.as_str()) {
                actions.push(&cycle.refreshed.action);
            }
        }
        actions
    }

    /// Whether its refreshes followed the changes. One that fell back once is still counted here; its actions show it.
    pub fn is_incremental(&self) -> bool {
        self.refused.is_none() && self.actions().contains(&"DIFFERENTIAL")
    }

    /// How the stream table is maintained, by the worst of its sources.
    pub fn how(&self) -> How {
        match &self.explanation {
            _ if self.refused.is_some() => How::Refused,
            Some(explanation) if self.effective_mode.as_deref() == Some("DIFFERENTIAL") => explanation.how(),
            _ => How::Recomputed,
        }
    }

    /// Every judgement with what it is about: `created` or `cycle 3`, and the oracle.
    pub fn judgements(&self) -> impl Iterator<Item = (String, &'static str, &Judgement)> {
        self.verdicts().flat_map(|(when, postgres, duckdb)| {
            [(when.clone(), "PostgreSQL", postgres), (when, "DuckDB", duckdb)]
        })
    }

    /// When, and what PostgreSQL and DuckDB say.
    fn verdicts(&self) -> impl Iterator<Item = (String, &Judgement, &Judgement)> {
        let created =
            self.populated.iter().map(|found| ("created".to_owned(), &found.postgres, &found.duckdb));
        let cycles = self
            .cycles
            .iter()
            .map(|found| (format!("cycle {}", found.cycle), &found.postgres, &found.duckdb));
        created.chain(cycles)
    }

    /// What the oracles say where one finds a difference and the other finds none.
    pub fn disagreements(&self) -> impl Iterator<Item = (String, &Judgement, &Judgement)> {
        self.verdicts().filter(|(_, postgres, duckdb)| {
            postgres.was_made() && duckdb.was_made() && postgres.is_wrong() != duckdb.is_wrong()
        })
    }

    /// Whether a result is wrong or a refresh failed.
    pub fn is_failing(&self) -> bool {
        self.judgements().any(|(_, _, judgement)| judgement.is_wrong())
            || self.cycles.iter().any(|cycle| cycle.refreshed.error.is_some())
    }

    /// Median milliseconds of a refresh and of a recompute.
    pub fn medians(&self) -> Option<(f64, f64)> {
        let of = |time: fn(&CycleRun) -> Option<f64>| median(self.cycles.iter().filter_map(time));
        Some((of(|cycle| Some(cycle.refreshed.refresh_ms))?, of(|cycle| cycle.refreshed.recompute_ms)?))
    }
}

impl Judgement {
    /// From an oracle's verdict.
    pub fn new(verdict: &pg_trickle_oracle::Verdict) -> Self {
        let detail = (!verdict.is_equal()).then(|| verdict.to_string());
        Self { verdict: verdict.word().to_owned(), detail, text_only: false }
    }

    /// No comparison was made, for a reason that is not the oracle's.
    pub fn none(reason: impl Into<String>) -> Self {
        Self { verdict: "not compared".to_owned(), detail: Some(reason.into()), text_only: false }
    }

    /// Whether a comparison was made.
    pub fn was_made(&self) -> bool {
        self.is_wrong() || self.is_equal()
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
    /// Everything that makes the run a failure, one line each.
    pub fn failures(&self) -> Vec<&str> {
        self.runs.iter().flat_map(|run| &run.failures).map(String::as_str).collect()
    }

    /// A table for people at a terminal.
    pub fn table(&self) -> String {
        super::terminal::table(self)
    }
}

impl ServerRun {
    /// A server that is not there, and why.
    pub fn missing(pg_major: u32, reason: &str) -> Self {
        Self {
            pg_major,
            server_version: String::new(),
            backend: String::new(),
            missing: Some(reason.to_owned()),
            load_ms: 0.0,
            queries: Vec::new(),
            mutation_ms: Vec::new(),
            freshness: None,
            settings: BTreeMap::new(),
            seconds: 0.0,
            failures: Vec::new(),
        }
    }

    /// `PostgreSQL 18.1`.
    pub fn server(&self) -> String {
        match self.server_version.split_whitespace().next() {
            Some(version) => format!("PostgreSQL {version}"),
            None => format!("PostgreSQL {}", self.pg_major),
        }
    }
}
