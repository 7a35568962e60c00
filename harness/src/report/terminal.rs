//! The report as a table of fixed-width columns.

use std::fmt::Write;

use super::run::{CycleRun, Judgement, QueryRun, Report, ServerRun};
use super::statistics::median;

pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.runs {
        server(&mut text, report, run);
    }
    for failure in report.failures() {
        let _ = writeln!(text, "FAILED: {failure}");
    }
    if report.failures().is_empty() {
        text.push_str("Everything agrees.\n");
    }
    text
}

fn server(text: &mut String, report: &Report, run: &ServerRun) {
    if let Some(reason) = &run.missing {
        let _ = writeln!(text, "PostgreSQL {}: not run, {reason}\n", run.pg_major);
        return;
    }
    let _ = writeln!(
        text,
        "PostgreSQL {} ({}), {}, seed {}, {} cycles, mode {}, {}",
        run.server_version, run.backend, report.size, report.seed, report.cycles, report.mode, report.subject
    );
    let width = run.queries.iter().map(|query| query.name.len()).max().unwrap_or(0).max("query".len());
    let _ = writeln!(
        text,
        "{:<width$} {:<22} {:>5} {:>7} {:>7} {:>10} {:>10} {:>7} {:>9}  {:<10} {:<10}",
        "query",
        "refreshed by",
        "rows",
        "changed",
        "delta",
        "refresh ms",
        "recomp. ms",
        "speedup",
        "no change",
        "PostgreSQL",
        "DuckDB"
    );
    for query in &run.queries {
        let _ = writeln!(text, "{}", line(query, width));
    }
    summary(text, run);
    text.push('\n');
}

fn line(query: &QueryRun, width: usize) -> String {
    if let Some(refused) = &query.refused {
        return format!("{:<width$} refused: {refused}", query.name);
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let medians = query.medians();
    let delta =
        median(query.cycles.iter().filter_map(|cycle| cycle.refreshed.delta_rows).map(|rows| rows as f64));
    format!(
        "{:<width$} {:<22} {:>5} {:>7} {:>7} {:>10} {:>10} {:>7} {:>9}  {:<10} {:<10}",
        query.name,
        query.actions().join(","),
        query.rows(),
        format!("{}/{}", query.changes(), query.cycles.len()),
        delta.map_or("-".to_owned(), |rows| format!("{rows:.0}")),
        number(medians.map(|(refresh, _)| refresh)),
        number(medians.map(|(_, recompute)| recompute)),
        medians.map_or("-".to_owned(), |(refresh, recompute)| format!("{:.1}x", recompute / refresh)),
        number(query.no_change.as_ref().map(|found| found.refresh_ms)),
        verdicts(query, |cycle| &cycle.postgres),
        verdicts(query, |cycle| &cycle.duckdb),
    )
}

/// One word for all cycles: the worst.
fn verdicts(query: &QueryRun, judgement: fn(&CycleRun) -> &Judgement) -> String {
    let worst = query.cycles.iter().map(judgement).find(|judgement| judgement.is_wrong());
    let other = || query.cycles.iter().map(judgement).find(|judgement| !judgement.is_equal());
    worst.or_else(other).map_or("equal".to_owned(), |judgement| judgement.verdict.clone())
}

fn summary(text: &mut String, run: &ServerRun) {
    let ran: Vec<&QueryRun> = run.queries.iter().filter(|query| query.refused.is_none()).collect();
    let count = |keep: fn(&QueryRun) -> bool| ran.iter().filter(|query| keep(query)).count();
    let equal = count(|query| query.cycles.iter().all(|cycle| cycle.postgres.is_equal()));
    let equal_duckdb = count(|query| query.cycles.iter().all(|cycle| cycle.duckdb.is_equal()));
    let worth = count(QueryRun::is_worth_comparing);
    let differential = count(QueryRun::is_incremental);
    let refused = run.queries.len() - ran.len();
    let _ = writeln!(
        text,
        "{} queries: {equal} equal to PostgreSQL, {equal_duckdb} to DuckDB, {worth} non-empty and changing, \
         {differential} refreshed differentially, {} not incremental ({refused} of them refused)",
        run.queries.len(),
        run.queries.len() - differential
    );
    for query in run.queries.iter().filter(|query| !query.is_incremental()) {
        if let Some(reason) = query.refused.as_deref().or(query.reason.as_deref()) {
            let _ = writeln!(text, "  {} is not incremental: {reason}", query.name);
        }
    }
    if let Some(freshness) = &run.freshness {
        let _ = writeln!(
            text,
            "commit to visible: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({} samples; {})",
            freshness.p50_ms, freshness.p99_ms, freshness.max_ms, freshness.samples, freshness.method
        );
    }
}
