//! The stream tables that a script creates: query, mode, and the versions on which it does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use sqllogictest::{Condition, DefaultColumnType, QueryExpect, Record, StatementExpect, parse_file};

use super::words::Words;
use crate::cluster::SUPPORTED_MAJORS;
use crate::slt::Command;

/// Modes in the order of the page.
pub(super) const MODES: [&str; 3] = ["DIFFERENTIAL", "AUTO", "FULL"];

/// The mode of a call that names none.
const MODE_DEFAULT: &str = "AUTO";

/// A script, as far as the matrix is concerned.
pub(super) struct Script {
    /// Path below the checkout.
    pub path: String,
    pub creations: Vec<Creation>,
    /// Statements for the server alone, in one, by version.
    pub definitions: BTreeMap<u32, Words>,
    /// Errors and rows that it expects.
    pub expected: Vec<String>,
}

/// A stream table that a script creates and then keeps comparing.
pub(super) struct Creation {
    pub query: Words,
    pub mode: String,
    /// PostgreSQL versions on which the statement runs.
    pub majors: Vec<u32>,
}

impl Script {
    pub(super) fn read(root: &Path, path: &str) -> Result<Script> {
        let records: Vec<Record<DefaultColumnType>> =
            parse_file(root.join(path)).with_context(|| path.to_owned())?;
        let mut script = Script {
            path: path.to_owned(),
            creations: Vec::new(),
            definitions: BTreeMap::new(),
            expected: Vec::new(),
        };
        let mut definitions: BTreeMap<u32, String> = BTreeMap::new();
        for record in &records {
            match record {
                // A statement that fails is no proof of anything else.
                Record::Statement { expected: StatementExpect::Error(error), .. } => {
                    script.expected.push(error.to_string());
                }
                Record::Statement { conditions, sql, .. } => {
                    script.creations.extend(creations(sql, &majors(conditions)));
                    if !sql.contains("pgtrickle.") {
                        for major in majors(conditions) {
                            *definitions.entry(major).or_default() += &format!("{sql};\n");
                        }
                    }
                }
                Record::Query { conditions, sql, expected, .. } => {
                    script.creations.extend(creations(sql, &majors(conditions)));
                    match expected {
                        QueryExpect::Results { results, .. } => {
                            script.expected.extend(results.iter().cloned());
                        }
                        QueryExpect::Error(error) => script.expected.push(error.to_string()),
                    }
                }
                _ => {}
            }
        }
        script.definitions = definitions.into_iter().map(|(major, sql)| (major, Words::of(&sql))).collect();
        Ok(script)
    }
}

/// The versions on which a record with these conditions runs. Other labels are those of extensions, which a server may
/// have on every version.
fn majors(conditions: &[Condition]) -> Vec<u32> {
    let of = |label: &str| label.strip_prefix("pg").and_then(|digits| digits.parse::<u32>().ok());
    let allows = |condition: &Condition, major: u32| match condition {
        Condition::OnlyIf { label } => of(label).is_none_or(|only| only == major),
        Condition::SkipIf { label } => of(label) != Some(major),
    };
    let runs = |major: &u32| conditions.iter().all(|condition| allows(condition, *major));
    SUPPORTED_MAJORS.into_iter().filter(runs).collect()
}

/// The stream tables that a statement creates.
fn creations(sql: &str, majors: &[u32]) -> Vec<Creation> {
    let of = |query: &str, mode: &str| Creation {
        query: Words::of(query),
        mode: mode.to_owned(),
        majors: majors.to_vec(),
    };
    if let Some(Ok(Command::EveryMode { query, .. })) = Command::parse(sql) {
        return MODES.iter().map(|mode| of(&query, mode)).collect();
    }
    let calls = sql.split("pgtrickle.create_stream_table(").skip(1);
    calls
        .filter_map(|call| {
            let (_, rest) = literal(call)?;
            let (query, rest) = literal(rest.trim_start().strip_prefix(',')?)?;
            let rest = rest.split("create_stream_table(").next().unwrap_or_default().to_uppercase();
            let mode = MODES.iter().find(|mode| rest.contains(&format!("'{mode}'")));
            Some(of(&query, mode.unwrap_or(&MODE_DEFAULT)))
        })
        .collect()
}

/// The string literal at the beginning of a text, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('$') {
        let (tag, rest) = rest.split_once('$')?;
        let (content, after) = rest.split_once(&format!("${tag}$"))?;
        return Some((content.to_owned(), after));
    }
    let inside = text.strip_prefix('\'')?;
    let mut content = String::new();
    let mut rest = inside;
    loop {
        let (piece, after) = rest.split_once('\'')?;
        content += piece;
        match after.strip_prefix('\'') {
            Some(further) => {
                content.push('\'');
                rest = further;
            }
            None => return Some((content, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{creations, literal};

    #[test]
    fn literals_of_both_kinds_are_read() {
        assert_eq!(literal(" 'it''s', 2"), Some(("it's".to_owned(), ", 2")));
        assert_eq!(literal("$q$SELECT '$'$q$, 'x'"), Some(("SELECT '$'".to_owned(), ", 'x'")));
        assert_eq!(literal("name"), None);
    }

    #[test]
    fn mode_of_a_call_is_found_and_has_a_default() {
        let modes = |sql: &str| creations(sql, &[18]).into_iter().map(|found| found.mode).collect::<Vec<_>>();
        assert_eq!(modes("SELECT pgtrickle.create_stream_table('a', 'SELECT 1', '12h', 'FULL')"), ["FULL"]);
        assert_eq!(modes("SELECT pgtrickle.create_stream_table('a', $$SELECT 1$$)"), ["AUTO"]);
        assert_eq!(modes("\\every-mode a SELECT 1"), ["DIFFERENTIAL", "AUTO", "FULL"]);
        assert!(modes("SELECT 1").is_empty());
    }
}
