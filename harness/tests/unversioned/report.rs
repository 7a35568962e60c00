//! The report from what was recorded of a run: pages, links, escaping, and what a comparison of two reports finds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pg_trickle_harness::report::{Content, Diff, QueryRun, Site, links, verdicts};

/// A run of two queries, two scripts and one round of random queries.
fn recorded() -> Result<Site> {
    Site::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unversioned/recorded"))
}

/// The first query of a site.
fn query(site: &mut Site) -> Result<&mut QueryRun> {
    let replays = site.parts.iter_mut().find_map(|part| match &mut part.content {
        Content::Replay(run) => run.queries.first_mut(),
        _ => None,
    });
    replays.context("a replay is recorded")
}

fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "html")).collect())
}

#[test]
fn recorded_run_becomes_a_site_whose_links_lead_somewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    recorded()?.write_to(folder.path())?;
    assert_eq!(links::problems(folder.path())?, Vec::<String>::new());
    // The front page, three parts, two queries.
    assert_eq!(pages(folder.path())?.len(), 6);
    let front = std::fs::read_to_string(folder.path().join("index.html"))?;
    assert!(front.contains("Every stream table was exactly its query"));
    assert!(front.contains("<code>./harness/run report --only "), "what is not shown has its command");
    for page in pages(folder.path())? {
        let text = std::fs::read_to_string(&page)?;
        let is_foreign = |word: &str| text.contains(word);
        assert!(!["http://", "https://", "<script", "<r>"].into_iter().any(is_foreign), "{}", page.display());
    }
    Ok(())
}

#[test]
fn what_is_written_is_read_again_and_an_older_report_leaves_no_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = recorded()?;
    site.write_to(folder.path())?;
    assert_eq!(verdicts::of(&Site::read(folder.path())?), verdicts::of(&site));
    site.parts.truncate(1);
    site.write_to(folder.path())?;
    assert_eq!(pages(folder.path())?.len(), 4);
    Ok(())
}

#[test]
fn wrong_result_is_on_the_front_page_and_on_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut site = recorded()?;
    let wrong = &mut query(&mut site)?.cycles[0].postgres;
    wrong.verdict = "DIFFERS".to_owned();
    wrong.detail = Some("1 row < expected".to_owned());
    site.parts[0].failures.push("tpch_q6: DIFFERS".to_owned());
    site.write_to(folder.path())?;
    assert_eq!(site.counts().wrong, 1);
    let front = std::fs::read_to_string(folder.path().join("index.html"))?;
    assert!(front.contains("One thing is wrong") && !front.contains("exactly its query"));
    let page = std::fs::read_to_string(folder.path().join("tpch-18-auto-tpch-q6.html"))?;
    assert!(page.contains("1 row &lt; expected"));
    Ok(())
}

#[test]
fn report_does_not_differ_from_itself() -> Result<()> {
    assert_eq!(Diff::between(&recorded()?, &recorded()?), Diff::default());
    Ok(())
}

#[test]
fn difference_names_what_is_newly_failing_refused_slower_and_gone() -> Result<()> {
    let old = recorded()?;
    let mut failing = recorded()?;
    query(&mut failing)?.cycles[0].postgres.verdict = "DIFFERS".to_owned();
    let found = Diff::between(&old, &failing);
    assert_eq!(found.newly_failing, ["tpch-18-auto, tpch_q6"]);
    assert!(!found.is_acceptable());
    assert_eq!(Diff::between(&failing, &old).repaired, ["tpch-18-auto, tpch_q6"]);

    let mut slower = recorded()?;
    query(&mut slower)?
        .cycles
        .iter_mut()
        .for_each(|cycle| cycle.refreshed.refresh_ms = cycle.refreshed.refresh_ms * 2.0 + 10.0);
    let found = Diff::between(&old, &slower);
    assert_eq!(found.newly_slower.len(), 1);
    assert!(found.is_acceptable());

    let mut refused = recorded()?;
    query(&mut refused)?.refused = Some("a reason (0A000)".to_owned());
    assert_eq!(Diff::between(&old, &refused).newly_refused, ["tpch-18-auto, tpch_q6: a reason (0A000)"]);

    let mut fewer = recorded()?;
    fewer.parts.pop();
    if let Content::Replay(run) = &mut fewer.parts[0].content {
        run.queries.pop();
    }
    assert_eq!(Diff::between(&old, &fewer).gone, ["tpch-18-auto, tpch_q13", "random-18"]);
    Ok(())
}
