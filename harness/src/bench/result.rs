//! What a benchmark found, as data: one file per workload.
//!
//! A workload has *cases*; in each some *contestants* come to the same result in their own ways. Contestants of a case
//! take turns, and what they are worth is a ratio of two of them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::AddAssign;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::report::About;

/// The contestant whose ratio to the others is asked for.
pub const STREAM_TABLE: &str = "stream table";
/// What the name of a contestant ends in where materialized views were refreshed right before its turn.
pub const DISTURBED: &str = " after materialized views";
/// The action of a refresh that found nothing to do.
pub const NO_DATA: &str = "NO_DATA";
/// `REFRESH MATERIALIZED VIEW`.
pub const RECOMPUTE: &str = "REFRESH MATERIALIZED VIEW";
/// The same, `CONCURRENTLY`.
pub const CONCURRENTLY: &str = "REFRESH MATERIALIZED VIEW CONCURRENTLY";
/// The delta that a skilled person would write for the one view.
pub const BY_HAND: &str = "hand-written";
/// A statement on a table that nobody captures.
pub const BARE: &str = "bare";
/// The same statement on a source of a stream table.
pub const CAPTURED: &str = "captured";

/// One workload on one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name on a command line: `tpch`.
    pub workload: String,
    pub about: About,
    pub pg_major: u32,
    pub server_version: String,
    pub backend: String,
    /// Settings of the server that are not its defaults, paths aside.
    pub settings: BTreeMap<String, String>,
    /// Cycles that went before those measured.
    pub warm_up: u32,
    pub cases: Vec<Case>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// `q6, scale 0.1, 150 orders`. Unique in its workload.
    pub name: String,
    /// What is compared, where the name does not say it: the query, the statement.
    pub what: String,
    /// What is on the same growth curve: the name without the size.
    pub series: String,
    /// Rows of the sources, where there is one number for them.
    pub source_rows: Option<u64>,
    /// Rows that change before each refresh.
    pub change_rows: Option<u64>,
    /// The contestant that is judged.
    pub subject: String,
    /// The contestant that it is judged by.
    pub rival: Option<String>,
    pub contestants: Vec<Contestant>,
}

/// One way to the result of a case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    pub name: String,
    /// Why it did not take part.
    pub absent: Option<String>,
    pub cycles: Vec<Cycle>,
}

/// What one turn took. What was not measured is not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cycle {
    pub ms: f64,
    /// Of the whole server meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_bytes: Option<i64>,
    /// Rows and index entries that were looked at, and pages, of other tables than catalogs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_read: Option<i64>,
    /// What the history calls the refresh, and the rows of the change it took in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_rows: Option<i64>,
}

impl AddAssign for Cycle {
    /// Two statements of one turn.
    fn add_assign(&mut self, other: Cycle) {
        let sum = |left: Option<i64>, right: Option<i64>| Some(left? + right?);
        self.ms += other.ms;
        self.wal_bytes = sum(self.wal_bytes, other.wal_bytes);
        self.temp_bytes = sum(self.temp_bytes, other.temp_bytes);
        self.rows_read = sum(self.rows_read, other.rows_read);
        self.pages_read = sum(self.pages_read, other.pages_read);
        self.delta_rows = sum(self.delta_rows, other.delta_rows);
        if self.action != other.action {
            self.action = Some("several".to_owned());
        }
    }
}

impl Contestant {
    /// One that takes part.
    pub fn named(name: impl Into<String>) -> Contestant {
        Contestant { name: name.into(), ..Contestant::default() }
    }

    /// One that cannot, and why.
    pub fn absent(name: impl Into<String>, reason: impl Into<String>) -> Contestant {
        Contestant { absent: Some(reason.into()), ..Contestant::named(name) }
    }

    /// The times of its turns.
    pub fn times(&self) -> Vec<f64> {
        self.cycles.iter().map(|cycle| cycle.ms).collect()
    }
}

impl Case {
    /// The contestant of that name, if it took part.
    pub fn contestant(&self, name: &str) -> Option<&Contestant> {
        self.contestants.iter().find(|contestant| contestant.name == name && !contestant.cycles.is_empty())
    }

    /// Whether no refresh of the contestant that is judged had anything to do. Its ratio then says nothing about refreshes
    /// that take in a change.
    pub fn is_idle(&self) -> bool {
        let is_idle = |cycle: &Cycle| cycle.action.as_deref() == Some(NO_DATA);
        self.contestant(&self.subject).is_some_and(|subject| subject.cycles.iter().all(is_idle))
    }

