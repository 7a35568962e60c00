//! A seeded stream of changes to a TPC-H database, in cycles of several transactions.
//!
//! Each cycle has the specification's refresh functions ([`refresh`]), changes that its tables never see in the
//! specification ([`churn`]: keys that move, rows deleted and put back, updates that are reverted, NULLs, rolled-back
//! savepoints), and changes aimed inside the predicates of each query ([`aim`]), so that results at a small scale change
//! in every cycle.
//!
//! A cycle is a function of scale, seed and cycle number.

mod aim;
mod batch;
mod churn;
mod refresh;

pub use batch::Batch;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Query, Scale};
use crate::change::{Cycle, Transaction};

/// The stream for one scale, seed and set of queries.
#[derive(Debug, Clone)]
pub struct Stream {
    scale: Scale,
    seed: u64,
    /// The refresh set of cycle 1; the following cycles take the following sets.
    first_set: u32,
    queries: Vec<Query>,
}

impl Stream {
    /// A stream whose aimed changes use the parameters of `queries`.
    pub fn new(scale: Scale, seed: u64, queries: Vec<Query>) -> Self {
        let first_set = ChaCha8Rng::seed_from_u64(seed).random_range(0..super::refresh_set::SETS_MAX);
        Self { scale, seed, first_set, queries }
    }

    /// The transactions of cycle `number` (from 1).
    pub fn cycle(&self, number: u32) -> Cycle {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::from(number));
        let mut draw = Draw { scale: self.scale, rng };
        let set = 1 + (self.first_set + number - 1) % super::refresh_set::SETS_MAX;
        let mut transactions = refresh::pair(self.scale, set);
        transactions.extend(refresh::cancelling(self.scale, set));
        transactions.extend(churn::transactions(&mut draw, number));
        transactions.extend(self.queries.iter().map(|query| {
            Transaction::new(format!("aimed at q{}", query.number), aim::statements(query, &mut draw))
        }));
        Cycle { number, transactions }
    }
}

/// Random choices, and the SQL that makes the same choices on the server.
struct Draw {
    scale: Scale,
    rng: ChaCha8Rng,
}

impl Draw {
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.rng.random_range(low..=high)
    }

    /// How many rows a bulk change touches: `per_mille` of the orders, but at least `least`.
    fn count(&self, per_mille: f64, least: i64) -> i64 {
        ((self.scale.orders() as f64 * per_mille / 1000.0) as i64).max(least)
    }

    /// `ORDER BY` for `LIMIT`: a pseudo-random but reproducible order of rows with a numeric key, made total by `total`.
    fn shuffle(&mut self, key: &str, total: &str) -> String {
        let salt = self.between(1, 1_000_000);
        format!("ORDER BY ({key} * 7919 + {salt}) % 10007, {total}")
    }

    /// A condition on an order key that keeps about `orders` consecutive base orders, so that a change aimed at rare
    /// lineitems reads a part of the table only.
    fn window(&mut self, column: &str, orders: i64) -> String {
        let all = self.scale.orders();
        let first = self.between(1, (all - orders).max(1));
        let key = |number| super::refresh_set::order_key(number, 0);
        format!("{column} BETWEEN {} AND {}", key(first), key(first + orders))
    }

    /// An array literal of `count` random base order keys; some of them may be deleted by now.
    fn order_keys(&mut self, count: i64) -> String {
        let all = self.scale.orders();
        let keys: Vec<String> =
            (0..count).map(|_| super::refresh_set::order_key(self.between(1, all), 0).to_string()).collect();
        format!("'{{{}}}'::bigint[]", keys.join(","))
    }
}

/// A quoted SQL string.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
