//! What the front end hands to the core: a plan with its sources, and what it could not express.

use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::types::{Column, FunctionRef, Volatility};
use serde::{Deserialize, Serialize};

/// What the front end found out about a query, whether or not it can be maintained incrementally.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analyzed {
    /// The query as the server prints it with every name outside `pg_catalog` qualified, views not expanded: it means
    /// the same under any search path.
    pub text: String,
    /// The query's columns with the user's names: distinct, and of types a table can have.
    pub columns: Vec<Column>,
    /// All base relations, those beneath views included. If the plan exists, the ones it reads, with the columns it
    /// reads; otherwise every relation with every column the query mentions.
    pub sources: Vec<SourceInfo>,
    /// The query as a plan, or the first construct that has none.
    pub plan: Result<Plan, Unsupported>,
    pub functions: Vec<FunctionRef>,
    pub volatility: Volatility,
    /// The first construct that has the worst volatility.
    pub volatile_construct: Option<Construct>,
    /// STABLE functions and expressions, each once.
    pub stable_constructs: Vec<StableConstruct>,
    pub warnings: Vec<String>,
}

impl Analyzed {
    /// The query for differentiation, if it has a plan.
    pub fn query(&self) -> Result<Query, Unsupported> {
        Ok(Query {
            plan: self.plan.clone()?,
            sources: self.sources.clone(),
            functions: self.functions.clone(),
            volatility: self.volatility,
            volatile_construct: self.volatile_construct.clone(),
            warnings: self.warnings.clone(),
        })
    }
}

/// A STABLE construct and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StableConstruct {
    pub construct: Construct,
    pub class: StableClass,
}

/// What a STABLE construct's result depends on, besides its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StableClass {
    /// Settings such as `TimeZone` only, which are stored with the stream table: a reviewed list of built-ins.
    Settings,
    /// The time of the statement or transaction.
    Time,
    /// Anything: tables, catalogs, the session.
    Other,
}

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
    /// Valid, non-partial indexes whose order or hash is that of the columns' default equality: their leading columns as
    /// indexes into `columns`, as far as they are used columns.
    #[serde(default)]
    pub indexes: Vec<SourceIndex>,
}

/// An index of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIndex {
    /// Not empty.
    pub columns: Vec<usize>,
    /// No two rows are equal in `columns`.
    pub is_unique: bool,
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
    pub reason: Refusal,
}
