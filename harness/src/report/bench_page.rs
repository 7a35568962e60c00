//! The pages of benchmarks: a front page with what each workload comes to, and a page for each with every contestant.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::html::{Html, document};
use super::plot::{Names, Pair, plot};
use super::site::{make_empty, write};
use super::table::{Cell, grouped, table};
use crate::bench::result::{Case, Contestant, Cycle, Run, Summary, over};
use crate::bench::statistics::Spread;
use crate::report::{median, percentile};

/// Turns from which on the slowest of a hundred means something.
const MANY_TURNS: usize = 100;

/// Writes the pages and their JSON into a folder, which is made if need be.
pub fn write_benchmarks(summary: &Summary, folder: &Path) -> Result<()> {
    make_empty(folder)?;
    write(folder, "index", &front(summary), &serde_json::to_value(summary)?)?;
    for run in &summary.runs {
        write(folder, &run.workload, &page(run), &serde_json::to_value(run)?)?;
    }
    Ok(())
}

fn front(summary: &Summary) -> String {
    document("Benchmarks", &[], "index.json", |page| {
        page.leaf("h1", &[], "Benchmarks");
        page.leaf(
            "p",
            &[],
            "Figures are ratios of two contestants that took turns in one run on one machine. Medians; in brackets the \
             quartiles.",
        );
        for run in &summary.runs {
            page.element("h2", &[], |head| head.link(&format!("{}.html", run.workload), &run.workload));
            facts(page, run);
            let (idle, busy): (Vec<&Case>, Vec<&Case>) = run.cases.iter().partition(|case| case.is_idle());
            let ratios: Vec<f64> = busy.into_iter().filter_map(ratio).map(|spread| spread.median).collect();
            let (best, worst) =
                (percentile(ratios.iter().copied(), 0.0), percentile(ratios.iter().copied(), 100.0));
            if let (Some(middle), Some(best), Some(worst)) = (median(ratios.iter().copied()), best, worst) {
                page.element("p", &[("class", &"figures")], |line| {
                    line.leaf("b", &[], format!("{middle:.3}"));
                    line.text(format!(
                        " of the rival's time, the median of {} cases; {best:.3} in the best, {worst:.3} in the worst",
                        ratios.len()
                    ));
                });
            }
            if !idle.is_empty() {
                let names: Vec<&str> = idle.iter().map(|case| case.name.as_str()).collect();
                page.leaf(
                    "p",
                    &[],
                    format!("Not among them, because nothing changed for them: {}.", names.join("; ")),
                );
            }
        }
    })
}

fn facts(page: &mut Html, run: &Run) {
    let machine: Vec<&str> = run.about.machine.values().map(String::as_str).collect();
    page.facts(&[
        ("server", run.server_version.clone()),
        ("runs as", run.backend.clone()),
        ("started", run.about.started.clone()),
        ("took", format!("{:.0} s", run.about.seconds)),
        ("commit", run.about.commit.clone()),
        ("seed", run.about.seed.to_string()),
        ("machine", machine.join(", ")),
    ]);
}

fn page(run: &Run) -> String {
    let title = format!("Benchmarks: {}", run.workload);
    document(&title, &[("index.html", "Benchmarks")], &format!("{}.json", run.workload), |page| {
        page.leaf("h1", &[], &title);
        facts(page, run);
        plots(page, run);
        growth(page, run);
        page.leaf("h2", &[("id", &"cases")], "Cases");
        let heads = [
            "case",
            "contestant",
            "turns",
            "ms",
            "quartiles",
            "over the rival",
            "WAL bytes",
            "temporary bytes",
            "rows read",
            "pages read",
            "as",
        ];
        table(page, &heads, run.cases.iter().flat_map(rows));
        page.leaf("h2", &[("id", &"again")], "Again");
        page.element("p", &[], |line| line.leaf("code", &[], &run.about.command));
        let settings: String =
            run.settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        page.folded("Settings of the server", |inside| inside.leaf("pre", &[], settings));
    })
}

/// The subject's time over that of its rival; `None` without a rival.
fn ratio(case: &Case) -> Option<Spread> {
    let (_, rival, ratios) = case.ratios()?;
    rival.and_then(|_| Spread::of(&ratios))
}

/// A plot for each pair of subject and rival that some case has.
fn plots(page: &mut Html, run: &Run) {
    let mut plots: BTreeMap<(&str, &str), Vec<Pair>> = BTreeMap::new();
    for case in &run.cases {
        let Some((subject, Some(rival), _)) = case.ratios() else { continue };
        let (Some(first), Some(second)) = (median(subject.times()), median(rival.times())) else { continue };
        let pair = Pair { label: case.name.clone(), link: None, refresh_ms: first, recompute_ms: second };
        plots.entry((&subject.name, &rival.name)).or_default().push(pair);
    }
    for ((first, second), pairs) in plots {
        let caption = "Median milliseconds of each case; logarithmic.";
        plot(page, &pairs, &Names { first, second }, caption);
    }
}

