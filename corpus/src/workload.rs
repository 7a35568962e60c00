//! What a replay needs of a corpus: tables with rows, queries, and a stream of changes. All of it is a function of the
//! corpus's size and seed.

use std::io::{self, Write};

use crate::change::Cycle;

/// A corpus of one size and seed that can be replayed.
pub trait Workload: Send + Sync {
    /// The name on a command line, which also begins the names of stream tables: `tpch`.
    fn name(&self) -> &'static str;

    /// The name of its page in a report, by which variants of one corpus are told apart.
    fn page(&self) -> &'static str {
        self.name()
    }

    /// The name in a report: `TPC-H`.
    fn title(&self) -> &'static str;

    /// The size in words: `scale 0.01`.
    fn size(&self) -> String;

    /// The size as arguments of a command line: `--scale 0.01`.
    fn arguments(&self) -> String;

    /// The `CREATE TABLE` statements.
    fn schema(&self) -> &str;

    /// The `CREATE INDEX` statements, to be run after loading.
    fn indexes(&self) -> &str;

    /// The base tables in the order in which they are loaded. Other tables of the schema are parking places of the
    /// changes; no query reads them.
    fn tables(&self) -> Vec<&'static str>;

    /// The statement that takes what [`Workload::write_rows`] writes.
    fn copy_statement(&self, table: &str) -> String {
        format!("COPY {table} FROM STDIN")
    }

    /// Writes the rows that `table` has before the first change as `COPY` text, and returns their number.
    fn write_rows(&self, table: &str, out: &mut dyn Write) -> io::Result<u64>;

    /// The queries, each of which becomes a stream table.
    fn queries(&self) -> Vec<Query>;

    /// The changes of cycle `number` (from 1).
    fn cycle(&self, number: u32) -> Cycle;

    /// Of all queries, at most this many may have a result that is empty or never changes.
    fn idle_max(&self) -> usize {
        0
    }
}

/// A query of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The corpus's own name for it: `6`, `17e`. Variants of one query share it.
    pub key: String,
    /// The name in a report: `q6`, `17e bag`.
    pub label: String,
    /// The name of its stream table: `tpch_q6`, `job_17e_bag`.
    pub name: String,
    /// The defining query as a user writes it.
    pub sql: String,
    /// The query whose result is the only right one: where `sql` cuts rows off, its order goes on through every column.
    pub oracle_sql: String,
    /// What a reader has to know about this form of the query, to follow its label: ` with .. in place of ..`.
    pub note: Option<String>,
}

impl Query {
    /// Whether `wanted`, an argument of a command line, means this query: its key, its label or its name.
    pub fn is_called(&self, wanted: &str) -> bool {
        [&self.key, &self.label, &self.name].into_iter().any(|name| name.eq_ignore_ascii_case(wanted))
    }
}
