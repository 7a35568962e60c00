//! The page of random queries and histories on one server.

use super::html::document;
use super::part_page;
use super::random::RandomRun;
use super::site::{Part, Site};
use super::table::{Cell, table};

pub(super) fn page(site: &Site, part: &Part, run: &RandomRun) -> String {
    let title = part_page::title(part);
    document(&title, &[("index.html", &site.about.title)], &format!("{}.json", part.id), |page| {
        part_page::head(page, part, &run.server);
        page.leaf(
            "p",
            &[],
            "Each round makes random queries over random tables, changes the tables and takes the last change back, and \
             plays random transactions over stream tables of every maintained shape. Every refresh must follow the \
             changes, and after each the stream table must be PostgreSQL's own answer, text for text.",
        );
        let heads = [
            "seed",
            "queries maintained",
            "refused",
            "refreshes",
            "comparisons",
            "results changed",
            "outcome",
        ];
        let rows = run.rounds.iter().map(|round| {
            vec![
                Cell::figure(round.seed),
                Cell::count(round.maintained),
                Cell::count(round.refused.values().sum()),
                Cell::count(round.refreshes),
                Cell::count(round.comparisons),
                Cell::count(round.changed),
                if round.failed { Cell::text("failed").bad() } else { Cell::text("passed").good() },
            ]
        });
        table(page, &heads, rows);
        let refused = run.refused();
        if !refused.is_empty() {
            page.leaf("h2", &[], "Refused");
            let rows =
                refused.into_iter().map(|(reason, count)| vec![Cell::figure(count), Cell::prose(reason)]);
            table(page, &["queries", "reason"], rows);
        }
        part_page::foot(page, part);
    })
}
