//! The page of the project's own scripts on one server.

use super::html::document;
use super::part_page;
use super::scripts::ScriptsRun;
use super::site::{Part, Site};
use super::table::{Cell, table};

pub(super) fn page(site: &Site, part: &Part, run: &ScriptsRun) -> String {
    let title = part_page::title(part);
    document(&title, &[("index.html", &site.about.title)], &format!("{}.json", part.id), |page| {
        part_page::head(page, part, &run.backend);
        page.leaf(
            "p",
            &[],
            "Each script has a database of its own. After every statement that commits a change, all stream tables of \
             the database are refreshed and compared with their queries at one snapshot; at the end hidden state is \
             verified too.",
        );
        let heads = [
            "script",
            "outcome",
            "about",
            "stream tables",
            "refreshes",
            "comparisons",
            "verified",
            "seconds",
        ];
        let rows = run.scripts.iter().map(|script| {
            let outcome = match script.failure {
                Some(_) => Cell::text("failed").bad(),
                None => Cell::text("passed").good(),
            };
            vec![
                Cell::text(&script.path),
                outcome,
                Cell::prose(&script.about),
                Cell::count(script.tally.stream_tables),
                Cell::count(script.tally.refreshes),
                Cell::count(script.tally.comparisons),
                Cell::count(script.tally.verifications),
                Cell::figure(format!("{:.1}", script.seconds)),
            ]
        });
        table(page, &heads, rows);
        part_page::foot(page, part);
    })
}
