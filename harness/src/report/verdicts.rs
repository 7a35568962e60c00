//! What a report says apart from times: the part of it that the same seed has to give again.

use std::collections::BTreeMap;

use super::explanation::How;
use super::run::QueryRun;
use super::site::{Content, Part, Site};
use super::sqllogictest_page;
use crate::replay::sqllogictest::result::QueryVerdict;

/// What was found about one query, or about one script or round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub how: Option<How>,
    /// Why there is no stream table.
    pub refused: Option<String>,
    pub is_failing: bool,
    /// Each refresh and comparison in words, in order.
    pub history: Vec<String>,
    /// Middle time of a refresh in milliseconds; not compared.
    pub refresh_ms: Time,
}

/// A time, which is equal to every other: no verdict depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Option<f64>);

impl PartialEq for Time {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Time {}

/// Findings by part, and in each part by name.
pub type Findings = BTreeMap<String, BTreeMap<String, Finding>>;

/// The findings of a site.
pub fn of(site: &Site) -> Findings {
    site.parts.iter().map(|part| (part.id.clone(), of_part(part))).collect()
}

fn of_part(part: &Part) -> BTreeMap<String, Finding> {
    let passed = |is_failing: bool, history: Vec<String>| Finding {
        how: None,
        refused: None,
        is_failing,
        history,
        refresh_ms: Time(None),
    };
    match &part.content {
        Content::Replay(run) => {
            run.queries.iter().map(|query| (query.name.clone(), of_query(query))).collect()
        }
        Content::Scripts(run) => {
            let found = run.scripts.iter().map(|script| {
                let tally = format!("{:?}", script.tally);
                (script.path.clone(), passed(script.failure.is_some(), vec![tally]))
            });
            found.collect()
        }
        Content::Random(run) => {
            let found = run.rounds.iter().map(|round| {
                (format!("seed {}", round.seed), passed(round.failed, vec![format!("{round:?}")]))
            });
            found.collect()
        }
        Content::Sqllogictest(run) => {
            let found = run
                .verdicts()
                .map(|(file, verdict)| (format!("{}:{}", file.path, verdict.line), of_recorded(verdict)));
            found.collect()
        }
    }
}

fn of_recorded(verdict: &QueryVerdict) -> Finding {
    let how = sqllogictest_page::how(verdict.class);
    let compared = (verdict.postgres_comparisons, verdict.duckdb_comparisons, verdict.value_only);
    Finding {
        how,
        refused: verdict.reason.clone().filter(|_| how == Some(How::Refused)),
        is_failing: verdict.failure.is_some(),
        history: vec![format!("{:?} {compared:?} {:?}", verdict.actions, verdict.recorded)],
        refresh_ms: Time(None),
    }
}

fn of_query(query: &QueryRun) -> Finding {
    let refreshes = query.cycles.iter().map(|cycle| {
        format!("cycle {}: {}, {} rows, {}", cycle.cycle, cycle.refreshed.action, cycle.rows, cycle.changed)
    });
    let judged = query
        .judgements()
        .map(|(when, oracle, judgement)| format!("{when}, {oracle}: {}", judgement.verdict));
    Finding {
        how: Some(query.how()),
        refused: query.refused.clone(),
        is_failing: query.is_failing(),
        history: refreshes.chain(judged).collect(),
        refresh_ms: Time(query.medians().map(|(refresh, _)| refresh)),
    }
}