    /// The contestant that is judged, the one it is judged by, and the time of the one over the other, turn by turn. If
    /// there is no rival, the times themselves.
    pub fn ratios(&self) -> Option<(&Contestant, Option<&Contestant>, Vec<f64>)> {
        let subject = self.contestant(&self.subject)?;
        let rival = self.rival.as_ref().and_then(|name| self.contestant(name));
        let values = rival.map_or_else(|| subject.times(), |rival| over(subject, rival));
        Some((subject, rival, values))
    }
}

impl Default for Case {
    /// A stream table beside a materialized view, of which nothing is known.
    fn default() -> Case {
        Case {
            name: String::new(),
            what: String::new(),
            series: String::new(),
            source_rows: None,
            change_rows: None,
            subject: STREAM_TABLE.to_owned(),
            rival: Some(RECOMPUTE.to_owned()),
            contestants: Vec::new(),
        }
    }
}

/// The time of one contestant over that of another, turn by turn.
pub fn over(subject: &Contestant, rival: &Contestant) -> Vec<f64> {
    let turns = subject.times().into_iter().zip(rival.times());
    turns.filter(|(_, other)| *other > 0.0).map(|(time, other)| time / other).collect()
}

impl Run {
    /// Writes it into a folder, which is made if need be, under the name of its workload.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        write(&folder.join(format!("{}.json", self.workload)), self)
    }

    /// Reads the file of one workload.
    pub fn read(path: &Path) -> Result<Run> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a benchmark's", path.display()))
    }
}

/// Several workloads in one file: what is compared with a later run, and committed with a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub runs: Vec<Run>,
}

impl Summary {
    /// Name of its file in the folder of a run.
    pub const FILE: &str = "summary.json";

    /// Writes it into a folder, with a file for each workload beside it.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        self.runs.iter().try_for_each(|run| run.write_to(folder))?;
        write(&folder.join(Summary::FILE), self)
    }

    /// Reads a summary, or the file of one workload.
    pub fn read(path: &Path) -> Result<Summary> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        match serde_json::from_str(&text) {
            Ok(summary) => Ok(summary),
            Err(_) => Ok(Summary { runs: vec![Run::read(path)?] }),
        }
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let about = About {
            title: "Benchmark".to_owned(),
            command: "./harness/run bench --only graph".to_owned(),
            started: "2026-01-01 00:00 UTC".to_owned(),
            seconds: 1.5,
            commit: "abc".to_owned(),
            seed: 1,
            machine: BTreeMap::from([("processors".to_owned(), "2".to_owned())]),
        };
        let cycle = |ms| Cycle {
            ms,
            wal_bytes: Some(10),
            action: Some("DIFFERENTIAL".to_owned()),
            ..Cycle::default()
        };
        let contestant = |name: &str, times: [f64; 2]| Contestant {
            cycles: times.into_iter().map(cycle).collect(),
            ..Contestant::named(name)
        };
        let case = Case {
            name: "one".to_owned(),
            contestants: vec![
                contestant(STREAM_TABLE, [1.0, 2.0]),
                Contestant::absent(CONCURRENTLY, "no unique key"),
                contestant(RECOMPUTE, [10.0, 10.0]),
            ],
            ..Case::default()
        };
        Run {
            workload: "graph".to_owned(),
            about,
            pg_major: 18,
            server_version: "18.0".to_owned(),
            backend: "local".to_owned(),
            settings: BTreeMap::new(),
            warm_up: 1,
            cases: vec![case],
        }
    }

    #[test]
    fn summary_and_workload_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let summary = Summary { runs: vec![run()] };
        summary.write_to(folder.path()).expect("is written");
        assert_eq!(Summary::read(&folder.path().join(Summary::FILE)).expect("a summary"), summary);
        assert_eq!(Summary::read(&folder.path().join("graph.json")).expect("one workload"), summary);
        assert!(Summary::read(&folder.path().join("tpch.json")).is_err());
    }

    #[test]
    fn ratio_is_that_of_each_turn_and_an_absent_contestant_has_none() {
        let run = run();
        let (subject, rival, ratios) = run.cases[0].ratios().expect("a subject");
        assert_eq!(subject.name, STREAM_TABLE);
        assert_eq!(rival.map(|rival| rival.name.as_str()), Some(RECOMPUTE));
        assert_eq!(ratios, [0.1, 0.2]);
        assert!(run.cases[0].contestant(CONCURRENTLY).is_none());
    }

    #[test]
    fn sum_of_two_statements_forgets_what_was_not_measured_of_one() {
        let mut sum = Cycle { ms: 1.0, wal_bytes: Some(1), rows_read: Some(5), ..Cycle::default() };
        sum += Cycle { ms: 2.0, wal_bytes: Some(2), rows_read: None, ..Cycle::default() };
        assert_eq!((sum.ms, sum.wal_bytes, sum.rows_read), (3.0, Some(3), None));
    }
}
