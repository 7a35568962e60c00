//! What an oracle says about one stream table.

use std::fmt;

use crate::compare::Difference;

/// The outcome of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Contents and columns are right; the number of rows.
    Equal { rows: usize },
    /// The columns are not those of the query: name and type of each, as the query has them and as the table has them.
    Columns { expected: Vec<String>, found: Vec<String> },
    /// The rows are not those of the query.
    Rows(Box<Difference>),
    /// This oracle cannot judge the query, and why. Counted and listed, never passed over.
    NotComparable(String),
}

impl Verdict {
    /// Whether the comparison was made and found nothing.
    pub fn is_equal(&self) -> bool {
        matches!(self, Verdict::Equal { .. })
    }

    /// Whether the comparison was made and found something.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Verdict::Columns { .. } | Verdict::Rows(_))
    }

    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Equal { .. } => "equal",
            Verdict::Columns { .. } | Verdict::Rows(_) => "DIFFERS",
            Verdict::NotComparable(_) => "not comparable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Equal { rows } => write!(f, "equal, {rows} rows"),
            Verdict::Columns { expected, found } => {
                writeln!(f, "columns should be {}", expected.join(", "))?;
                write!(f, "  columns are {}", found.join(", "))
            }
            Verdict::Rows(difference) => difference.fmt(f),
            Verdict::NotComparable(reason) => write!(f, "not comparable: {reason}"),
        }
    }
}
