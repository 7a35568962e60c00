//! The figures of a replay for people at a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::result::{Class, QueryVerdict, RecordedVerdict, SltReport, SltServer, Timing};
use super::state::Finished;

/// Reasons of one kind that are listed; the counts are always complete.
const REASONS_SHOWN: usize = 12;

/// One line when a file is finished.
pub(super) fn progress(number: usize, of: usize, finished: &Finished) -> String {
    let run = &finished.run;
    let count = |keep: fn(&QueryVerdict) -> bool| run.verdicts.iter().filter(|verdict| keep(verdict)).count();
    format!(
        "[{number}/{of}] {} part {}: {} queries, {} maintained, {} recomputed, {} statements, {} comparisons, {} failed, {:.1} s{}",
        run.path,
        run.part,
        run.verdicts.len(),
        count(|verdict| verdict.class.is_maintained()),
        count(|verdict| verdict.class == Class::Recomputed),
        run.statements,
        run.verdicts.iter().map(|verdict| verdict.postgres_comparisons).sum::<u64>(),
        count(|verdict| verdict.failure.is_some()),
        finished.timing.total_ms / 1000.0,
        run.broken.as_ref().map_or(String::new(), |why| format!(", GIVEN UP: {why}"))
    )
}

pub(super) fn table(report: &SltReport, timing: &Timing) -> String {
    let mut text = String::new();
    for server in &report.servers {
        of_server(&mut text, report, server);
    }
    for failure in &report.failures {
        let _ = writeln!(text, "FAILED: {failure}");
    }
    let parts =
        |part: fn(&super::result::FileTiming) -> f64| timing.files.iter().map(part).sum::<f64>() / 1000.0;
    let _ = writeln!(
        text,
        "{:.0} s with {} at a time; added up: statements {:.0} s, creation {:.0} s, refreshes {:.0} s, \
         comparisons with PostgreSQL {:.0} s, with both {:.0} s",
        timing.seconds,
        timing.jobs,
        parts(|file| file.statements_ms),
        parts(|file| file.create_ms),
        parts(|file| file.refresh_ms),
        parts(|file| file.postgres_ms),
        parts(|file| file.duckdb_ms)
    );
    if report.failures.is_empty() {
        text.push_str("No result is wrong.\n");
    }
    text
}

fn of_server(text: &mut String, report: &SltReport, server: &SltServer) {
    if let Some(reason) = &server.missing {
        let _ = writeln!(text, "PostgreSQL {}: not run, {reason}\n", server.pg_major);
        return;
    }
    let verdicts: Vec<&QueryVerdict> = server.verdicts().map(|(_, verdict)| verdict).collect();
    let sum = |value: fn(&QueryVerdict) -> u64| verdicts.iter().map(|verdict| value(verdict)).sum::<u64>();
    let _ = writeln!(
        text,
        "PostgreSQL {}, seed {}, mode {}: {} queries of {} files, {} statements of the files, {} rounds of further changes",
        server.server_version,
        report.seed,
        report.mode,
        verdicts.len(),
        server.files.iter().filter(|file| file.part == 1).count(),
        server.files.iter().map(|file| file.statements).sum::<usize>(),
        server.files.iter().map(|file| file.rounds).sum::<usize>(),
    );
    let _ = writeln!(
        text,
        "{:<40} {:>7} {:>9} {:>9} {:>13} {:>9}",
        "queries", "count", "refreshes", "full", "= PostgreSQL", "= DuckDB"
    );
    for class in Class::ALL {
        let of: Vec<&&QueryVerdict> = verdicts.iter().filter(|verdict| verdict.class == class).collect();
        if of.is_empty() {
            continue;
        }
        let sum = |value: &dyn Fn(&QueryVerdict) -> u64| of.iter().map(|verdict| value(verdict)).sum::<u64>();
        let _ = writeln!(
            text,
            "{:<40} {:>7} {:>9} {:>9} {:>13} {:>9}",
            class.words(),
            of.len(),
            sum(&|verdict| verdict.actions.values().sum()),
            sum(&|verdict| verdict.actions.get("FULL").copied().unwrap_or(0)),
            sum(&|verdict| verdict.postgres_comparisons),
            sum(&|verdict| verdict.duckdb_comparisons),
        );
    }
    let recorded =
        |wanted: RecordedVerdict| verdicts.iter().filter(|verdict| verdict.recorded == wanted).count();
    let _ = writeln!(
        text,
        "recorded results: {}",
        [
            RecordedVerdict::Met,
            RecordedVerdict::OtherAnswer,
            RecordedVerdict::OtherTables,
            RecordedVerdict::NotCompared
        ]
        .map(|kind| format!("{} {}", recorded(kind), kind.words()))
        .join(", ")
    );
    let _ = writeln!(
        text,
        "comparisons: {} with PostgreSQL, {} with DuckDB; equal by value but not by text: {}; wrong: {}",
        sum(|verdict| verdict.postgres_comparisons),
        sum(|verdict| verdict.duckdb_comparisons),
        sum(|verdict| verdict.value_only),
        verdicts.iter().filter(|verdict| verdict.failure.is_some()).count()
    );
    let of_class = |class: Class| verdicts.iter().filter(move |verdict| verdict.class == class);
    for class in [Class::Recomputed, Class::Refused, Class::Rejected, Class::Raises] {
        reasons(text, class.words(), of_class(class).filter_map(|verdict| verdict.reason.as_deref()));
    }
    let not_comparable = verdicts.iter().filter_map(|verdict| verdict.not_comparable.as_deref());
    reasons(text, "not comparable with DuckDB", not_comparable);
    let rejected = server.files.iter().flat_map(|file| &file.rejected);
    reasons(text, "statements rejected by PostgreSQL", rejected.map(|rejection| rejection.message.as_str()));
    for (file, verdict) in server.verdicts() {
        if let Some(difference) = &verdict.disagreement {
            let _ = writeln!(
                text,
                "PostgreSQL and DuckDB disagree: {}:{}: {}\n  {}",
                file.path,
                verdict.line,
                verdict.sql.replace('\n', " "),
                difference.trim_end()
            );
        }
    }
    text.push('\n');
}

/// The reasons with their number, most frequent first.
fn reasons<'a>(text: &mut String, title: &str, all: impl Iterator<Item = &'a str>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in all {
        *counts.entry(reason.lines().next().unwrap_or_default()).or_default() += 1;
    }
    let mut sorted: Vec<(&str, usize)> = counts.into_iter().collect();
    sorted.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    for (reason, count) in sorted.iter().take(REASONS_SHOWN) {
        let _ = writeln!(text, "{count:6} {title}: {reason}");
    }
    if sorted.len() > REASONS_SHOWN {
        let others: usize = sorted[REASONS_SHOWN..].iter().map(|(_, count)| count).sum();
        let _ = writeln!(text, "{others:6} {title}, for {} other reasons", sorted.len() - REASONS_SHOWN);
    }
}
