//! The replay: its machinery, checked on materialized views, where whatever it reports is its own mistake; and the
//! extension.

use anyhow::Result;
use pg_trickle_corpus::tpch::Scale;
use pg_trickle_harness::cluster::test_cluster;
use pg_trickle_harness::replay::{Corpus, Mode, ReplayOptions, replay};
use pg_trickle_harness::report::QueryRun;

fn options() -> ReplayOptions {
    ReplayOptions {
        corpus: Corpus::Tpch,
        scale: Scale::new(0.01).expect("a scale"),
        cycles: 3,
        pg: vec![18],
        mode: Mode::Auto,
        seed: 11,
        queries: Vec::new(),
        report: None,
        json: None,
        self_test: true,
    }
}

#[test]
fn both_oracles_agree_on_all_queries_under_change() -> Result<()> {
    let report = replay(&options())?;
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    let queries = &report.runs[0].queries;
    assert_eq!(queries.len(), 22);
    let worth = queries.iter().filter(|query| query.is_worth_comparing()).count();
    assert!(worth >= 20, "only {worth} results are non-empty and change");
    Ok(())
}

#[test]
fn report_is_one_page_with_a_plot_and_has_the_same_figures_as_json() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut options = options();
    options.queries = vec![1, 6];
    options.cycles = 1;
    let report = replay(&options)?;
    report.write_to(folder.path())?;
    let page = std::fs::read_to_string(folder.path().join("index.html"))?;
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("report.json"))?)?;
    assert_eq!(json["runs"][0]["queries"][1]["name"], "tpch_q6");
    assert_eq!(json["runs"][0]["queries"][0]["cycles"][0]["postgres"]["verdict"], "equal");
    Ok(())
}

/// The acceptance of the whole: every query right after every cycle, most of them maintained by their changes.
#[test]
fn stream_tables_equal_both_oracles_after_every_cycle() -> Result<()> {
    let options = ReplayOptions { pg: vec![test_cluster()?.pg_major()], self_test: false, ..options() };
    let report = replay(&options)?;
    assert!(report.failures.is_empty(), "{}", report.table());
    let is_differential = |query: &&QueryRun| query.actions() == ["DIFFERENTIAL"];
    let differential = report.runs[0].queries.iter().filter(is_differential).count();
    assert!(differential >= 14, "only {differential} of 22 are maintained by their changes");
    Ok(())
}
