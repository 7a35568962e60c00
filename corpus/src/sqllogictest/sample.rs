//! Which queries of which files are replayed: a function of the seed.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::record::Record;
use super::statement::{Effect, has_from, words};

/// Queries without a table that a sample takes of one file at most: nothing can change them.
const CONSTANTS: usize = 12;

/// Joins of more tables than [`TABLES`] that a sample takes of one file at most: they take long.
const WIDE: usize = 6;

/// Tables that an ordinary query names at most.
const TABLES: usize = 10;

/// Random numbers of their own for `what`, whatever else is drawn.
pub fn generator(seed: u64, what: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(what.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// The records that a sample may take: of queries that join many tables and of those that read none, a few.
pub fn candidates(records: &[Record], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let names = tables(records);
    let (mut taken, mut wide, mut constant) = (vec![], vec![], vec![]);
    for (index, record) in records.iter().enumerate() {
        let Record::Query(query) = record else { continue };
        let named: BTreeSet<String> = words(&query.sql).into_iter().collect();
        match named.intersection(&names).count() {
            _ if !has_from(&query.sql) => constant.push(index),
            count if count <= TABLES => taken.push(index),
            _ => wide.push(index),
        }
    }
    taken.extend(choose(&wide, WIDE, rng));
    taken.extend(choose(&constant, CONSTANTS, rng));
    taken.sort_unstable();
    taken
}

/// The names of the tables that a file creates.
pub fn tables(records: &[Record]) -> BTreeSet<String> {
    let created = records.iter().filter_map(|record| match record {
        Record::Statement(statement) => match Effect::of(&statement.sql) {
            Effect::CreateTable(name) => Some(name),
            _ => None,
        },
        Record::Query(_) => None,
    });
    created.collect()
}

/// All records that are queries.
pub fn queries(records: &[Record]) -> Vec<usize> {
    (0..records.len()).filter(|&index| matches!(records[index], Record::Query(_))).collect()
}

/// Chooses up to `count` of `all` and keeps their order.
pub fn choose(all: &[usize], count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut left = all.to_vec();
    let count = count.min(left.len());
    for place in 0..count {
        let other = rng.random_range(place..left.len());
        left.swap(place, other);
    }
    left.truncate(count);
    left.sort_unstable();
    left
}

/// Divides `total` among files with so many candidates each: equally, and what a small file lacks goes to the others.
pub fn shares(candidates: &[usize], total: usize) -> Vec<usize> {
    let mut shares = vec![0; candidates.len()];
    let mut left = total.min(candidates.iter().sum());
    while left > 0 {
        let open: Vec<usize> = (0..shares.len()).filter(|&file| shares[file] < candidates[file]).collect();
        let each = (left / open.len()).max(1);
        for file in open {
            let more = each.min(candidates[file] - shares[file]).min(left);
            shares[file] += more;
            left -= more;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqllogictest::parse;

    #[test]
    fn shares_are_equal_but_for_small_files() {
        assert_eq!(shares(&[100, 3, 100, 0], 43), [20, 3, 20, 0]);
        assert_eq!(shares(&[5, 5], 100), [5, 5]);
        assert_eq!(shares(&[9, 9, 9], 2).iter().sum::<usize>(), 2);
    }

    #[test]
    fn same_seed_chooses_the_same_and_another_seed_something_else() {
        let all: Vec<usize> = (0..1000).collect();
        let draw = |seed, file| choose(&all, 20, &mut generator(seed, file));
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert!(draw(1, "a").is_sorted());
    }

    #[test]
    fn few_queries_without_a_table_are_taken() {
        let text: String = (0..50).map(|n| format!("query I rowsort\nSELECT {n}\n----\n{n}\n\n")).collect();
        let records = parse(&format!("{text}query I rowsort\nSELECT a FROM t\n----\n")).expect("a file");
        let found = candidates(&records, &mut generator(1, "a"));
        assert_eq!(found.len(), CONSTANTS + 1);
        assert_eq!(found.last(), Some(&50));
    }

    #[test]
    fn few_joins_of_very_many_tables_are_taken() {
        let table = |n: usize| format!("statement ok\nCREATE TABLE t{n}(a INTEGER)\n\n");
        let join = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
            format!("query I rowsort\nSELECT 1 FROM {}\n----\n\n", names.join(","))
        };
        let text: String = (0..40).map(table).chain((1..=40).map(join)).collect();
        let records = parse(&text).expect("a file");
        let found = candidates(&records, &mut generator(1, "a"));
        assert_eq!(found.len(), TABLES + WIDE);
    }
}
