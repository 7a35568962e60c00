//! Every SQL example of the README and of `docs/` runs, in order, in one database per page.
//!
//! A block opened with ```` ```sql error 0A000 ```` must fail with that SQLSTATE.

use anyhow::{Context, Result, bail};
use pg_trickle_harness::cluster::test_database;
use std::path::{Path, PathBuf};

#[test]
fn examples_run_as_written() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    collect(&root.join("docs"), &mut pages)?;
    let mut examples = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        let blocks = blocks(&text);
        if blocks.is_empty() {
            continue;
        }
        let database = test_database()?;
        let mut client = database.connect()?;
        for block in blocks {
            examples += 1;
            let outcome = statements(&block.sql).try_for_each(|statement| client.batch_execute(&statement));
            let found =
                outcome.as_ref().err().and_then(|error| error.code()).map(|code| code.code().to_owned());
            if outcome.is_ok() != block.error.is_none() || found != block.error {
                let name = page.display();
                bail!(
                    "{name}:{}: expected {:?}, got {:?} {:?}",
                    block.line,
                    block.error,
                    found,
                    outcome.err()
                );
            }
        }
    }
    println!("{examples} examples");
    assert!(examples > 3, "the pages have lost their examples");
    Ok(())
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, pages)?;
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            pages.push(entry);
        }
    }
    Ok(())
}

/// The statements one by one, as psql sends them: several at once would be one transaction. A statement ends at a line
/// that ends with a semicolon, comments aside.
fn statements(sql: &str) -> impl Iterator<Item = String> {
    let mut all = vec![String::new()];
    for line in sql.lines() {
        if let Some(statement) = all.last_mut() {
            *statement += line;
            *statement += "\n";
        }
        if line.split("--").next().is_some_and(|code| code.trim_end().ends_with(';')) {
            all.push(String::new());
        }
    }
    all.into_iter().filter(|statement| !statement.trim().is_empty())
}

struct Block {
    line: usize,
    sql: String,
    error: Option<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = vec![];
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            Some(block) if line.trim_end() == "```" => {
                found.push(Block {
                    line: block.line,
                    sql: std::mem::take(&mut block.sql),
                    error: block.error.take(),
                });
                open = None;
            }
            Some(block) => {
                block.sql += line;
                block.sql += "\n";
            }
            None => {
                if let Some(rest) = line.strip_prefix("```sql") {
                    let error = rest.trim().strip_prefix("error ").map(str::to_owned);
                    open = Some(Block { line: number + 1, sql: String::new(), error });
                }
            }
        }
    }
    found
}
