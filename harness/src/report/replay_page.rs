//! The page of a replay on one server in one mode.

use super::explanation::How;
use super::html::{Html, document};
use super::part_page;
use super::plot::{Pair, REFRESHES, plot};
use super::query_page;
use super::run::{CycleRun, Freshness, Judgement, QueryRun, ServerRun};
use super::site::{Part, Site};
use super::statistics::median;
use super::table::{Cell, table};

pub(super) fn page(site: &Site, part: &Part, run: &ServerRun) -> String {
    let title = part_page::title(part);
    document(&title, &[("index.html", &site.about.title)], &format!("{}.json", part.id), |page| {
        part_page::head(page, part, &run.backend);
        if let Some(found) = &run.freshness {
            freshness(page, found);
        }
        let pairs: Vec<Pair> = run.queries.iter().filter_map(|query| pair(part, query)).collect();
        let caption = "Median time of a refresh and of a full recompute of the same query in the same run; logarithmic. \
                       Each leads to its query.";
        plot(page, &pairs, &REFRESHES, caption);
        queries(page, part, run);
        unmaintained(page, part, run);
        disagreements(page, part, run);
        not_comparable(page, part, run);
        text_only(page, part, run);
        scheduled(page, run);
        part_page::foot(page, part);
    })
}

fn pair(part: &Part, query: &QueryRun) -> Option<Pair> {
    let (refresh_ms, recompute_ms) = query.medians()?;
    let link = Some(query_page::file(part, query));
    Some(Pair { label: query.label.clone(), link, refresh_ms, recompute_ms })
}

fn freshness(page: &mut Html, found: &Freshness) {
    page.element("p", &[("class", &"figures")], |line| {
        line.leaf("b", &[], format!("{:.0} ms", found.p50_ms));
        line.text(" from commit to visible (median), ");
        line.leaf("b", &[], format!("{:.0} ms", found.p99_ms));
        line.text(format!(
            " at the 99th percentile, {:.0} ms at most. {} samples in {:.0} s, during {} transactions of {} statements. {}",
            found.max_ms, found.samples, found.seconds, found.transactions, found.statements, found.method
        ));
    });
}

fn queries(page: &mut Html, part: &Part, run: &ServerRun) {
    page.leaf("h2", &[("id", &"queries")], "Queries");
    let heads = [
        "query",
        "maintained by",
        "rows",
        "changed",
        "delta rows",
        "refresh ms",
        "recompute ms",
        "speedup",
        "no change ms",
        "PostgreSQL",
        "DuckDB",
    ];
    table(page, &heads, run.queries.iter().map(|query| row(part, query)));
}

fn row(part: &Part, query: &QueryRun) -> Vec<Cell> {
    let name = Cell::text(&query.label).to(query_page::file(part, query));
    if query.refused.is_some() {
        return vec![name, Cell::text("refused").dim()];
    }
    let medians = query.medians();
    let delta =
        median(query.cycles.iter().filter_map(|cycle| cycle.refreshed.delta_rows).map(|rows| rows as f64));
    let speedup =
        medians.map_or("–".to_owned(), |(refresh, recompute)| format!("{:.1}×", recompute / refresh));
    vec![
        name,
        Cell::text(query.how().words()),
        Cell::figure(query.rows()),
        Cell::figure(format!("{} of {}", query.changes(), query.cycles.len())),
        Cell::figure(delta.map_or("–".to_owned(), |rows| format!("{rows:.0}"))),
        Cell::ms(medians.map(|(refresh, _)| refresh)),
        Cell::ms(medians.map(|(_, recompute)| recompute)),
        Cell::figure(speedup),
        Cell::ms(query.no_change.as_ref().map(|found| found.refresh_ms)),
        verdict(query, |cycle| &cycle.postgres),
        verdict(query, |cycle| &cycle.duckdb),
    ]
}

fn verdict(query: &QueryRun, judgement: fn(&CycleRun) -> &Judgement) -> Cell {
    let all: Vec<&Judgement> = query.cycles.iter().map(judgement).collect();
    let equal = all.iter().filter(|judgement| judgement.is_equal()).count();
    let cell = Cell::text(format!("{equal} of {} equal", all.len()));
    let cell = match () {
        () if all.iter().any(|judgement| judgement.is_wrong()) => cell.bad(),
        () if equal == all.len() => cell.good(),
        () => cell.dim(),
    };
    cell.with_title(all.iter().find_map(|judgement| judgement.detail.as_deref()).unwrap_or(""))
}

