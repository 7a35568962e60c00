//! The replays: their machinery, checked on materialized views, where whatever it reports is its own mistake; and the
//! extension.

use anyhow::Result;
use pg_trickle_corpus::job::Job;
use pg_trickle_corpus::nexmark::{Nexmark, Shape};
use pg_trickle_corpus::tpch::{Scale, Tpch};
use pg_trickle_corpus::workload::Workload;
use pg_trickle_harness::cluster::test_cluster;
use pg_trickle_harness::replay::sqllogictest::result::{Class, RecordedVerdict};
use pg_trickle_harness::replay::sqllogictest::{self, SltOptions};
use pg_trickle_harness::replay::{ReplayOptions, replay};
use pg_trickle_harness::report::{Report, Site, links, verdicts};

const SEED: u64 = 11;

fn self_test() -> ReplayOptions {
    ReplayOptions { cycles: 3, seed: SEED, self_test: true, ..ReplayOptions::default() }
}

fn of_extension() -> Result<ReplayOptions> {
    Ok(ReplayOptions { pg: vec![test_cluster()?.pg_major()], self_test: false, ..self_test() })
}

fn tpch() -> Tpch {
    Tpch::new(Scale::new(0.01).expect("a scale"), SEED)
}

/// A report without a failure, in which at least `least` queries were maintained by their changes.
fn assert_right(report: &Report, least: usize) {
    assert!(report.failures().is_empty(), "{}", report.table());
    let queries = &report.runs[0].queries;
    let incremental = queries.iter().filter(|query| query.is_incremental()).count();
    assert!(
        incremental >= least,
        "only {incremental} of {} are incremental\n{}",
        queries.len(),
        report.table()
    );
}

#[test]
fn both_oracles_agree_on_all_queries_under_change() -> Result<()> {
    let report = replay(&tpch(), &self_test())?;
    assert!(report.failures().is_empty(), "{:#?}", report.failures());
    let queries = &report.runs[0].queries;
    assert_eq!(queries.len(), 22);
    let worth = queries.iter().filter(|query| query.is_worth_comparing()).count();
    assert!(worth >= 20, "only {worth} results are non-empty and change");
    Ok(())
}

#[test]
fn report_is_pages_without_scripts_whose_links_lead_somewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = ReplayOptions { queries: vec!["1".to_owned(), "q6".to_owned()], cycles: 1, ..self_test() };
    let report = replay(&tpch(), &options)?;
    Site::of_report(&report).write_to(folder.path())?;
    let problems = links::problems(folder.path())?;
    assert!(problems.is_empty(), "{problems:#?}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name));
    let page = read("tpch-18-auto.html")?;
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
    let json: serde_json::Value = serde_json::from_str(&read("tpch-18-auto.json")?)?;
    assert_eq!(json["content"]["queries"][1]["name"], "tpch_q6");
    assert_eq!(json["content"]["queries"][0]["cycles"][0]["postgres"]["verdict"], "equal");
    Ok(())
}

#[test]
fn same_seed_gives_the_same_verdicts() -> Result<()> {
    let options = ReplayOptions { queries: vec!["6".to_owned(), "q13".to_owned()], cycles: 2, ..self_test() };
    let run = || -> Result<Site> { Ok(Site::of_report(&replay(&tpch(), &options)?)) };
    let (first, second) = (run()?, run()?);
    assert_eq!(verdicts::of(&first), verdicts::of(&second));
    assert!(verdicts::of(&first).values().all(|queries| queries.len() == 2));
    Ok(())
}

#[test]
fn query_that_the_corpus_lacks_is_refused() {
    let options = ReplayOptions { queries: vec!["23".to_owned()], ..self_test() };
    let error = replay(&tpch(), &options).expect_err("there are 22");
    assert_eq!(error.to_string(), "TPC-H has no query 23");
}

/// The acceptance of the whole: every query right after every cycle, most of them maintained by their changes.
#[test]
fn stream_tables_equal_both_oracles_after_every_cycle() -> Result<()> {
    assert_right(&replay(&tpch(), &of_extension()?)?, 14);
    Ok(())
}

/// Joins of 5 to 10 tables, each in its three forms.
#[test]
fn job_stream_tables_equal_both_oracles_after_every_cycle() -> Result<()> {
    let chosen = ["2d", "7c", "11c", "16b", "20c"].map(str::to_owned).to_vec();
    let options = ReplayOptions { queries: chosen, cycles: 2, ..of_extension()? };
    assert_right(&replay(&Job::new(50, SEED), &options)?, 15);
    Ok(())
}

fn nexmark(is_keyless: bool) -> impl Workload {
    Nexmark::new(Shape { events: 4000, batch_rows: 200, cycles: 3, is_keyless }, SEED)
}

#[test]
fn nexmark_stream_tables_equal_both_oracles_after_every_cycle() -> Result<()> {
    assert_right(&replay(&nexmark(false), &of_extension()?)?, 23);
    Ok(())
}

#[test]
fn nexmark_without_a_key_of_bids_equals_both_oracles_after_every_cycle() -> Result<()> {
    assert_right(&replay(&nexmark(true), &of_extension()?)?, 22);
    Ok(())
}

/// A small sample; the command of docs/sqllogictest.md takes a large one.
#[test]
fn sqllogictest_queries_are_right_after_every_refresh_and_as_recorded() -> Result<()> {
    // The summary of the run says so, too.
    if let Some(what) = pg_trickle_harness::corpus::left_out_of_tests() {
        eprintln!("not run: {what}");
        return Ok(());
    }
    let options = SltOptions {
        sample: 40,
        seed: SEED,
        // Those with few statements: a file's statements are played whole, however few of its queries are chosen.
        files: Some("random/".to_owned()),
        pg: vec![test_cluster()?.pg_major()],
        jobs: Some(1),
        state: None,
        ..SltOptions::default()
    };
    let (report, _) = sqllogictest::replay(&options)?;
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    let verdicts: Vec<_> = report.servers[0].verdicts().map(|(_, verdict)| verdict).collect();
    let maintained = verdicts.iter().filter(|verdict| verdict.class.is_maintained()).count();
    let met = verdicts.iter().filter(|verdict| verdict.recorded == RecordedVerdict::Met).count();
    assert!(
        maintained >= 36 && met >= 36,
        "{maintained} of {} maintained, {met} as recorded",
        verdicts.len()
    );
    assert!(verdicts.iter().all(|verdict| verdict.class != Class::Refused), "{verdicts:#?}");
    Ok(())
}
