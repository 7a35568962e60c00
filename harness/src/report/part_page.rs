//! What the pages of all parts have in common.

use super::counts::Counts;
use super::explanation::How;
use super::html::Html;
use super::site::Part;
use super::table::{Cell, grouped, table};

/// `TPC-H replay, PostgreSQL 18, AUTO`.
pub(super) fn title(part: &Part) -> String {
    let mode = if part.mode.is_empty() { String::new() } else { format!(", {}", part.mode) };
    format!("{}, PostgreSQL {}{mode}", part.title, part.pg_major)
}

/// The verdict in a sentence.
pub(super) fn verdict(page: &mut Html, counts: &Counts, failures: usize) {
    let (class, text) = match (counts.wrong, failures) {
        (0, 0) => ("good", format!("Right in all {} comparisons.", grouped(counts.compared()))),
        (0, _) => {
            ("bad", format!("No wrong result in {} comparisons, but it failed.", grouped(counts.compared())))
        }
        (wrong, _) => {
            let things = if wrong == 1 { "thing" } else { "things" };
            let all = grouped(counts.compared());
            ("bad", format!("{} {things} went wrong, in {all} comparisons.", grouped(wrong)))
        }
    };
    page.leaf("p", &[("class", &format!("verdict {class}"))], text);
}

/// Title, verdict, failures and facts.
pub(super) fn head(page: &mut Html, part: &Part, backend: &str) {
    let counts = part.counts();
    page.leaf("h1", &[], title(part));
    verdict(page, &counts, part.failures.len());
    failures(page, &part.failures);
    page.facts(&[
        ("size", part.size.clone()),
        ("seed", part.seed.map_or(String::new(), |seed| seed.to_string())),
        ("server", part.server_version.clone()),
        ("runs as", backend.to_owned()),
        ("took", format!("{:.0} s", part.seconds)),
        ("commit", part.commit.clone()),
    ]);
    count_table(page, &counts);
}

/// Failures as they are, in full.
pub(super) fn failures(page: &mut Html, failures: &[String]) {
    for failure in failures {
        let (first, rest) = failure.split_once('\n').unwrap_or((failure, ""));
        page.leaf("p", &[("class", &"bad")], first);
        if !rest.is_empty() {
            page.leaf("pre", &[], rest);
        }
    }
}

fn count_table(page: &mut Html, counts: &Counts) {
    let mut rows = vec![("queries".to_owned(), counts.queries), ("refreshes".to_owned(), counts.refreshes)];
    rows.extend(
        counts.comparisons.iter().map(|(oracle, count)| (format!("comparisons with {oracle}"), *count)),
    );
    rows.extend(How::ALL.map(|how| (format!("queries: {}", how.words()), counts.maintained(how))));
    rows.push(("results that one oracle could not judge".to_owned(), counts.not_comparable));
    rows.push(("comparisons in which the oracles disagree".to_owned(), counts.disagreements));
    rows.push(("equal in value, not in text".to_owned(), counts.text_only));
    rows.push(("wrong".to_owned(), counts.wrong));
    let shown = rows.into_iter().map(|(name, count)| vec![Cell::text(name), Cell::count(count)]);
    page.folded("In numbers", |inside| table(inside, &["", ""], shown));
}

/// How to run it again, and the server's settings.
pub(super) fn foot(page: &mut Html, part: &Part) {
    page.leaf("h2", &[("id", &"again")], "Again");
    page.element("p", &[], |line| line.leaf("code", &[], &part.command));
    if !part.settings.is_empty() {
        let settings: String =
            part.settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        page.folded("Settings of the server", |inside| inside.leaf("pre", &[], settings));
    }
}