/// A section of query and reason, if there is any.
fn reasons(page: &mut Html, part: &Part, title: &str, prose: &str, found: &[(&QueryRun, String)]) {
    if found.is_empty() {
        return;
    }
    page.leaf("h2", &[], title);
    page.leaf("p", &[], prose);
    let row = |(query, reason): &(&QueryRun, String)| {
        vec![Cell::text(&query.label).to(query_page::file(part, query)), Cell::prose(reason)]
    };
    table(page, &["query", "reason"], found.iter().map(row));
}

fn unmaintained(page: &mut Html, part: &Part, run: &ServerRun) {
    let of = |how: How| run.queries.iter().filter(move |query| query.how() == how);
    let reason = |query: &QueryRun| query.reason.clone().unwrap_or_else(|| format!("mode {}", part.mode));
    let refused: Vec<_> =
        of(How::Refused).map(|query| (query, query.refused.clone().unwrap_or_default())).collect();
    let prose = "There is no stream table for these; the message is the extension's.";
    reasons(page, part, "Refused", prose, &refused);
    let recomputed: Vec<_> = of(How::Recomputed).map(|query| (query, reason(query))).collect();
    if part.mode != "FULL" {
        let prose = "Each refresh evaluates these queries. The result is right; the work follows the data, not the change.";
        reasons(page, part, "Recomputed", prose, &recomputed);
    }
    let scans: Vec<_> = of(How::Scan).map(|query| (query, query_page::scan_reasons(query))).collect();
    let prose = "Maintained from changes, but a change of some source makes a refresh read all of another.";
    reasons(page, part, "Delta with a scan", prose, &scans);
}

fn disagreements(page: &mut Html, part: &Part, run: &ServerRun) {
    let mut found = Vec::new();
    for query in &run.queries {
        for (when, postgres, duckdb) in query.disagreements() {
            let judgement = if postgres.is_wrong() { postgres } else { duckdb };
            let notes = query.translation.notes();
            let notes = if notes.is_empty() { "no translation rule".to_owned() } else { notes.join("; ") };
            let detail = judgement.detail.as_deref().unwrap_or("");
            found.push((query, format!("{when}: {detail} ({notes})")));
        }
    }
    let prose = "One oracle finds the stream table right and the other does not. Each with the rules by which the query was \
                 translated for DuckDB.";
    reasons(page, part, "Oracles disagree", prose, &found);
}

fn not_comparable(page: &mut Html, part: &Part, run: &ServerRun) {
    let mut found = Vec::new();
    for query in run.queries.iter().filter(|query| query.refused.is_none()) {
        let of = |judgement: &&CycleRun| !judgement.duckdb.was_made();
        if let Some(cycle) = query.cycles.iter().find(of) {
            found.push((query, cycle.duckdb.detail.clone().unwrap_or_default()));
        }
    }
    let prose = "DuckDB has no counterpart for these; PostgreSQL alone is their judge.";
    reasons(page, part, "Judged by one oracle", prose, &found);
}

fn text_only(page: &mut Html, part: &Part, run: &ServerRun) {
    let mut found = Vec::new();
    for query in &run.queries {
        for (when, oracle, judgement) in query.judgements().filter(|(_, _, judgement)| judgement.text_only) {
            found.push((query, format!("{when}, {oracle}: {}", judgement.detail.as_deref().unwrap_or(""))));
        }
    }
    let prose = "The values are those of the query; their texts are not, as with 1.5 and 1.50.";
    reasons(page, part, "Equal in value, not in text", prose, &found);
}

/// What the scheduler did by itself.
fn scheduled(page: &mut Html, run: &ServerRun) {
    let rows: Vec<_> = run
        .queries
        .iter()
        .filter_map(|query| query.scheduled.as_ref().map(|found| (query, found)))
        .map(|(query, found)| {
            vec![
                Cell::text(&query.label),
                Cell::figure(found.refreshes),
                Cell::figure(found.failed),
                Cell::ms(found.median_ms),
                Cell::text(&found.actions),
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    page.leaf("h2", &[], "Refreshes by the scheduler while changes streamed in");
    table(page, &["query", "refreshes", "failed", "median ms", "actions"], rows);
}