/// A case at one size.
struct Point {
    rows: u64,
    ms: f64,
    read: Option<i64>,
}

/// Of series of several sizes the time at the smallest and at the largest.
fn growth(page: &mut Html, run: &Run) {
    let mut series: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    for case in &run.cases {
        let Some((subject, ..)) = case.ratios() else { continue };
        let (Some(rows), Some(ms)) = (case.source_rows, median(subject.times())) else { continue };
        let read = middle(subject, |cycle| cycle.rows_read);
        series.entry(&case.series).or_default().push(Point { rows, ms, read });
    }
    let (mut pairs, mut lines) = (Vec::new(), Vec::new());
    for (name, mut points) in series {
        points.sort_by_key(|point| point.rows);
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        if first.rows == last.rows {
            continue;
        }
        pairs.push(Pair { label: name.to_owned(), link: None, refresh_ms: first.ms, recompute_ms: last.ms });
        let read = |point: &Point| point.read.map_or("–".to_owned(), |rows| grouped(rows as usize));
        lines.push(vec![
            Cell::text(name),
            Cell::figure(format!("{} to {}", grouped(first.rows as usize), grouped(last.rows as usize))),
            Cell::figure(format!("{:.2} to {:.2}", first.ms, last.ms)),
            Cell::figure(format!("{:.2}", last.ms / first.ms)),
            Cell::figure(format!("{} to {}", read(first), read(last))),
        ]);
    }
    if pairs.is_empty() {
        return;
    }
    page.leaf("h2", &[("id", &"growth")], "Growth");
    let names = Names { first: "smallest size", second: "largest size" };
    plot(page, &pairs, &names, "Median milliseconds after the same change; logarithmic.");
    table(page, &["series", "rows of the source", "ms", "factor", "rows read"], lines);
}

fn middle(contestant: &Contestant, figure: impl Fn(&Cycle) -> Option<i64>) -> Option<i64> {
    median(contestant.cycles.iter().filter_map(figure).map(|value| value as f64)).map(|value| value as i64)
}

/// A row for each contestant.
fn rows(case: &Case) -> impl Iterator<Item = Vec<Cell>> {
    let rival = case.ratios().and_then(|(_, rival, _)| rival);
    case.contestants.iter().enumerate().map(move |(place, contestant)| {
        let name = if place == 0 { Cell::text(&case.name).with_title(&case.what) } else { Cell::text("") };
        row(name, contestant, rival)
    })
}

fn row(name: Cell, contestant: &Contestant, rival: Option<&Contestant>) -> Vec<Cell> {
    let Some(spread) = Spread::of(&contestant.times()) else {
        let reason = contestant.absent.clone().unwrap_or_default();
        return vec![name, Cell::text(&contestant.name).dim(), Cell::prose(reason)];
    };
    let many = percentile(contestant.times(), 99.0).filter(|_| spread.count >= MANY_TURNS);
    let late = many.map_or(String::new(), |ms| format!(", 99 % within {ms:.1}"));
    let over = rival.filter(|rival| rival.name != contestant.name).map(|rival| over(contestant, rival));
    let over = over.and_then(|ratios| Spread::of(&ratios));
    let figure = |value: Option<i64>| match value {
        Some(value) => Cell::figure(grouped(value.max(0) as usize)),
        None => Cell::text("–").dim(),
    };
    let mut actions: Vec<&str> =
        contestant.cycles.iter().filter_map(|cycle| cycle.action.as_deref()).collect();
    actions.dedup();
    vec![
        name,
        Cell::text(&contestant.name),
        Cell::count(spread.count),
        Cell::figure(format!("{:.3}", spread.median)),
        Cell::text(format!("{:.3} to {:.3}{late}", spread.low, spread.high)),
        match over {
            Some(over) => {
                let cell = Cell::text(format!("{:.3} ({:.3} to {:.3})", over.median, over.low, over.high));
                if over.median <= 1.0 { cell.good() } else { cell.bad() }
            }
            None => Cell::text("–").dim(),
        },
        figure(middle(contestant, |cycle| cycle.wal_bytes)),
        figure(middle(contestant, |cycle| cycle.temp_bytes)),
        figure(middle(contestant, |cycle| cycle.rows_read)),
        figure(middle(contestant, |cycle| cycle.pages_read)),
        Cell::text(actions.join(", ")),
    ]
}
