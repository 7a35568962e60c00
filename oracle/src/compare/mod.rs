//! Comparing two results as multisets of rows, and saying which rows differ.
//!
//! How two cells are compared depends on the column ([`Equality`]); rows have no order. Whatever is not equal comes out
//! as a [`Difference`]: rows that are missing, rows that are surplus, and pairs of the two that look like one row with a
//! wrong value.

mod difference;
mod value;

use std::collections::HashMap;

pub use difference::{Difference, Mismatch};
pub use value::canonical_number;

/// One cell in the server's text form; `None` is NULL.
pub type Cell = Option<String>;

/// One row.
pub type Row = Vec<Cell>;

/// A result: column names and rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// When two cells of a column are equal. NULL equals only NULL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Equality {
    /// The same text: `1.5` is not `1.50`. What a stream table owes its defining query.
    Text,
    /// The same number, whatever its scale: `1.5` is `1.50`. For a column that shows one representative of a class of
    /// equal values, and for exact numbers of different engines.
    Number,
    /// Numbers whose distance is at most this fraction of the larger magnitude. For floating point, whose last digits
    /// depend on the order of the input even within one engine.
    Tolerance(f64),
    /// `t` and `true`, `f` and `false` are the same.
    Boolean,
    /// Times of day or points in time; digits of a fraction that are zero do not count.
    Time,
    /// Intervals by months, days and microseconds, whatever their style.
    Interval,
}

/// Compares two results of the same shape column by column of `equalities`, and returns what differs, if anything.
///
/// Panics if a row is not as wide as `equalities`: shapes are compared before contents.
pub fn compare(expected: &Relation, found: &Relation, equalities: &[Equality]) -> Option<Difference> {
    let width = equalities.len();
    assert!(expected.rows.iter().chain(&found.rows).all(|row| row.len() == width), "rows of another width");
    let mut groups: HashMap<Row, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (index, row) in expected.rows.iter().enumerate() {
        groups.entry(key(row, equalities)).or_default().0.push(index);
    }
    for (index, row) in found.rows.iter().enumerate() {
        groups.entry(key(row, equalities)).or_default().1.push(index);
    }
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    for (of_expected, of_found) in groups.into_values() {
        let (left, right) = unmatched(expected, found, equalities, of_expected, of_found);
        missing.extend(left);
        surplus.extend(right);
    }
    if missing.is_empty() && surplus.is_empty() {
        return None;
    }
    missing.sort_unstable();
    surplus.sort_unstable();
    let rows = |relation: &Relation, indexes: &[usize]| -> Vec<Row> {
        indexes.iter().map(|&index| relation.rows[index].clone()).collect()
    };
    Some(Difference::new(
        expected.columns.clone(),
        (expected.rows.len(), found.rows.len()),
        rows(expected, &missing),
        rows(found, &surplus),
        equalities,
    ))
}

/// What rows that can be equal have in common: their cells in canonical form, approximate ones left out.
fn key(row: &Row, equalities: &[Equality]) -> Row {
    row.iter()
        .zip(equalities)
        .map(|(cell, equality)| match (cell, equality) {
            (None, _) => None,
            // Present but not compared here; NULL stays apart from every number.
            (Some(_), Equality::Tolerance(_)) => Some(String::new()),
            (Some(text), equality) => Some(value::canonical(text, *equality)),
        })
        .collect()
}

/// Pairs rows with equal keys one to one and returns what is left over on each side.
fn unmatched(
    expected: &Relation,
    found: &Relation,
    equalities: &[Equality],
    mut left: Vec<usize>,
    mut right: Vec<usize>,
) -> (Vec<usize>, Vec<usize>) {
    let approximate: Vec<(usize, f64)> = equalities
        .iter()
        .enumerate()
        .filter_map(|(column, equality)| match equality {
            Equality::Tolerance(fraction) => Some((column, *fraction)),
            _ => None,
        })
        .collect();
    if approximate.is_empty() {
        // All rows with this key are equal; only their number can differ.
        let paired = left.len().min(right.len());
        return (left.split_off(paired), right.split_off(paired));
    }
    left.retain(|&l| {
        let twin = right.iter().position(|&r| {
            approximate.iter().all(|&(column, fraction)| {
                value::is_close(&expected.rows[l][column], &found.rows[r][column], fraction)
            })
        });
        match twin {
            Some(position) => {
                right.swap_remove(position);
                false
            }
            None => true,
        }
    });
    (left, right)
}

