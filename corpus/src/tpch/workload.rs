//! TPC-H as a workload.

use std::io::{self, Write};

use super::{INDEXES, SCHEMA, Scale, Stream, Table, query};
use crate::change::Cycle;
use crate::workload::{Query, Workload};

/// TPC-H at one scale, with the changes of one seed.
pub struct Tpch {
    scale: Scale,
    stream: Stream,
}

impl Tpch {
    /// The workload of all 22 queries.
    pub fn new(scale: Scale, seed: u64) -> Self {
        Self { scale, stream: Stream::new(scale, seed, query::Query::all(scale)) }
    }
}

impl Workload for Tpch {
    fn name(&self) -> &'static str {
        "tpch"
    }

    fn title(&self) -> &'static str {
        "TPC-H"
    }

    fn size(&self) -> String {
        format!("scale {}", self.scale)
    }

    fn arguments(&self) -> String {
        format!("--scale {}", self.scale)
    }

    fn schema(&self) -> &str {
        SCHEMA
    }

    fn indexes(&self) -> &str {
        INDEXES
    }

    fn tables(&self) -> Vec<&'static str> {
        Table::ALL.map(Table::name).to_vec()
    }

    fn copy_statement(&self, table: &str) -> String {
        format!("COPY {table} FROM STDIN (DELIMITER '|')")
    }

    fn write_rows(&self, table: &str, mut out: &mut dyn Write) -> io::Result<u64> {
        let found = Table::ALL.into_iter().find(|known| known.name() == table);
        found.unwrap_or_else(|| panic!("TPC-H has no table {table}")).write_rows(self.scale, &mut out)
    }

    fn queries(&self) -> Vec<Query> {
        query::Query::all(self.scale).iter().map(described).collect()
    }

    fn cycle(&self, number: u32) -> Cycle {
        self.stream.cycle(number)
    }

    /// At small scales the result of a query or two does not change in every run.
    fn idle_max(&self) -> usize {
        2
    }
}

fn described(query: &query::Query) -> Query {
    let note = query.is_adjusted().then(|| {
        let (used, published) = (query.parameters.join(", "), query.validation.join(", "));
        format!("with {used} in place of the validation values {published}")
    });
    Query {
        key: query.number.to_string(),
        label: format!("q{}", query.number),
        name: query.name(),
        sql: query.sql(),
        oracle_sql: query.oracle_sql(),
        note,
    }
}
