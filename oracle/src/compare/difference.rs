//! A difference between two results, small enough to read.

use std::fmt;

use super::{Cell, Equality, Row, cells_are_equal};

/// Rows of each kind that a difference prints; the counts are always complete.
const ROWS_SHOWN: usize = 5;

/// Beyond this many candidates, missing and surplus rows are not paired: the quadratic search would take too long, and
/// a difference of this size is not read row by row.
const PAIRED_ROWS_MAX: usize = 500;

/// A row that is there with wrong values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub expected: Row,
    pub found: Row,
    /// The columns that differ.
    pub columns: Vec<usize>,
}

/// What a result has too little and too much, compared with the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    columns: Vec<String>,
    /// Rows expected and found, all of them.
    counts: (usize, usize),
    mismatched: Vec<Mismatch>,
    missing: Vec<Row>,
    surplus: Vec<Row>,
}

impl Difference {
    pub(super) fn new(
        columns: Vec<String>,
        counts: (usize, usize),
        mut missing: Vec<Row>,
        mut surplus: Vec<Row>,
        equalities: &[Equality],
    ) -> Self {
        let mismatched = if missing.len().max(surplus.len()) <= PAIRED_ROWS_MAX {
            take_mismatches(&mut missing, &mut surplus, equalities)
        } else {
            Vec::new()
        };
        Self { columns, counts, mismatched, missing, surplus }
    }

    /// Expected rows that are not there, wrong ones included.
    pub fn missing(&self) -> usize {
        self.missing.len() + self.mismatched.len()
    }

    /// Rows that should not be there, wrong ones included.
    pub fn surplus(&self) -> usize {
        self.surplus.len() + self.mismatched.len()
    }

    /// Pairs of a missing and a surplus row that share more than half of their cells.
    pub fn mismatched(&self) -> &[Mismatch] {
        &self.mismatched
    }

    fn show_mismatch(&self, f: &mut fmt::Formatter<'_>, mismatch: &Mismatch) -> fmt::Result {
        let equal: Vec<String> = (0..mismatch.expected.len())
            .filter(|index| !mismatch.columns.contains(index))
            .map(|index| format!("{}={}", self.columns[index], show(&mismatch.expected[index])))
            .collect();
        write!(f, "  wrong: {}: ", equal.join(" "))?;
        for (nth, &index) in mismatch.columns.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            let (found, expected) = (show(&mismatch.found[index]), show(&mismatch.expected[index]));
            write!(f, "{separator}{} is {found}, should be {expected}", self.columns[index])?;
        }
        writeln!(f)
    }
}

/// Takes out of both lists the pairs that agree in more than half of their cells, most similar first for each row.
fn take_mismatches(missing: &mut Vec<Row>, surplus: &mut Vec<Row>, equalities: &[Equality]) -> Vec<Mismatch> {
    let mut mismatched = Vec::new();
    let differing = |expected: &Row, found: &Row| -> Vec<usize> {
        (0..equalities.len())
            .filter(|&index| !cells_are_equal(&expected[index], &found[index], equalities[index]))
            .collect()
    };
    missing.retain(|expected| {
        let nearest = surplus
            .iter()
            .enumerate()
            .map(|(position, found)| (differing(expected, found), position))
            .min_by_key(|(columns, _)| columns.len());
        match nearest {
            Some((columns, position)) if columns.len() * 2 < equalities.len() => {
                let found = surplus.remove(position);
                mismatched.push(Mismatch { expected: expected.clone(), found, columns });
                false
            }
            _ => true,
        }
    });
    mismatched
}

fn show(cell: &Cell) -> &str {
    cell.as_deref().unwrap_or("NULL")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = self.counts;
        writeln!(
            f,
            "{} missing, {} surplus ({found} rows, {expected} expected); columns {}",
            self.missing(),
            self.surplus(),
            self.columns.join(" | ")
        )?;
        for mismatch in self.mismatched.iter().take(ROWS_SHOWN) {
            self.show_mismatch(f, mismatch)?;
        }
        for (label, rows) in [("missing", &self.missing), ("surplus", &self.surplus)] {
            for row in rows.iter().take(ROWS_SHOWN) {
                let cells: Vec<&str> = row.iter().map(show).collect();
                writeln!(f, "  {label}: {}", cells.join(" | "))?;
            }
        }
        let shown = [self.mismatched.len(), self.missing.len(), self.surplus.len()];
        let hidden: usize = shown.iter().map(|count| count.saturating_sub(ROWS_SHOWN)).sum();
        if hidden > 0 {
            writeln!(f, "  and {hidden} more")?;
        }
        Ok(())
    }
}
