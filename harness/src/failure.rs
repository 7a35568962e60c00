//! A script that shows a failure: statements for a fresh database, and the comparison that should find nothing.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::provision::cache::{checkout, make_folder};

/// Everything that led to a stream table that is not its query.
#[derive(Debug, Clone)]
pub struct Script {
    /// What was replayed, on which server, how.
    pub title: String,
    /// What was found: a difference, an error.
    pub finding: String,
    /// Statements in the order in which they ran, `CREATE EXTENSION` left out. A text that ends in `\.` is a COPY with
    /// its rows.
    pub statements: Vec<String>,
    /// Name of the stream table.
    pub stream_table: String,
    /// The query whose result it should have, as PostgreSQL is asked.
    pub query: String,
}

impl Script {
    /// The script, for psql.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.title.lines().chain(self.finding.lines()) {
            let _ = writeln!(text, "-- {line}");
        }
        text.push_str("-- Run it with psql on a fresh database. The last query should return no row.\n\n");
        text.push_str("CREATE EXTENSION IF NOT EXISTS pg_trickle;\n");
        for statement in &self.statements {
            let end = if statement.ends_with("\\.") { "" } else { ";" };
            let _ = writeln!(text, "{statement}{end}");
        }
        let (table, query) = (&self.stream_table, &self.query);
        let _ = write!(
            text,
            "\nSELECT 'missing' AS what, m.* FROM (({query}) EXCEPT ALL SELECT * FROM {table}) AS m\nUNION ALL\n\
             SELECT 'surplus', s.* FROM (SELECT * FROM {table} EXCEPT ALL ({query})) AS s;\n"
        );
        text
    }

    /// Writes the script below `target/failures` and returns its path, relative to the checkout.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        let relative = PathBuf::from("target/failures").join(format!("{}.sql", file_name(name)));
        let path = checkout().join(&relative);
        if let Some(folder) = path.parent() {
            make_folder(folder.to_path_buf())?;
        }
        fs::write(&path, self.text()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(relative)
    }
}

/// A name without anything that a file system minds.
fn file_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_has_what_ran_and_compares_at_its_end() {
        let script = Script {
            title: "replay x".to_owned(),
            finding: "1 missing\n  missing: 2".to_owned(),
            statements: vec![
                "CREATE TABLE t (a int)".to_owned(),
                "COPY t FROM stdin;\n1\n\\.".to_owned(),
                "SELECT pgtrickle.refresh_stream_table('s')".to_owned(),
            ],
            stream_table: "s".to_owned(),
            query: "SELECT a FROM t".to_owned(),
        };
        let text = script.text();
        assert!(text.starts_with("-- replay x\n-- 1 missing\n--   missing: 2\n"), "{text}");
        assert!(text.contains("COPY t FROM stdin;\n1\n\\.\nSELECT pgtrickle"), "{text}");
        assert!(text.contains("FROM ((SELECT a FROM t) EXCEPT ALL SELECT * FROM s)"), "{text}");
        assert_eq!(file_name("job 17e/bag"), "job_17e_bag");
    }
}
