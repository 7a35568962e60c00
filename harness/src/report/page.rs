//! The report as a page: one file, no scripts, no other assets, light and dark, readable on a phone.

use std::fmt::Write;

use super::html::escape;
use super::plot::plot;
use super::{CycleRun, Judgement, QueryRun, Report, ServerRun};

const STYLE: &str = include_str!("page.css");

pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    let verdict = match report.failures.len() {
        0 => "<p class=\"good\">Every result was right in every comparison.</p>".to_owned(),
        1 => "<p class=\"bad\">One thing is wrong.</p>".to_owned(),
        many => format!("<p class=\"bad\">{many} things are wrong.</p>"),
    };
    let _ = write!(body, "<h1>{}</h1>{verdict}", escape(&report.title));
    if !report.failures.is_empty() {
        let items: String = report.failures.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        let _ = write!(body, "<ul class=\"failures\">{items}</ul>");
    }
    facts(&mut body, report);
    for run in &report.runs {
        server(&mut body, run);
    }
    parameters(&mut body, report);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n",
        escape(&report.title)
    )
}

fn facts(body: &mut String, report: &Report) {
    let facts = [
        ("maintained", report.subject.clone()),
        ("mode asked for", report.mode.clone()),
        ("size", report.size.clone()),
        ("cycles", report.cycles.to_string()),
        ("seed", report.seed.to_string()),
        ("started", report.started.clone()),
        ("commit", report.commit.clone()),
    ];
    body.push_str("<dl>");
    for (name, value) in facts {
        let _ = write!(body, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    let _ = write!(body, "</dl><p>Again: <code>{}</code></p>", escape(&report.command));
}

fn server(body: &mut String, run: &ServerRun) {
    let version =
        if run.server_version.is_empty() { run.pg_major.to_string() } else { run.server_version.clone() };
    let _ = write!(body, "<h2>PostgreSQL {}</h2>", escape(&version));
    if let Some(reason) = &run.missing {
        let _ = write!(body, "<p class=\"bad\">Not run: {}</p>", escape(reason));
        return;
    }
    if let Some(freshness) = &run.freshness {
        let _ = write!(
            body,
            "<p class=\"figures\"><b>{:.0} ms</b> from commit to visible (median), <b>{:.0} ms</b> at the 99th \
             percentile, {:.0} ms at most. {} samples in {:.0} s, during {} transactions of {} statements. {}</p>",
            freshness.p50_ms,
            freshness.p99_ms,
            freshness.max_ms,
            freshness.samples,
            freshness.seconds,
            freshness.transactions,
            freshness.statements,
            escape(&freshness.method)
        );
    }
    let _ = write!(
        body,
        "<figure>{}<figcaption>Median time of a refresh and of a full recompute of the same query in the same run \
         ({}); logarithmic.</figcaption></figure>",
        plot(&run.queries),
        escape(&run.backend)
    );
    body.push_str(
        "<div class=\"wide\"><table><thead><tr><th>query<th>refreshed by<th>rows<th>changed<th>delta rows\
         <th>refresh ms<th>recompute ms<th>speedup<th>no change ms<th>PostgreSQL<th>DuckDB<th>why</tr></thead><tbody>",
    );
    for query in &run.queries {
        row(body, query);
    }
    body.push_str("</tbody></table></div>");
    for query in &run.queries {
        differences(body, query);
    }
    scheduled(body, run);
    cycles(body, run);
}

fn row(body: &mut String, query: &QueryRun) {
    let _ = write!(body, "<tr><th>{}", escape(&query.label));
    if let Some(refused) = &query.refused {
        let _ = write!(body, "<td colspan=\"11\">refused: {}</tr>", escape(refused));
        return;
    }
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
    let medians = query.medians();
    let delta =
        super::median(query.cycles.iter().filter_map(|cycle| cycle.delta_rows).map(|rows| rows as f64));
    let _ = write!(
        body,
        "<td>{}<td class=\"n\">{}<td class=\"n\">{} of {}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
         <td class=\"n\">{}<td class=\"n\">{}{}{}<td>{}</tr>",
        escape(&query.actions().join(", ")),
        query.rows(),
        query.changes(),
        query.cycles.len(),
        delta.map_or("–".to_owned(), |rows| format!("{rows:.0}")),
        ms(medians.map(|(refresh, _)| refresh)),
        ms(medians.map(|(_, recompute)| recompute)),
        medians.map_or("–".to_owned(), |(refresh, recompute)| format!("{:.1}×", recompute / refresh)),
        ms(query.no_change.as_ref().map(|found| found.refresh_ms)),
        verdict_cell(query, |cycle| &cycle.postgres),
        verdict_cell(query, |cycle| &cycle.duckdb),
        escape(query.reason.as_deref().unwrap_or("")),
    );
}

fn verdict_cell(query: &QueryRun, judgement: fn(&CycleRun) -> &Judgement) -> String {
    let all: Vec<&Judgement> = query.cycles.iter().map(judgement).collect();
    let equal = all.iter().filter(|judgement| judgement.is_equal()).count();
    let class = match () {
        () if all.iter().any(|judgement| judgement.is_wrong()) => "bad",
        () if equal == all.len() => "good",
        () => "unknown",
    };
    let title = all.iter().find_map(|judgement| judgement.detail.as_deref()).unwrap_or("");
    format!("<td class=\"{class}\" title=\"{}\">{equal} of {} equal", escape(title), all.len())
}

/// The rows that differ, and errors, spelt out.
fn differences(body: &mut String, query: &QueryRun) {
    for cycle in &query.cycles {
        let error = cycle.error.as_deref().map(|error| ("refresh failed", error));
        let wrong = [("PostgreSQL", &cycle.postgres), ("DuckDB", &cycle.duckdb)]
            .into_iter()
            .filter(|(_, judgement)| judgement.is_wrong())
            .map(|(oracle, judgement)| (oracle, judgement.detail.as_deref().unwrap_or("")));
        for (who, what) in error.into_iter().chain(wrong) {
            let _ = write!(
                body,
                "<details open><summary>{} in cycle {}: {who}</summary><pre>{}</pre></details>",
                escape(&query.name),
                cycle.cycle,
                escape(what)
            );
        }
    }
}

/// What the scheduler did by itself.
fn scheduled(body: &mut String, run: &ServerRun) {
    if run.queries.iter().all(|query| query.scheduled.is_none()) {
        return;
    }
    body.push_str(
        "<h3>Refreshes by the scheduler while orders streamed in</h3><div class=\"wide\"><table><thead><tr><th>query\
         <th>refreshes<th>failed<th>median ms<th>actions</tr></thead><tbody>",
    );
    for query in &run.queries {
        let _ = match &query.scheduled {
            Some(found) => write!(
                body,
                "<tr><th>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td>{}</tr>",
                escape(&query.label),
                found.refreshes,
                found.failed,
                found.median_ms.map_or("–".to_owned(), |ms| format!("{ms:.1}")),
                escape(&found.actions)
            ),
            None => write!(body, "<tr><th>{}<td colspan=\"4\">none</tr>", escape(&query.label)),
        };
    }
    body.push_str("</tbody></table></div>");
}

/// Every figure of every cycle, folded away.
fn cycles(body: &mut String, run: &ServerRun) {
    body.push_str(
        "<details><summary>Every cycle</summary><div class=\"wide\"><table><thead><tr><th>query<th>cycle<th>action\
         <th>delta rows<th>inserted<th>deleted<th>refresh ms<th>recompute ms<th>rows<th>changed<th>PostgreSQL\
         <th>DuckDB</tr></thead><tbody>",
    );
    let count = |value: Option<i64>| value.map_or("–".to_owned(), |value| value.to_string());
    for query in &run.queries {
        for cycle in &query.cycles {
            let _ = write!(
                body,
                "<tr><th>{}<td class=\"n\">{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
                 <td class=\"n\">{:.1}<td class=\"n\">{:.1}<td class=\"n\">{}<td>{}<td>{}<td>{}</tr>",
                escape(&query.label),
                cycle.cycle,
                escape(&cycle.action),
                count(cycle.delta_rows),
                count(cycle.rows_inserted),
                count(cycle.rows_deleted),
                cycle.refresh_ms,
                cycle.recompute_ms,
                cycle.rows,
                if cycle.changed { "yes" } else { "no" },
                escape(&cycle.postgres.verdict),
                escape(&cycle.duckdb.verdict),
            );
        }
    }
    body.push_str("</tbody></table></div></details>");
}

/// Where the parameters are not the validation values, and the texts of the queries.
fn parameters(body: &mut String, report: &Report) {
    let Some(run) = report.runs.iter().find(|run| !run.queries.is_empty()) else { return };
    body.push_str("<h2>Queries</h2>");
    for query in &run.queries {
        let note = query.note.as_ref().map_or(String::new(), |note| format!(" {note}"));
        let _ = write!(
            body,
            "<details><summary>{}{}</summary><pre>{}</pre>{}</details>",
            escape(&query.label),
            escape(&note),
            escape(&query.sql),
            query.notices.iter().map(|notice| format!("<p>{}</p>", escape(notice))).collect::<String>()
        );
    }
}
