//! Batches of a chosen size, for measurements: the refresh functions, keys that move and measures that change. Unlike a
//! cycle of the stream they have nothing that comes to nothing, and do not grow with the scale unless asked to.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Draw, refresh};
use crate::change::{Cycle, Statement, Transaction};
use crate::tpch::refresh_set::{self, SETS_MAX};
use crate::tpch::{Scale, Table};

/// Orders up to which rows are written out, as the specification has it; beyond it the server makes them.
const WRITTEN_MAX: i64 = 1500;

/// How many orders a batch touches, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// New orders (RF1), and as many that are deleted (RF2).
    pub refreshed: i64,
    /// Orders that get other customers, and their lineitems other suppliers.
    pub moved: i64,
    /// Orders whose prices change, and prices and quantities of their lineitems.
    pub measured: i64,
}

impl Batch {
    /// The refresh functions of `orders` orders each, with a tenth as many that move and a tenth that change.
    pub fn of_orders(orders: i64) -> Batch {
        let tenth = (orders / 10).max(1);
        Batch { refreshed: orders, moved: tenth, measured: tenth }
    }

    /// A share of all orders: of a quarter of it each are new, deleted, moved and measured.
    pub fn of_share(scale: Scale, share: f64) -> Batch {
        let quarter = ((scale.orders() as f64 * share / 4.0) as i64).max(1);
        Batch { refreshed: quarter, moved: quarter, measured: quarter }
    }

    /// Orders that are touched in all.
    pub fn orders(&self) -> i64 {
        2 * self.refreshed + self.moved + self.measured
    }

    /// Its `number`-th occurrence (from 1) in a run of one seed.
    pub fn cycle(&self, scale: Scale, seed: u64, number: u32) -> Cycle {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(number));
        let mut draw = Draw { scale, rng };
        let mut transactions = if self.refreshed <= WRITTEN_MAX {
            written(scale, number, self.refreshed)
        } else {
            parked(&mut draw, self.refreshed)
        };
        transactions.push(Transaction::new("move keys", keys(&mut draw, self.moved)));
        transactions.push(Transaction::new("change measures", measures(&mut draw, self.measured)));
        Cycle { number, transactions }
    }
}

/// RF1 and RF2 of as many sets as it takes, the last of them in part.
fn written(scale: Scale, number: u32, orders: i64) -> Vec<Transaction> {
    let sets = (orders + refresh_set::orders_per_set(scale) - 1) / refresh_set::orders_per_set(scale);
    let first = (number - 1) * sets as u32;
    let mut left = orders as usize;
    let mut transactions = Vec::new();
    for set in (first..first + sets as u32).map(|set| 1 + set % SETS_MAX) {
        transactions.extend(refresh::part(scale, set, left));
        left -= left.min(refresh_set::orders_per_set(scale) as usize);
    }
    transactions
}

/// Orders leave and those of the batch before come back.
fn parked(draw: &mut Draw, orders: i64) -> Vec<Transaction> {
    let window = draw.window("o_orderkey", orders);
    let lines = window.replace("o_orderkey", "l_orderkey");
    let back = vec![
        Statement::on(Table::Orders, "INSERT INTO orders SELECT * FROM parked_orders"),
        Statement::on(Table::LineItem, "INSERT INTO lineitem SELECT * FROM parked_lineitem"),
        Statement::other("DELETE FROM parked_orders"),
        Statement::other("DELETE FROM parked_lineitem"),
    ];
    let gone = vec![
        Statement::on(
            Table::LineItem,
            format!(
                "WITH taken AS (DELETE FROM lineitem WHERE {lines} RETURNING *) \
                 INSERT INTO parked_lineitem SELECT * FROM taken"
            ),
        ),
        Statement::on(
            Table::Orders,
            format!(
                "WITH taken AS (DELETE FROM orders WHERE {window} RETURNING *) \
                 INSERT INTO parked_orders SELECT * FROM taken"
            ),
        ),
    ];
    vec![Transaction::new("orders come back", back), Transaction::new("orders leave", gone)]
}

fn keys(draw: &mut Draw, orders: i64) -> Vec<Statement> {
    let window = draw.window("o_orderkey", orders);
    let lines = window.replace("o_orderkey", "l_orderkey");
    let customers = draw.scale.rows(150_000);
    let shift = draw.between(1, customers - 1);
    vec![
        Statement::on(
            Table::Orders,
            format!("UPDATE orders SET o_custkey = (o_custkey + {shift}) % {customers} + 1 WHERE {window}"),
        ),
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_suppkey = (SELECT min(ps_suppkey) FROM partsupp \
                 WHERE ps_partkey = l_partkey AND ps_suppkey <> l_suppkey) WHERE {lines}"
            ),
        ),
    ]
}

fn measures(draw: &mut Draw, orders: i64) -> Vec<Statement> {
    let window = draw.window("o_orderkey", orders);
    let lines = window.replace("o_orderkey", "l_orderkey");
    let (quantity, cents) = (draw.between(1, 9), draw.between(1, 99_999));
    vec![
        Statement::on(
            Table::Orders,
            format!("UPDATE orders SET o_totalprice = o_totalprice + {cents} / 100.0 WHERE {window}"),
        ),
        Statement::on(
            Table::LineItem,
            format!(
                "UPDATE lineitem SET l_quantity = (l_quantity + {quantity}) % 50 + 1, \
                 l_extendedprice = l_extendedprice + {cents} / 100.0 WHERE {lines}"
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_inserts_and_deletes_a_quarter_each_over_as_many_sets_as_it_takes() {
        let scale = Scale::new(0.002).expect("a scale");
        // Three orders per set; eight are two sets and two of a third.
        let transactions = written(scale, 1, 8);
        assert_eq!(transactions.len(), 6);
        let rows = |transaction: &Transaction| transaction.statements[0].sql.matches("\n(").count();
        assert_eq!(transactions.iter().step_by(2).map(rows).collect::<Vec<_>>(), [3, 3, 2]);
        let deleted = |transaction: &Transaction| transaction.statements[1].sql.matches(',').count() + 1;
        assert_eq!(transactions.iter().skip(1).step_by(2).map(deleted).collect::<Vec<_>>(), [3, 3, 2]);
        assert_ne!(written(scale, 2, 8), transactions);
    }

    #[test]
    fn large_batch_is_made_by_the_server() {
        let scale = Scale::new(0.1).expect("a scale");
        let batch = Batch::of_share(scale, 0.5);
        assert_eq!(batch.orders(), 75_000);
        let batch = batch.cycle(scale, 1, 1);
        let length: usize =
            batch.transactions.iter().flat_map(|one| &one.statements).map(|one| one.sql.len()).sum();
        assert!(length < 4000, "{length} bytes");
    }
}
