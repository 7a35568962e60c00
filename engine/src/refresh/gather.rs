//! Pending changes of one source: are there any, and what do they amount to.

use crate::capture::buffer::{self, Buffer};
use crate::pg::exec::Executor;
use crate::pg::pinned::PinnedSettings;
use crate::pg::plans::Planning;
use crate::pg::relation;
use crate::pg::value::Param;
use crate::pg::xact;
use pg_trickle_core::frontier::{Frontier, pending_by_parameters};
use pg_trickle_core::program::{RelationColumn, source_delta_name};
use pg_trickle_core::query::SourceInfo;
use pg_trickle_core::sql::identity;
use pg_trickle_core::types::{Column, SourceId, TypeRef};

/// The pending rows of a source before consolidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    pub rows: i64,
    /// The contents were replaced: the changes do not tell the whole story.
    pub has_marker: bool,
}

/// Counts the pending rows of a source. This is all that a refresh without changes does for a source, so the plan is
/// kept: one that looks the rows up, however few or many of them are pending.
pub fn probe(executor: &Executor, buffers: &[Buffer], source: u32, frontier: &Frontier) -> Pending {
    let mut pending = Pending::default();
    let _pinned = PinnedSettings::for_looking_up();
    let condition = pending_by_parameters("b");
    let parameters = frontier.pending_parameters(source).map(Param::text);
    for buffer in buffers {
        let table = relation::qualified_name(buffer.relid).expect("a locked buffer exists");
        let sql = format!(
            "SELECT pg_catalog.count(*), \
             pg_catalog.bool_or(b.weight OPERATOR(pg_catalog.=) 0) FROM {table} AS b WHERE {condition}"
        );
        let row = executor.single_row_planned(&sql, &parameters, Planning::Cached);
        pending.rows += row.int(0);
        pending.has_marker |= row.flag(1);
    }
    pending
}

/// The highest `change_id` among this transaction's own changes of a source; 0 if there are none. Everything visible
/// now is consumed by the refresh, so this is read before the first statement of its program.
pub fn own_position(executor: &Executor, buffers: &[Buffer]) -> i64 {
    let Some(own) = xact::own_xid() else { return 0 };
    let position = |buffer: &Buffer| {
        let table = relation::qualified_name(buffer.relid).expect("a locked buffer exists");
        let sql = format!(
            "SELECT pg_catalog.max(b.change_id) FROM {table} AS b \
             WHERE b.xid OPERATOR(pg_catalog.=) '{own}'::pg_catalog.xid8"
        );
        executor.row(&sql, &[]).and_then(|row| row.optional_int(0)).unwrap_or(0)
    };
    buffers.iter().map(position).max().unwrap_or(0)
}

/// So many pending rows are looked up under a plan that is kept; for more it pays to plan for their number.
const FEW_ROWS: i64 = 10_000;

/// Consolidates the pending rows of a source by identity into the relation its programs read; returns its size.
pub fn consolidate(
    executor: &Executor,
    buffers: &[Buffer],
    id: SourceId,
    source: &SourceInfo,
    frontier: &Frontier,
    pending: Pending,
) -> u64 {
    let width = source.columns.len();
    // A generation without one of the columns ended before this consumer's first frontier: the switch to a wider one
    // waited for its writers, so none of its rows is pending here.
    let holds_columns =
        |buffer: &&Buffer| source.columns.iter().all(|column| buffer.columns.contains(&column.attnum));
    let condition = pending_by_parameters("b");
    let arms: Vec<String> = buffers
        .iter()
        .filter(holds_columns)
        .map(|buffer| {
            let table = relation::qualified_name(buffer.relid).expect("a locked buffer exists");
            let columns: String = source
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    format!("b.{} AS c{}, ", buffer::column_name(column.attnum), index + 1)
                })
                .collect();
            format!("SELECT {columns}b.weight AS w FROM {table} AS b WHERE {condition}")
        })
        .collect();
    let columns: Vec<Column> = source.columns.iter().map(|column| column.column.clone()).collect();
    let sql = identity::consolidate(&columns, &arms.join(" UNION ALL "));
    let parameters = frontier.pending_parameters(source.relid).map(Param::text);
    let (name, kept) = (source_delta_name(id), relation_columns(source, width));
    if pending.rows > FEW_ROWS {
        return executor.keep(&name, &kept, &sql, &parameters, Planning::Once);
    }
    let _pinned = PinnedSettings::for_looking_up();
    executor.keep(&name, &kept, &sql, &parameters, Planning::Cached)
}

/// The columns of a source's change: `c1..cn`, then `w`.
pub fn relation_columns(source: &SourceInfo, width: usize) -> Vec<RelationColumn> {
    (0..width)
        .map(|index| RelationColumn {
            name: format!("c{}", index + 1),
            ty: source.columns[index].column.ty.clone(),
        })
        .chain([RelationColumn { name: "w".to_owned(), ty: TypeRef::int8() }])
        .collect()
}
