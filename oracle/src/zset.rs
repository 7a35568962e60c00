//! Z-sets: rows with integer weights. A relation, a change and a difference of relations are all of this type.

use crate::value::Row;
use std::collections::BTreeMap;
use std::fmt;

/// Rows with non-zero weights, told apart by identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZSet {
    weights: BTreeMap<Row, i64>,
}

impl ZSet {
    pub fn new() -> ZSet {
        ZSet::default()
    }

    /// Adds `weight` copies of `row`.
    pub fn insert(&mut self, row: Row, weight: i64) {
        if weight == 0 {
            return;
        }
        let entry = self.weights.entry(row);
        match entry {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(weight);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                *entry.get_mut() += weight;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }

    pub fn weight(&self, row: &Row) -> i64 {
        self.weights.get(row).copied().unwrap_or(0)
    }

    /// Rows of the support with their weights, in the order of identity.
    pub fn iter(&self) -> impl Iterator<Item = (&Row, i64)> {
        self.weights.iter().map(|(row, weight)| (row, *weight))
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// True if no weight is negative: the Z-set is a bag.
    pub fn is_bag(&self) -> bool {
        self.weights.values().all(|&weight| weight > 0)
    }

    pub fn plus(&self, other: &ZSet) -> ZSet {
        let mut sum = self.clone();
        other.iter().for_each(|(row, weight)| sum.insert(row.clone(), weight));
        sum
    }

    pub fn minus(&self, other: &ZSet) -> ZSet {
        self.plus(&other.negated())
    }

    pub fn negated(&self) -> ZSet {
        ZSet { weights: self.weights.iter().map(|(row, weight)| (row.clone(), -weight)).collect() }
    }
}

impl FromIterator<(Row, i64)> for ZSet {
    fn from_iter<I: IntoIterator<Item = (Row, i64)>>(rows: I) -> ZSet {
        let mut set = ZSet::new();
        rows.into_iter().for_each(|(row, weight)| set.insert(row, weight));
        set
    }
}

/// One row per line, the weight first: `+2 (1, 'a', NULL)`.
impl fmt::Display for ZSet {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "    (no rows)");
        }
        let mut separator = "";
        for (row, weight) in self.iter() {
            let values: Vec<String> = row.iter().map(ToString::to_string).collect();
            write!(f, "{separator}    {weight:+} ({})", values.join(", "))?;
            separator = "\n";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value::{Int, Null};

    #[test]
    fn equal_rows_consolidate_and_zero_weights_vanish() {
        let mut set: ZSet = [(vec![Null], 2), (vec![Int(1)], 1), (vec![Null], 1)].into_iter().collect();
        assert_eq!(set.weight(&vec![Null]), 3);
        set.insert(vec![Int(1)], -1);
        assert_eq!(set.len(), 1);
        assert!(set.minus(&set).is_empty());
        assert!(!set.negated().is_bag());
        assert_eq!(set.to_string(), "    +3 (NULL)");
    }
}
