//! Rows that come in at a steady pace, as a workload.

use std::io::{self, Write};

use pg_trickle_corpus::change::{Cycle, Statement, Transaction};
use pg_trickle_corpus::workload::{Query, Workload};

/// Rows of one transaction.
pub const ROWS: u32 = 10;

/// Transactions of one cycle.
const TRANSACTIONS: u32 = 100;

/// Readings of a thousand sensors, and the sum of each.
pub struct Steady;

impl Workload for Steady {
    fn name(&self) -> &'static str {
        "steady"
    }

    fn title(&self) -> &'static str {
        "Steady writes"
    }

    fn size(&self) -> String {
        "one table".to_owned()
    }

    fn arguments(&self) -> String {
        String::new()
    }

    fn schema(&self) -> &str {
        "CREATE TABLE reading (k bigint PRIMARY KEY, sensor int NOT NULL, v int NOT NULL)"
    }

    fn indexes(&self) -> &str {
        ""
    }

    fn tables(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn write_rows(&self, _: &str, _: &mut dyn Write) -> io::Result<u64> {
        Ok(0)
    }

    fn queries(&self) -> Vec<Query> {
        let sql = "SELECT sensor, count(*) AS n, sum(v) AS s FROM reading GROUP BY sensor".to_owned();
        vec![Query {
            key: "sums".to_owned(),
            label: "sums".to_owned(),
            name: "steady_sums".to_owned(),
            oracle_sql: sql.clone(),
            sql,
            note: None,
        }]
    }

    fn cycle(&self, number: u32) -> Cycle {
        let insert = |transaction: u32| {
            let first = u64::from((number - 1) * TRANSACTIONS + transaction) * u64::from(ROWS);
            let last = first + u64::from(ROWS) - 1;
            let sql = format!(
                "INSERT INTO reading SELECT i, i % 1000, i % 97 FROM generate_series({first}, {last}) i"
            );
            Transaction::new("insert", vec![Statement::on("reading", sql)])
        };
        Cycle { number, transactions: (0..TRANSACTIONS).map(insert).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_on_from_cycle_to_cycle() {
        let sql =
            |number: u32, index: usize| Steady.cycle(number).transactions[index].statements[0].sql.clone();
        assert!(sql(1, 0).ends_with("generate_series(0, 9) i"));
        assert!(sql(1, 99).ends_with("generate_series(990, 999) i"));
        assert!(sql(2, 0).ends_with("generate_series(1000, 1009) i"));
    }
}
