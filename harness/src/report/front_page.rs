//! The front page: the claim, the number of comparisons, and everything that is not proven.

use super::counts::Counts;
use super::explanation::How;
use super::html::{Html, document};
use super::part_page;
use super::site::{NotProven, Part, Site};
use super::table::{Cell, grouped, table};

pub(super) fn page(site: &Site) -> String {
    let counts = site.counts();
    document(&site.about.title, &[], "index.json", |page| {
        page.leaf("h1", &[], &site.about.title);
        claim(page, site, &counts);
        figures(page, site, &counts);
        page.leaf("h2", &[("id", &"parts")], "What was compared");
        let heads = [
            "corpus",
            "outcome",
            "PostgreSQL",
            "mode",
            "queries",
            "refreshes",
            "comparisons",
            "delta",
            "affected keys",
            "delta with a scan",
            "recomputed",
            "refused",
        ];
        table(page, &heads, site.parts.iter().map(line));
        page.leaf(
            "p",
            &[("class", &"unknown")],
            "Delta: the work of a refresh follows the change. Affected keys: the groups or partitions that a change \
             touches are computed anew. Delta with a scan: maintained from changes, but a change of some source makes a \
             refresh read all of another. Recomputed: each refresh evaluates the query. Refused: there is no stream table.",
        );
        page.leaf("h2", &[("id", &"not-proven")], "What this report does not show");
        not_proven(page, &site.not_proven);
        about(page, site);
    })
}

/// What a reader should take away, in one sentence.
fn claim(page: &mut Html, site: &Site, counts: &Counts) {
    let failures = site.failures();
    let (class, text) = match (counts.compared(), failures.len()) {
        (0, _) => ("bad", "Nothing was compared.".to_owned()),
        (all, 0) => (
            "good",
            format!("Every stream table was exactly its query, in {} comparisons out of {0}.", grouped(all)),
        ),
        (all, 1) => ("bad", format!("One thing is wrong, in {} comparisons.", grouped(all))),
        (all, many) => ("bad", format!("{many} things are wrong, in {} comparisons.", grouped(all))),
    };
    page.leaf("p", &[("class", &format!("verdict {class}"))], text);
    if !failures.is_empty() {
        page.element("ul", &[("class", &"failures")], |list| {
            for (part, failure) in failures {
                list.element("li", &[], |item| {
                    item.link(&part.page(), part_page::title(part));
                    item.text(format!(": {}", failure.lines().next().unwrap_or("")));
                });
            }
        });
    }
}

/// The numbers behind the claim.
fn figures(page: &mut Html, site: &Site, counts: &Counts) {
    // In mode FULL nothing is maintained from changes, because nobody asked for it.
    let mut asked = Counts::default();
    site.parts.iter().filter(|part| part.mode != "FULL").for_each(|part| asked += &part.counts());
    let all = asked.how.values().sum::<usize>();
    let from_changes = [How::Delta, How::AffectedKeys, How::Scan].map(|how| asked.maintained(how));
    let from_changes: usize = from_changes.iter().sum();
    let mut versions: Vec<u32> = site.parts.iter().map(|part| part.pg_major).collect();
    versions.sort_unstable();
    versions.dedup();
    let versions: Vec<String> = versions.iter().map(u32::to_string).collect();
    let mut figures = vec![
        (grouped(counts.compared()), "comparisons of whole results".to_owned()),
        (grouped(counts.wrong), "wrong".to_owned()),
        (grouped(counts.queries), "stream tables asked for".to_owned()),
        (grouped(counts.refreshes), "refreshes".to_owned()),
        (versions.join(", "), "PostgreSQL versions".to_owned()),
        (site.not_proven.len().to_string(), "things not shown, listed below".to_owned()),
    ];
    if all > 0 {
        let share = format!("{:.1} %", from_changes as f64 * 100.0 / all as f64);
        let words =
            format!("of {} queries maintained from their changes, where that was asked for", grouped(all));
        figures.insert(4, (share, words));
    }
    page.element("div", &[("class", &"tiles")], |tiles| {
        for (figure, words) in figures {
            tiles.element("div", &[], |tile| {
                tile.leaf("b", &[], figure);
                tile.leaf("span", &[], words);
            });
        }
    });
    let by = |(oracle, count): (&String, &usize)| format!("{} by {oracle}", grouped(*count));
    let judges: Vec<String> = counts.comparisons.iter().rev().map(by).collect();
    page.leaf(
        "p",
        &[],
        format!(
            "A comparison takes all rows of a stream table and of its query at one snapshot, as multisets. {}. {} results \
             had only one judge; the two disagreed {} times; {} results were equal in value but not in text.",
            judges.join(", "),
            grouped(counts.not_comparable),
            grouped(counts.disagreements),
            grouped(counts.text_only)
        ),
    );
}

fn line(part: &Part) -> Vec<Cell> {
    let counts = part.counts();
    let outcome = match part.failures.len() {
        0 => Cell::text("right").good(),
        _ => Cell::text(format!("{} failures", part.failures.len())).bad(),
    };
    // What is not asked has no count.
    let how = |how: How| match counts.how.is_empty() {
        true => Cell::text("–").dim(),
        false => Cell::count(counts.maintained(how)),
    };
    vec![
        Cell::text(&part.title).to(part.page()),
        // Where a phone shows it.
        outcome,
        Cell::figure(part.pg_major),
        Cell::text(&part.mode),
        Cell::count(counts.queries),
        Cell::count(counts.refreshes),
        Cell::count(counts.compared()),
        how(How::Delta),
        how(How::AffectedKeys),
        how(How::Scan),
        how(How::Recomputed),
        how(How::Refused),
    ]
}

fn not_proven(page: &mut Html, missing: &[NotProven]) {
    if missing.is_empty() {
        page.leaf("p", &[], "Nothing that was asked for is missing.");
        return;
    }
    page.element("ul", &[("class", &"missing")], |list| {
        for one in missing {
            list.element("li", &[], |item| {
                item.leaf("b", &[], &one.what);
                item.text(format!(": {} ", one.why));
                item.leaf("code", &[], &one.command);
            });
        }
    });
}

fn about(page: &mut Html, site: &Site) {
    let about = &site.about;
    page.leaf("h2", &[("id", &"again")], "Again");
    page.element("p", &[], |line| line.leaf("code", &[], &about.command));
    page.leaf("p", &[], "The same seed gives the same verdicts; times differ.");
    let mut facts = vec![
        ("started", about.started.clone()),
        ("took", format!("{:.0} minutes", (about.seconds / 60.0).ceil())),
        ("commit", about.commit.clone()),
        ("seed", about.seed.to_string()),
    ];
    facts.extend(about.machine.iter().map(|(name, value)| (name.as_str(), value.clone())));
    page.facts(&facts);
}
