//! The page of one query: definition, plan, stages, times, work class, history.

use std::collections::BTreeSet;

use super::explanation::{Explanation, Source};
use super::html::{Html, document};
use super::part_page;
use super::plot::{Pair, REFRESHES, plot};
use super::run::{CycleRun, Judgement, QueryRun, ServerRun};
use super::site::Part;
use super::table::{Cell, table};

/// The name of the page and of its twin.
pub(super) fn name(part: &Part, query: &QueryRun) -> String {
    format!("{}-{}", part.id, query.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

/// The file of the page.
pub(super) fn file(part: &Part, query: &QueryRun) -> String {
    format!("{}.html", name(part, query))
}

/// Why a change makes a refresh read all rows of a source.
pub(super) fn scan_reasons(query: &QueryRun) -> String {
    let sources = query.explanation.iter().flat_map(|explanation| &explanation.sources);
    let works = sources.filter_map(|source| source.work.as_ref().filter(|work| work.class == "scan"));
    let reasons: BTreeSet<&str> = works.flat_map(|work| &work.reasons).map(String::as_str).collect();
    reasons.into_iter().collect::<Vec<_>>().join("; ")
}

pub(super) fn page(part: &Part, run: &ServerRun, query: &QueryRun) -> String {
    let title = format!("{}, {}", query.label, part_page::title(part));
    let crumbs = [("index.html", "Report"), (&part.page(), &part_page::title(part))];
    document(&title, &crumbs, &format!("{}.json", name(part, query)), |page| {
        page.leaf("h1", &[], &title);
        verdict(page, query);
        page.facts(&[
            ("maintained by", query.how().words().to_owned()),
            ("effective mode", query.effective_mode.clone().unwrap_or_default()),
            ("why", query.reason.clone().unwrap_or_default()),
            ("stream table", query.name.clone()),
            ("server", run.server()),
            ("created in", format!("{:.1} ms", query.create_ms)),
        ]);
        differences(page, query);
        page.leaf("h2", &[], "Definition");
        if let Some(note) = &query.note {
            page.leaf("p", &[], note.trim());
        }
        page.leaf("pre", &[], query.sql.trim());
        query.notices.iter().for_each(|notice| page.leaf("p", &[("class", &"unknown")], notice));
        history(page, query);
        if let Some(explanation) = &query.explanation {
            explained(page, explanation);
        }
        second_oracle(page, query);
    })
}

fn verdict(page: &mut Html, query: &QueryRun) {
    let made = query.judgements().filter(|(_, _, judgement)| judgement.was_made()).count();
    let (class, text) = match &query.refused {
        Some(reason) => ("unknown", format!("Refused: {reason}")),
        None if query.is_failing() => ("bad", "Wrong, or a refresh failed.".to_owned()),
        None => ("good", format!("Right in all {made} comparisons.")),
    };
    page.leaf("p", &[("class", &format!("verdict {class}"))], text);
}

/// The rows that differ, and errors, spelt out.
fn differences(page: &mut Html, query: &QueryRun) {
    for cycle in &query.cycles {
        if let Some(error) = &cycle.refreshed.error {
            page.leaf("h3", &[], format!("Refresh failed in cycle {}", cycle.cycle));
            page.leaf("pre", &[], error);
        }
    }
    for (when, oracle, judgement) in query.judgements().filter(|(_, _, judgement)| judgement.is_wrong()) {
        page.leaf("h3", &[], format!("Differs from {oracle}, {when}"));
        page.leaf("pre", &[], judgement.detail.as_deref().unwrap_or(""));
    }
}

fn history(page: &mut Html, query: &QueryRun) {
    if query.cycles.is_empty() {
        return;
    }
    page.leaf("h2", &[], "History");
    let pairs: Vec<Pair> = query
        .cycles
        .iter()
        .filter_map(|cycle| {
            Some(Pair {
                label: format!("cycle {}", cycle.cycle),
                link: None,
                refresh_ms: cycle.refreshed.refresh_ms,
                recompute_ms: cycle.refreshed.recompute_ms?,
            })
        })
        .collect();
    plot(
        page,
        &pairs,
        &REFRESHES,
        "A refresh and, right after it, a full recompute of the same query; logarithmic.",
    );
    let heads = [
        "cycle",
        "action",
        "delta rows",
        "inserted",
        "deleted",
        "refresh ms",
        "recompute ms",
        "rows",
        "changed",
        "PostgreSQL",
        "DuckDB",
    ];
    table(page, &heads, query.cycles.iter().map(cycle_row));
    if let Some(found) = &query.no_change {
        let wrote = if found.assigned_xid { ", and assigned a transaction id" } else { "" };
        page.leaf(
            "p",
            &[],
            format!(
                "A refresh with nothing pending took {:.1} ms and wrote {} rows{wrote}.",
                found.refresh_ms, found.rows_written
            ),
        );
    }
}

fn cycle_row(cycle: &CycleRun) -> Vec<Cell> {
    let count = |value: Option<i64>| Cell::figure(value.map_or("–".to_owned(), |value| value.to_string()));
    let judged = |judgement: &Judgement| {
        let cell = Cell::text(&judgement.verdict);
        match () {
            () if judgement.is_wrong() => cell.bad(),
            () if judgement.is_equal() => cell.good(),
            () => cell.dim().with_title(judgement.detail.as_deref().unwrap_or("")),
        }
    };
    vec![
        Cell::figure(cycle.cycle),
        Cell::text(&cycle.refreshed.action),
        count(cycle.refreshed.delta_rows),
        count(cycle.refreshed.rows_inserted),
        count(cycle.refreshed.rows_deleted),
        Cell::ms(Some(cycle.refreshed.refresh_ms)),
        Cell::ms(cycle.refreshed.recompute_ms),
        Cell::figure(cycle.rows),
        Cell::text(if cycle.changed { "yes" } else { "no" }),
        judged(&cycle.postgres),
        judged(&cycle.duckdb),
    ]
}

fn explained(page: &mut Html, explanation: &Explanation) {
    page.leaf("h2", &[], "Plan");
    let key = match &explanation.key {
        None => "their whole content (a bag)".to_owned(),
        Some(key) if key.is_empty() => "being the only one".to_owned(),
        Some(key) => key.join(", "),
    };
    page.facts(&[("rows are found by", key), ("hidden state", explanation.state_tables.join(", "))]);
    if let Some(plan) = &explanation.plan {
        page.leaf("pre", &[], plan);
    }
    for (index, stage) in explanation.stages.iter().enumerate() {
        page.folded(format!("Stage {}", index + 1), |inside| inside.leaf("pre", &[], stage));
    }
    page.leaf("h2", &[], "Work of a refresh, by changed source");
    table(page, &["source", "work", "because", "steps"], explanation.sources.iter().map(work_row));
    for source in explanation.sources.iter().filter(|source| !source.steps.is_empty()) {
        let title = format!("After a change of {}: {} statements", source.name, source.steps.len());
        page.folded(title, |inside| {
            for step in &source.steps {
                inside.leaf("p", &[], &step.label);
                inside.leaf("pre", &[], &step.sql);
            }
        });
    }
}

fn work_row(source: &Source) -> Vec<Cell> {
    let work = source.work.as_ref();
    let capture = match (source.captured, source.polled) {
        (true, _) => "",
        (false, true) => " (polled)",
        (false, false) => " (not captured)",
    };
    vec![
        Cell::text(format!("{}{capture}", source.name)),
        Cell::text(work.map_or("recompute", |work| &work.class)),
        Cell::prose(work.map_or(String::new(), |work| work.reasons.join("; "))),
        Cell::figure(source.steps.len()),
    ]
}

fn second_oracle(page: &mut Html, query: &QueryRun) {
    page.leaf("h2", &[], "Second oracle");
    let notes = query.translation.notes();
    match (&query.translation.refused, notes.is_empty()) {
        (Some(reason), _) => page.leaf("p", &[], format!("DuckDB was not asked: {reason}.")),
        (None, true) => page.leaf("p", &[], "DuckDB was asked the same text."),
        (None, false) => page.element("ul", &[], |list| {
            notes.iter().for_each(|note| list.leaf("li", &[], note));
        }),
    }
}
