//! Changes to a corpus's tables: statements in transactions, transactions in cycles.
//!
//! Statements are self-contained SQL. Those that must find rows choose them by key or by a salted order of the keys,
//! never by physical order, so the same stream on the same data makes the same changes on every server.

use std::collections::BTreeSet;

/// One SQL statement, and the base table it writes to (`None` for transaction control and parking places).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub table: Option<String>,
    pub sql: String,
}

impl Statement {
    /// A statement that writes to `table`.
    pub fn on(table: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { table: Some(table.into()), sql: sql.into() }
    }

    /// A statement that writes to no base table.
    pub fn other(sql: impl Into<String>) -> Self {
        Self { table: None, sql: sql.into() }
    }
}

/// Statements to run between BEGIN and COMMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What it does, in a few words.
    pub name: String,
    pub statements: Vec<Statement>,
}

impl Transaction {
    /// A transaction of these statements.
    pub fn new(name: impl Into<String>, statements: Vec<Statement>) -> Self {
        Self { name: name.into(), statements }
    }
}

/// The transactions between two rounds of refreshes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// From 1.
    pub number: u32,
    pub transactions: Vec<Transaction>,
}

impl Cycle {
    /// The base tables some statement of this cycle writes to.
    pub fn tables(&self) -> BTreeSet<&str> {
        let statements = self.transactions.iter().flat_map(|transaction| &transaction.statements);
        statements.filter_map(|statement| statement.table.as_deref()).collect()
    }
}