/// Whether two cells are equal.
pub(crate) fn cells_are_equal(left: &Cell, right: &Cell, equality: Equality) -> bool {
    match (left, right, equality) {
        (_, _, Equality::Tolerance(fraction)) => value::is_close(left, right, fraction),
        (Some(left), Some(right), equality) => {
            value::canonical(left, equality) == value::canonical(right, equality)
        }
        (left, right, _) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(rows: &[&[&str]]) -> Relation {
        let columns = (0..rows.first().map_or(0, |row| row.len())).map(|n| format!("c{n}")).collect();
        let cell = |text: &&str| if *text == "NULL" { None } else { Some((*text).to_owned()) };
        Relation { columns, rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect() }
    }

    #[test]
    fn order_does_not_matter_and_multiplicity_does() {
        let three = relation(&[&["a", "1"], &["b", "2"], &["a", "1"]]);
        let permuted = relation(&[&["a", "1"], &["a", "1"], &["b", "2"]]);
        let two = relation(&[&["a", "1"], &["b", "2"]]);
        let text = [Equality::Text; 2];
        assert_eq!(compare(&three, &permuted, &text), None);
        let difference = compare(&three, &two, &text).expect("a row less");
        assert_eq!(difference.missing(), 1);
        assert_eq!(difference.surplus(), 0);
    }

    #[test]
    fn text_sees_the_scale_of_a_number_and_number_does_not() {
        let (short, long) = (relation(&[&["1.5"]]), relation(&[&["1.50"]]));
        assert!(compare(&short, &long, &[Equality::Text]).is_some());
        assert!(compare(&short, &long, &[Equality::Number]).is_none());
    }

    #[test]
    fn null_equals_only_null() {
        let (null, zero, empty) = (relation(&[&["NULL"]]), relation(&[&["0"]]), relation(&[&[""]]));
        for equality in [Equality::Text, Equality::Number, Equality::Tolerance(0.5)] {
            assert!(compare(&null, &null, &[equality]).is_none());
            assert!(compare(&null, &zero, &[equality]).is_some());
        }
        assert!(compare(&null, &empty, &[Equality::Text]).is_some());
    }

    #[test]
    fn tolerance_pairs_each_row_once() {
        let equalities = [Equality::Text, Equality::Tolerance(1e-9)];
        let expected = relation(&[&["a", "100"], &["a", "100.00000001"], &["a", "7"]]);
        let found = relation(&[&["a", "100.00000001"], &["a", "7"], &["a", "8"]]);
        let difference = compare(&expected, &found, &equalities).expect("8 is not 100");
        assert_eq!((difference.missing(), difference.surplus()), (1, 1));
    }

    #[test]
    fn difference_shows_the_wrong_value_beside_the_right_one() {
        let expected = relation(&[&["FRANCE", "1995", "10.5"], &["PERU", "1996", "1"]]);
        let found = relation(&[&["FRANCE", "1995", "11.5"], &["KENYA", "2000", "7"]]);
        let text = compare(&expected, &found, &[Equality::Text; 3]).expect("differs").to_string();
        assert!(text.contains("c0=FRANCE c1=1995: c2 is 11.5, should be 10.5"), "{text}");
        assert!(text.contains("missing: PERU | 1996 | 1"), "{text}");
        assert!(text.contains("surplus: KENYA | 2000 | 7"), "{text}");
    }
}
