//! The classifier's list of built-in STABLE functions has every one that the server has, and the page that says which
//! of them are maintained says the same.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use pg_trickle_harness::cluster::test_database;

/// Name to class.
fn list() -> Result<BTreeMap<String, String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/src/analyze/stable_functions.txt");
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, class) = line.split_once(' ').with_context(|| format!("`{line}` has no class"))?;
            ensure!(["settings", "time", "other"].contains(&class), "`{line}`: no such class");
            Ok((name.to_owned(), class.to_owned()))
        })
        .collect()
}

#[test]
fn every_stable_function_of_the_server_has_a_class() -> Result<()> {
    let list = list()?;
    let database = test_database()?;
    let mut client = database.connect()?;
    let rows = client.query(
        "SELECT DISTINCT p.proname::text FROM pg_catalog.pg_proc p \
         WHERE p.provolatile = 's' AND p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384",
        &[],
    )?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    ensure!(names.len() > 400, "the server has only {} STABLE functions", names.len());
    let unknown: Vec<&String> = names.iter().filter(|name| !list.contains_key(*name)).collect();
    ensure!(unknown.is_empty(), "STABLE functions without a class: {unknown:?}");
    Ok(())
}

#[test]
fn the_page_of_limits_lists_the_functions_of_settings() -> Result<()> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md"))?;
    let (_, after) =
        page.split_once("<!-- functions of settings -->").context("the page has no such list")?;
    let (listed, _) = after.split_once("<!-- end -->").context("the list has no end")?;
    let mut listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
    listed.sort_unstable();
    let list = list()?;
    let expected: Vec<&str> =
        list.iter().filter(|(_, class)| *class == "settings").map(|(name, _)| name.as_str()).collect();
    ensure!(listed == expected, "docs/limits.md should list {expected:?}");
    Ok(())
}
