//! From an analysed query to everything a stream table needs: state tables, key, programs.

use crate::apply;
use crate::program::Program;
use crate::types::Column;
use serde::{Deserialize, Serialize};

/// Names of one stream table's relations, quoted and schema-qualified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The stream table, e.g. `public.orders_by_day`.
    pub stream_table: String,
    /// What a state table's name begins with; the stage number follows. E.g. `pgtrickle_state.s_17_`.
    pub state_prefix: String,
}

/// What the apply step must respect on the user's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApplyOptions {
    /// The table has a unique or exclusion constraint besides its key: rows are replaced in one statement instead of
    /// updated in place (`design-review.md` 13.1).
    pub has_extra_unique: bool,
}

/// How the rows of a stream table are addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    pub columns: Vec<Column>,
    /// Positions of the key; None for a bag. An empty key means at most one row.
    pub key: Option<Vec<usize>>,
}

/// FULL: the difference between a query and the stream table is computed and applied; nothing else is touched.
/// `query_sql` has the stream table's columns in order.
pub fn recompute_by_query(
    shape: &TableShape,
    names: &Names,
    query_sql: &str,
    options: ApplyOptions,
) -> Program {
    let mut steps = vec![apply::output_step(&shape.columns, &apply::difference(shape, names, query_sql))];
    steps.extend(apply::apply_steps(shape, names, options));
    Program { steps, output: Some(apply::OUTPUT.to_owned()) }
}

/// Fills an empty stream table from a query.
pub fn populate_by_query(shape: &TableShape, names: &Names, query_sql: &str) -> Program {
    Program { steps: vec![apply::populate_step(shape, names, query_sql)], output: None }
}

/// Statements that create what the apply step needs on a new, empty stream table.
pub fn table_ddl(shape: &TableShape, names: &Names) -> Vec<String> {
    apply::table_ddl(shape, names)
}
