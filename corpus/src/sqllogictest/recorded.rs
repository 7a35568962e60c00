//! Recorded results, and how values are shown in them.
//!
//! A result is a list of values, row by row: one value a line, or their number and the MD5 sum of all of them, each
//! followed by a newline. Before that, rows or values are sorted as the record says.

use md5::{Digest, Md5};

use super::record::Sort;
use crate::manifest::hexadecimal;

/// How a column is shown, by the letter of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `I`: a number, cut to an integer.
    Integer,
    /// `R`: a number with three decimals.
    Real,
    /// `T`: text.
    Text,
}

/// A recorded result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    Values(Vec<String>),
    Hash { values: usize, md5: String },
}

/// A row as text; `None` is NULL.
pub type Row = [Option<String>];

impl Kind {
    /// The kind that a record writes as this letter.
    pub fn of_letter(letter: char) -> Option<Kind> {
        match letter {
            'I' => Some(Kind::Integer),
            'R' => Some(Kind::Real),
            'T' => Some(Kind::Text),
            _ => None,
        }
    }

    /// A value as a result shows it.
    pub fn show(self, cell: Option<&str>) -> String {
        let Some(text) = cell else { return "NULL".to_owned() };
        match self {
            Kind::Integer => integer(text),
            Kind::Real => format!("{:.3}", number(text)),
            Kind::Text if text.is_empty() => "(empty)".to_owned(),
            Kind::Text => {
                text.bytes().map(|byte| if (32..127).contains(&byte) { byte as char } else { '@' }).collect()
            }
        }
    }
}

/// As the C library reads an integer, and SQLite a number that is to be one.
fn integer(text: &str) -> String {
    match text {
        "t" => return "1".to_owned(),
        "f" => return "0".to_owned(),
        _ => {}
    }
    match text.parse::<i128>() {
        Ok(whole) => whole.to_string(),
        Err(_) => format!("{}", number(text).trunc() as i128),
    }
}

/// The number that the text begins with; zero if it begins with none.
fn number(text: &str) -> f64 {
    let numeric = text.trim().find(|letter: char| !"+-.0123456789eE".contains(letter)).unwrap_or(text.len());
    text[..numeric].parse().unwrap_or(0.0)
}

impl Recorded {
    /// From the lines of a record.
    pub(super) fn read(lines: &[&str]) -> Recorded {
        if let [line] = lines
            && let Some((values, md5)) = line.split_once(" values hashing to ")
            && let Ok(values) = values.parse()
        {
            return Recorded::Hash { values, md5: md5.to_owned() };
        }
        Recorded::Values(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    /// Whether these rows are the recorded result.
    pub fn is_met(&self, rows: &[Vec<Option<String>>], kinds: &[Kind], sort: Sort) -> bool {
        let shown = show(rows.iter().map(Vec::as_slice), kinds, sort);
        match self {
            Recorded::Values(values) => *values == shown,
            Recorded::Hash { values, md5 } => *values == shown.len() && *md5 == sum(&shown),
        }
    }
}

/// All values of a result in the order in which they are compared.
fn show<'a>(rows: impl Iterator<Item = &'a Row>, kinds: &[Kind], sort: Sort) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = rows
        .map(|row| row.iter().zip(kinds).map(|(cell, kind)| kind.show(cell.as_deref())).collect())
        .collect();
    if sort == Sort::Rows {
        rows.sort_unstable();
    }
    let mut values: Vec<String> = rows.into_iter().flatten().collect();
    if sort == Sort::Values {
        values.sort_unstable();
    }
    values
}

fn sum(values: &[String]) -> String {
    let mut md5 = Md5::new();
    for value in values {
        md5.update(value.as_bytes());
        md5.update(b"\n");
    }
    hexadecimal(&md5.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<Option<String>>> {
        let cell = |text: &&str| (*text != "NULL").then(|| (*text).to_owned());
        cells.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    #[test]
    fn values_are_shown_by_kind() {
        assert_eq!(Kind::Integer.show(Some("-7")), "-7");
        assert_eq!(Kind::Integer.show(Some("66.97")), "66");
        assert_eq!(Kind::Integer.show(Some("-0.5")), "0");
        assert_eq!(Kind::Integer.show(Some("1e+15")), "1000000000000000");
        assert_eq!(Kind::Integer.show(Some("abc")), "0");
        assert_eq!(Kind::Real.show(Some("2")), "2.000");
        assert_eq!(Kind::Real.show(Some("0.0625")), "0.062");
        assert_eq!(Kind::Text.show(Some("")), "(empty)");
        assert_eq!(Kind::Text.show(Some("a\tb")), "a@b");
        for kind in [Kind::Integer, Kind::Real, Kind::Text] {
            assert_eq!(kind.show(None), "NULL");
        }
    }

    #[test]
    fn rows_are_sorted_by_their_text_and_values_without_their_rows() {
        let found = rows(&[&["9", "a"], &["10", "b"], &["NULL", "c"]]);
        let kinds = [Kind::Integer, Kind::Text];
        let values = |lines: &[&str]| Recorded::read(lines);
        assert!(values(&["10", "b", "9", "a", "NULL", "c"]).is_met(&found, &kinds, Sort::Rows));
        assert!(values(&["10", "9", "NULL", "a", "b", "c"]).is_met(&found, &kinds, Sort::Values));
        assert!(values(&["9", "a", "10", "b", "NULL", "c"]).is_met(&found, &kinds, Sort::None));
        assert!(!values(&["9", "a", "10", "b", "NULL", "c"]).is_met(&found, &kinds, Sort::Rows));
        assert!(!values(&["9", "a", "10", "b"]).is_met(&found, &kinds, Sort::None));
    }

    /// `printf '1\n2\n3\n' | md5sum` says the same.
    #[test]
    fn sum_is_that_of_values_with_newlines() {
        let found = rows(&[&["1"], &["2"], &["3"]]);
        let recorded = Recorded::read(&["3 values hashing to c0710d6b4f15dfa88f600b0e6b624077"]);
        assert!(!recorded.is_met(&found[..2], &[Kind::Integer], Sort::None));
        assert!(recorded.is_met(&found, &[Kind::Integer], Sort::None));
    }
}
