//! What a replay of sqllogictest files found. Verdicts are a function of files, seed and server, and hold no times:
//! those are beside them, in [`Timing`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A replay on one or more servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SltReport {
    /// The command that makes this run again.
    pub command: String,
    /// Commit of the checkout, with a mark if it had changes.
    pub commit: String,
    pub seed: u64,
    /// The refresh mode asked for.
    pub mode: String,
    pub servers: Vec<SltServer>,
    /// Everything that makes the run a failure, one line each.
    pub failures: Vec<String>,
}

/// The part of a replay on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SltServer {
    pub pg_major: u32,
    /// As `server_version` says; empty if there is no such server.
    pub server_version: String,
    /// Why nothing ran, if nothing ran.
    pub missing: Option<String>,
    /// By path, and within a file by part.
    pub files: Vec<FileRun>,
}

/// Some queries of one file, replayed together in one database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileRun {
    /// Path below the corpus's folder.
    pub path: String,
    /// From 1; a file with many queries is replayed in several parts.
    pub part: usize,
    /// Queries that the file has for PostgreSQL.
    pub queries: usize,
    /// Statements of the file that were run.
    pub statements: usize,
    /// Statements that PostgreSQL rejected.
    pub rejected: Vec<Rejection>,
    /// Rounds of changes after the file's own, and statements of them that a unique index or the like refused.
    pub rounds: usize,
    pub refused_changes: usize,
    /// Why the file was given up half way, if it was: a crash, a broken connection.
    pub broken: Option<String>,
    pub verdicts: Vec<QueryVerdict>,
}

/// A statement that PostgreSQL does not run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rejection {
    pub line: usize,
    pub message: String,
}

/// What became of one query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueryVerdict {
    /// Line of the query in its file.
    pub line: usize,
    /// The query as recorded.
    pub sql: String,
    pub class: Class,
    /// Why it is not maintained from its changes, was refused or rejected; the error it raises.
    pub reason: Option<String>,
    /// Actions of its refreshes in the history, with their number.
    pub actions: BTreeMap<String, u64>,
    pub postgres_comparisons: u64,
    pub duckdb_comparisons: u64,
    /// Comparisons in which a column of numbers was equal by value and not by text.
    pub value_only: u64,
    /// Why DuckDB could not judge, if it could not.
    pub not_comparable: Option<String>,
    /// The first case in which DuckDB's answer is another than PostgreSQL's, which the stream table agrees with.
    pub disagreement: Option<String>,
    pub recorded: RecordedVerdict,
    /// What is wrong; the query was given up at the first.
    pub failure: Option<Failure>,
}

/// How a query is maintained, or why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// From its changes, and what is read follows the change.
    Delta,
    /// From its changes, and the groups or partitions that they touch are read.
    AffectedKeys,
    /// From its changes, and some table or state is read as a whole.
    Scan,
    /// It reads no table.
    Constant,
    /// Recomputed at each refresh.
    Recomputed,
    /// The engine refuses it.
    Refused,
    /// PostgreSQL itself rejects the query.
    Rejected,
    /// PostgreSQL raises an error for some contents of the tables.
    Raises,
}

impl Class {
    /// All, in the order of a table.
    pub const ALL: [Class; 8] = [
        Class::Delta,
        Class::AffectedKeys,
        Class::Scan,
        Class::Constant,
        Class::Recomputed,
        Class::Refused,
        Class::Rejected,
        Class::Raises,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Class::Delta => "maintained, work follows the change",
            Class::AffectedKeys => "maintained, affected keys are read",
            Class::Scan => "maintained, a table is read as a whole",
            Class::Constant => "maintained, reads no table",
            Class::Recomputed => "recomputed",
            Class::Refused => "refused by the engine",
            Class::Rejected => "rejected by PostgreSQL",
            Class::Raises => "PostgreSQL raises an error",
        }
    }

    /// Whether there is a stream table that follows its changes.
    pub fn is_maintained(self) -> bool {
        matches!(self, Class::Delta | Class::AffectedKeys | Class::Scan | Class::Constant)
    }
}

/// The stream table beside the recorded result, at the query's place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedVerdict {
    Met,
    /// The stream table is what PostgreSQL answers, and that is not what was recorded.
    OtherAnswer,
    /// A statement before it is not run by PostgreSQL, so the tables have other rows.
    OtherTables,
    /// There was no stream table.
    NotCompared,
}

impl RecordedVerdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            RecordedVerdict::Met => "as recorded",
            RecordedVerdict::OtherAnswer => "PostgreSQL's answer is another one",
            RecordedVerdict::OtherTables => "tables differ from the recording's",
            RecordedVerdict::NotCompared => "not compared",
        }
    }
}

/// Something wrong, and the script that shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub what: FailureKind,
    pub detail: String,
    /// Path of a script for a fresh database, below the checkout.
    pub script: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The stream table is not its query.
    Wrong,
    /// Creating the stream table failed, and not because the query is one that is refused.
    Creation,
    /// A refresh failed where the query itself does not.
    Refresh,
    /// Hidden state is not what a recomputation gives.
    State,
}

impl FailureKind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            FailureKind::Wrong => "wrong result",
            FailureKind::Creation => "creation failed",
            FailureKind::Refresh => "refresh failed",
            FailureKind::State => "wrong hidden state",
        }
    }
}

/// Times of a replay, apart from its verdicts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timing {
    pub seconds: f64,
    pub jobs: usize,
    pub files: Vec<FileTiming>,
}

/// Where the time of one file went, in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FileTiming {
    pub pg_major: u32,
    pub path: String,
    pub part: usize,
    pub total_ms: f64,
    pub statements_ms: f64,
    pub create_ms: f64,
    pub refresh_ms: f64,
    pub postgres_ms: f64,
    pub duckdb_ms: f64,
}

impl QueryVerdict {
    /// A query of which nothing is known yet.
    pub fn new(line: usize, sql: &str) -> Self {
        Self {
            line,
            sql: sql.to_owned(),
            class: Class::Constant,
            reason: None,
            actions: BTreeMap::new(),
            postgres_comparisons: 0,
            duckdb_comparisons: 0,
            value_only: 0,
            not_comparable: None,
            disagreement: None,
            recorded: RecordedVerdict::NotCompared,
            failure: None,
        }
    }
}

impl SltServer {
    /// All verdicts of all files.
    pub fn verdicts(&self) -> impl Iterator<Item = (&FileRun, &QueryVerdict)> {
        self.files.iter().flat_map(|file| file.verdicts.iter().map(move |verdict| (file, verdict)))
    }

    /// Everything that makes the run on this server a failure.
    pub fn failures(&self) -> Vec<String> {
        let place = format!("PostgreSQL {}", self.pg_major);
        let missing = self.missing.iter().map(|reason| format!("{place} is missing: {reason}"));
        let broken = self.files.iter().filter_map(|file| {
            file.broken.as_ref().map(|reason| format!("{place}, {}: given up: {reason}", file.path))
        });
        let wrong = self.verdicts().filter_map(|(file, verdict)| {
            let failure = verdict.failure.as_ref()?;
            let script =
                failure.script.as_ref().map_or(String::new(), |script| format!("\n  script: {script}"));
            Some(format!(
                "{place}, {}:{}: {}: {}{script}",
                file.path,
                verdict.line,
                failure.what.words(),
                failure.detail.trim_end()
            ))
        });
        missing.chain(broken).chain(wrong).collect()
    }
}
