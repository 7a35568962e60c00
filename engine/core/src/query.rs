//! What the front end hands to the core: a plan with its sources, and what it could not express.

use crate::plan::Plan;
use crate::types::{Column, FunctionRef, Volatility};
use serde::{Deserialize, Serialize};

/// An analysed query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The whole query. Its output columns are the stream table's columns, with the user's names.
    pub plan: Plan,
    /// Base relations the plan reads, by [`crate::types::SourceId`].
    pub sources: Vec<SourceInfo>,
    /// User-visible functions the query calls (not operators' functions of `pg_catalog`), for fingerprints.
    pub functions: Vec<FunctionRef>,
    /// The worst volatility anywhere in the query, with the construct that has it.
    pub volatility: Volatility,
    pub volatile_construct: Option<Construct>,
    /// Non-fatal remarks for the user, each a sentence.
    pub warnings: Vec<String>,
}

/// One base relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    pub relid: u32,
    /// Schema-qualified, quoted name at analysis; with `ONLY ` in front where the query says so.
    pub name: String,
    pub kind: SourceKind,
    /// The columns the query uses, by ascending attribute number.
    pub columns: Vec<SourceColumn>,
    /// Immediate, valid, non-partial unique keys on plain NOT NULL columns: indexes into `columns`.
    pub keys: Vec<Vec<usize>>,
}

/// A used column of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    pub attnum: i16,
    pub column: Column,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceKind {
    Table,
    PartitionedTable,
    StreamTable,
    MaterializedView,
    ForeignTable,
}

/// A construct of the query, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Construct {
    /// In the user's words, e.g. `window function`, `function random()`.
    pub name: String,
    /// Byte offset in the query text.
    pub position: Option<u32>,
}

/// Why a query, or a part of it, is not maintained incrementally.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    pub construct: Construct,
    /// A sentence that says why.
    pub reason: String,
}
