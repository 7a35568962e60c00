//! The page of SQLite's sqllogictest files on one server.

use std::collections::BTreeMap;

use super::counts::Counts;
use super::explanation::How;
use super::html::{Html, document};
use super::part_page;
use super::site::{Part, Site};
use super::table::{Cell, table};
use crate::replay::sqllogictest::result::{Class, FileRun, QueryVerdict, RecordedVerdict, SltServer};

/// How a query of this class is maintained; none if it never became one.
pub(super) fn how(class: Class) -> Option<How> {
    match class {
        // No change can reach it.
        Class::Delta | Class::Constant => Some(How::Delta),
        Class::AffectedKeys => Some(How::AffectedKeys),
        Class::Scan => Some(How::Scan),
        Class::Recomputed => Some(How::Recomputed),
        Class::Refused => Some(How::Refused),
        Class::Rejected | Class::Raises => None,
    }
}

/// What a server's files come to.
pub(super) fn counts(run: &SltServer) -> Counts {
    let mut counts = Counts::default();
    for (_, verdict) in run.verdicts() {
        counts.queries += 1;
        counts.refreshes += verdict.actions.values().sum::<u64>() as usize;
        counts.compare("PostgreSQL", verdict.postgres_comparisons as usize);
        counts.compare("DuckDB", verdict.duckdb_comparisons as usize);
        counts.wrong += usize::from(verdict.failure.is_some());
        counts.not_comparable += usize::from(verdict.not_comparable.is_some());
        counts.disagreements += usize::from(verdict.disagreement.is_some());
        counts.text_only += verdict.value_only as usize;
        if let Some(how) = how(verdict.class) {
            *counts.how.entry(how).or_default() += 1;
        }
    }
    counts.wrong += run.files.iter().filter(|file| file.broken.is_some()).count();
    counts
}

pub(super) fn page(site: &Site, part: &Part, run: &SltServer) -> String {
    let title = part_page::title(part);
    document(&title, &[("index.html", &site.about.title)], &format!("{}.json", part.id), |page| {
        part_page::head(page, part, "");
        page.leaf(
            "p",
            &[],
            "Each sampled query of SQLite's files is a stream table. The file's own statements are made in batches with a \
             refresh after each, then rounds of made-up changes; after every refresh the stream table is compared with \
             PostgreSQL, every fourth time with DuckDB, and at its place in the file with the recorded result.",
        );
        tally(page, "Queries", run, Class::ALL.map(|class| (class.words(), class)), |verdict| verdict.class);
        let recorded = [
            RecordedVerdict::Met,
            RecordedVerdict::OtherAnswer,
            RecordedVerdict::OtherTables,
            RecordedVerdict::NotCompared,
        ];
        tally(page, "Recorded results", run, recorded.map(|one| (one.words(), one)), |verdict| {
            verdict.recorded
        });
        reasons(page, "Why not maintained from changes", run, |verdict| {
            verdict.reason.as_deref().filter(|_| !verdict.class.is_maintained())
        });
        reasons(page, "Judged by PostgreSQL alone", run, |verdict| verdict.not_comparable.as_deref());
        places(page, "Oracles disagree", run, |verdict| verdict.disagreement.clone());
        places(page, "Equal in value, not in text", run, |verdict| {
            (verdict.value_only > 0).then(|| format!("{} comparisons: {}", verdict.value_only, verdict.sql))
        });
        page.leaf("h2", &[], "Files");
        run.files.iter().for_each(|file| queries(page, file));
        part_page::foot(page, part);
    })
}

/// How many queries there are of each kind.
fn tally<K: PartialEq, const N: usize>(
    page: &mut Html,
    title: &str,
    run: &SltServer,
    kinds: [(&str, K); N],
    of: fn(&QueryVerdict) -> K,
) {
    page.leaf("h2", &[], title);
    let rows = kinds.into_iter().map(|(words, kind)| {
        let count = run.verdicts().filter(|(_, verdict)| of(verdict) == kind).count();
        vec![Cell::text(words), Cell::count(count)]
    });
    table(page, &["", "queries"], rows);
}

/// Reasons with the number of queries that have them, the most frequent first.
fn reasons(page: &mut Html, title: &str, run: &SltServer, of: fn(&QueryVerdict) -> Option<&str>) {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in run.verdicts().filter_map(|(_, verdict)| of(verdict)) {
        *found.entry(reason).or_default() += 1;
    }
    if found.is_empty() {
        return;
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    page.leaf("h2", &[], title);
    let rows = found.into_iter().map(|(reason, count)| vec![Cell::count(count), Cell::prose(reason)]);
    table(page, &["queries", "reason"], rows);
}

/// Single queries with what is worth saying about them.
fn places(page: &mut Html, title: &str, run: &SltServer, of: fn(&QueryVerdict) -> Option<String>) {
    let found: Vec<_> = run
        .verdicts()
        .filter_map(|(file, verdict)| {
            of(verdict).map(|text| (format!("{}:{}", file.path, verdict.line), text))
        })
        .collect();
    if found.is_empty() {
        return;
    }
    page.leaf("h2", &[], title);
    let rows = found.into_iter().map(|(place, text)| vec![Cell::text(place), Cell::prose(text)]);
    table(page, &["query", ""], rows);
}

/// The sampled queries of a file, folded away.
fn queries(page: &mut Html, file: &FileRun) {
    let title = format!(
        "{}, part {}: {} of {} queries, {} statements, {} rounds",
        file.path,
        file.part,
        file.verdicts.len(),
        file.queries,
        file.statements,
        file.rounds
    );
    page.folded(title, |inside| {
        let rows = file.verdicts.iter().map(|verdict| {
            vec![
                Cell::figure(verdict.line),
                if verdict.failure.is_some() {
                    Cell::text("wrong").bad()
                } else {
                    Cell::text("right").good()
                },
                Cell::text(verdict.class.words()),
                Cell::count((verdict.postgres_comparisons + verdict.duckdb_comparisons) as usize),
                Cell::prose(&verdict.sql),
            ]
        });
        table(inside, &["line", "outcome", "class", "comparisons", "query"], rows);
    });
}
